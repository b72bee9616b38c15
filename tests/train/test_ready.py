"""What a run lacks is said before anything is compiled, by its flag; a config that can be planned can be trained."""

import dataclasses
import functools
import os
import pathlib
import re
import shlex
import socket
import subprocess
import sys
import threading
import tomllib
import types

import numpy as np
import pytest
import tiny

from vrjax import cli
from vrjax.align.config import AlignConfig
from vrjax.data import latents
from vrjax.files import given, writing
from vrjax.files.store import Store
from vrjax.models import wan
from vrjax.parallel import processes, run_mesh
from vrjax.parallel.mesh import INSTALL
from vrjax.plan import jobs, slices
from vrjax.train import loop, ready
from vrjax.train.config import Data, TrainConfig, Validate

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
FILES = [path for name in ("pods/*", "vbvr/*", "realdpo/wan") for path in sorted(CONFIGS.glob(f"{name}.py"))]
TRAINED = [path for path in FILES if isinstance(slices.load(path)[0], TrainConfig)]
QUIET = Validate(every=0, final_clips=0)


def small(config):
    """A config with a network of a few numbers, which has the same channels, and adapters that fit it."""
    sizes = {"dim": 24, "heads": 2, "ffn_dim": 16, "layers": 2, "freq_dim": 8, "text_dim": 8, "text_len": 16}
    if config.data.motions:
        sizes |= {"text_len": 40, "reference_layers": 1}
    lora = config.lora and dataclasses.replace(config.lora, rank=2)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **sizes), lora=lora)


def encoded(folder, model, channels=None):
    """Encoded clips that a model takes, as `vrjax encode` stores them."""
    c = channels or model.out_channels
    shapes = {"latents": (2, 4, 4, c), "text": (3, model.text_dim), "images": (2, 4, 4, model.in_channels - c)}
    store, row = Store(folder), {"name": "one"}
    for kind, shape in shapes.items():
        if shape[-1]:
            row[kind] = store.keep(
                kind, "array", {"of": kind}, functools.partial(np.ones, shape, np.float32), len(shape)
            )
    writing.json(folder / latents.INDEX, {"schema": latents.SCHEMA, "made": {}, "clips": [row]})


@pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.stem)
def test_a_shipped_config_that_can_be_planned_can_be_trained(path, tmp_path, monkeypatch):
    """It asks for files alone; with these, at the names it says, its batch is the one that the plan compiles."""
    monkeypatch.chdir(tmp_path)
    config = small(slices.load(path)[0])
    kind = jobs.of(config)
    asked = " ".join(kind.wanting(config))
    pairs = isinstance(config, AlignConfig)
    data = [] if config.data.motions else ["--pairs" if pairs else "--data.cache"]
    flags = {*data, *(["--start"] if config.start else [])}
    assert set(re.findall(r"--[a-z.]+", asked)) == flags, asked

    if config.start:
        wan.save_dit(wan.WanDiT(config.model, rngs=tiny.nnx.Rngs(0)), pathlib.Path(config.start))
    if pairs:
        one = np.ones((2, 4, 4, config.model.out_channels), np.float32)
        tiny.encoded(config.pairs, [one], [[one] * 3], [np.ones((3, 8), np.float32)])
    elif not config.data.motions:
        encoded(pathlib.Path(config.data.cache), config.model)
    assert kind.wanting(config) == []
    if not pairs:
        count = max(2, config.accumulate)
        alone = dataclasses.replace(config, mesh={}, rules={}, data=dataclasses.replace(config.data, batch=count))
        ready.refuse(alone)
        batch = next(loop.batches(dataclasses.replace(alone, accumulate=1), tuple(range(count))))
        latent = config.data.motions.latent if config.data.motions else batch["latent"].shape[1:]
        job = kind.job(alone, run_mesh({}), latent)
        planned = {name: leaf.shape for name, leaf in job.parts["batch"][0].items()}
        assert {name: batch[name].shape for name in planned} == planned


@pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.stem)
def test_its_commands_can_be_typed(path):
    """Every command that its docstring shows is one of the parser's."""
    doc = path.read_text("utf-8").split('"""')[1].replace("\\\n", " ")
    lines = [line[line.index("vrjax ") :] for line in doc.splitlines() if re.search(r"\bvrjax [a-z]+ ", line)]
    commands = [shlex.split(line)[1:] for line in lines]
    assert {"train", "align"} & {words[0] for words in commands}
    for words in commands:
        _, rest = cli.build().parse_known_args(words)
        assert all(word.startswith("--") or word in words for word in rest)


def test_all_that_is_wrong_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        cli.main(["train", str(CONFIGS / "pods" / "wan_14b_lora.py"), "--mesh", "fsdp", "64"])
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1 and not list((tmp_path / "runs").rglob("[!.]*.json"))
    for words in ("models/Wan2.1-T2V-14B: no such weights", "(--start", "clips/clips.json: missing", "(--data.cache)"):
        assert words in said
    assert "mesh {'fsdp': 64} needs 64 devices, found 8 (cpu); accelerators need pip install 'vrjax[tpu]'" in said


def test_weights_and_clips_of_another_model(tmp_path):
    config = tiny.config(model=dataclasses.replace(tiny.MODEL, out_channels=16, in_channels=16), validate=QUIET)
    (line,) = ready.wanting(config)
    assert "procedural tasks: channels of its clips are {'latent': 3" in line and "--data.cache FOLDER" in line
    encoded(tmp_path / "clips", config.model)
    there = dataclasses.replace(config, data=Data(cache=str(tmp_path / "clips"), batch=4))
    assert ready.wanting(there) == []
    shallow = wan.WanDiT(dataclasses.replace(config.model, layers=1), rngs=tiny.nnx.Rngs(0))
    wan.save_dit(shallow, tmp_path / "whole" / "dit")
    (line,) = ready.wanting(dataclasses.replace(there, start=str(tmp_path / "whole" / "dit")))
    assert re.search(r"blocks\.\S+ is \(1, .*\), the config's model has \(2, .*\(--start\)", line)
    (line,) = ready.wanting(dataclasses.replace(there, start=str(tmp_path / "whole")))
    assert "no *.safetensors file in this folder; there is in dit (--start)" in line
    fewer = dataclasses.replace(there, model=dataclasses.replace(config.model, out_channels=4, in_channels=4))
    (line,) = ready.wanting(fewer)
    assert "channels of its clips are {'latent': 16" in line and line.endswith("(--data.cache)")
    one = np.ones((2, 5, 5, 4), np.float32)
    pairs = tiny.encoded(tmp_path / "pairs", [one], [[one, one]], [np.ones((3, 8), np.float32)])
    (line,) = jobs.of(tiny.align(pairs=pairs)).wanting(tiny.align(pairs=pairs))
    assert "latents of 4 channels, the config's model has 3 (--pairs)" in line


@pytest.mark.parametrize(
    "argv",
    [
        ["train", "configs/chain_of_steps/smoke.py", "--root", "gs://bucket/runs"],
        ["sample", "maze", "--out", "s3://bucket/runs"],
        ["eval", "--model", "https://huggingface.co/Wan-AI/Wan2.1-T2V-1.3B-Diffusers"],
    ],
)
def test_an_address_is_no_folder_of_this_machine(argv, capsys, tmp_path, monkeypatch):
    """Taken for a path it would make the folder `gs:` here, and every host of a pod its own."""
    if argv[0] != "train":
        monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        cli.main(argv)
    said = capsys.readouterr().err
    assert f"{argv[-2]} {argv[-1].replace('//', '/')}: an address" in said and said.count("\n") == 1
    assert not list(tmp_path.iterdir()) and not pathlib.Path("gs:").exists()
    with pytest.raises(ValueError, match="run folder gs:/b/runs/tiny: an address"):
        loop.run(tiny.config(), root="gs://b/runs")
    for fine in ("runs/a:b", "./gs", "C", "/data/x:/y"):
        given.local(fine, "folder")


def port():
    """One where nobody listens."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def test_a_coordinator_that_is_not_there():
    """In a process of its own: JAX's own end of waiting would kill by SIGABRT."""
    command = [sys.executable, "-m", "vrjax.cli", "train", str(CONFIGS / "chain_of_steps" / "smoke.py"), "--wait", "4"]
    command += ["--coordinator", f"localhost:{port()}", "--processes", "2", "--process", "1"]
    env = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120, check=False)
    whom = r"the coordinator localhost:\d+ \(Connection refused\)"
    assert done.returncode == 2, done.stderr
    assert re.match(rf"process 1 of 2: waiting for {whom}; gives up in 1 s \(--wait\)\n", done.stdout)
    assert re.match(rf"vrjax: process 1 of 2: waited 4 s in vain for {whom}; .*--wait is how long\n$", done.stderr)


@pytest.mark.parametrize(
    ("said", "whom"),
    [
        (("localhost:{}", 2, 0), "process 0 of 2: .* the other processes"),
        (("localhost:{}", 2, 1), r"process 1 of 2: .* the coordinator localhost:\d+ \(Connection refused\)"),
        (("nowhere.invalid:{}", 2, 1), r"process 1 of 2: .* the coordinator nowhere.invalid:\d+ \(.*\)"),
        ((), "this process: .* the other processes of the cluster"),
    ],
)
def test_who_is_waited_for(said, whom, monkeypatch):
    """Within seconds, again and again, to an error that says the same; faults of the start itself are its own."""
    for name in ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"):
        monkeypatch.delenv(name, raising=False)
    told, over = [], threading.Event()
    words = [word.format(port()) if isinstance(word, str) else word for word in said]
    monkeypatch.setattr(processes.jax.distributed, "initialize", lambda **options: over.wait(60) and None)
    monkeypatch.setattr(processes, "_FIRST", 0.05)
    monkeypatch.setattr(processes, "_AGAIN", 0.1)
    with pytest.raises(TimeoutError, match=whom.replace(".*", ".* in vain for", 1)):
        processes.start(*words, wait=0.4, say=told.append)
    assert len(told) >= 2 and all(re.search(whom.replace(".*", "waiting for", 1), line) for line in told)
    over.set()
    processes.start(*words, wait=5, say=told.append)

    def wrong(**options):
        raise ValueError("no cluster")

    monkeypatch.setattr(processes.jax.distributed, "initialize", wrong)
    with pytest.raises(ValueError, match=r"no known cluster \(no cluster\); say --coordinator"):
        processes.start(*words)


def test_a_plan_turns_on_a_terminal(monkeypatch):
    """Its phases, in order, each ended; nothing where stderr is no terminal."""
    from vrjax.cli.progress import Phases

    config, told = tiny.config(mesh={}, validate=QUIET), []
    job = types.SimpleNamespace(lower=lambda: None, kind="", tokens=1)
    monkeypatch.setattr(jobs.of(config), "job", lambda *a: job)

    def never(lowered):
        raise ValueError("refused")

    monkeypatch.setattr(slices, "mesh_on", lambda *a: run_mesh({}))
    monkeypatch.setattr(slices, "_compile", never)
    with pytest.raises(ValueError, match="refused"):
        slices.make(config, "v5e:2x2", phase=told.append)
    assert [word.split()[0] for word in told if word] == ["asking", "tracing", "compiling"] and told[-1] == ""

    phases = Phases()
    phases("compiling")
    assert phases._bar is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    phases("compiling")
    assert [task.description for task in phases._bar.tasks] == ["compiling"]
    bar = phases._bar
    phases("")
    assert phases._bar is None and not bar.live.is_started


def test_install_lines_are_of_extras_that_exist():
    project = tomllib.loads((CONFIGS.parent / "pyproject.toml").read_text("utf-8"))["project"]
    named = re.findall(r"vrjax\[(\w+)\]", INSTALL)
    assert named == ["tpu", "gpu"] and set(named) <= set(project["optional-dependencies"])
