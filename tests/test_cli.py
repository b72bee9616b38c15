"""The command line: help that teaches, one-line errors with status 2, and commands that do what they say."""

import dataclasses
import json
import logging
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from flax import nnx

from vrjax import cli, tasks
from vrjax.cli import common, usual
from vrjax.models import wan
from vrjax.models.pipeline import EmbeddedPipeline
from vrjax.report import claims

CONFIG = pathlib.Path(__file__).parents[1] / "configs" / "chain_of_steps" / "smoke.py"
TINY = ["--model.dim", "12", "--model.patch", "1", "5", "5", "--model.text-dim", "8", "--model.freq-dim", "8"]


def call(*argv):
    """Exit status of a command line."""
    try:
        cli.main([str(a) for a in argv])
    except SystemExit as end:
        return end.code or 0
    return 0


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained tiny model in a folder."""
    folder = tmp_path_factory.mktemp("model")
    cfg = wan.WanConfig(12, 16, 2, 1, 7, 3, (1, 5, 5), 8, 8, 16, gate_init=1.0)
    wan.save_dit(wan.WanDiT(cfg, rngs=nnx.Rngs(0)), folder)
    return folder


def test_help_is_quick_and_lists_every_command():
    began = time.monotonic()
    command = [sys.executable, "-X", "importtime", "-m", "vrjax.cli", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert time.monotonic() - began < 20
    assert not {"jax", "flax", "numpy"} & {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    for name in ("preview", "sample", "train", "eval", "play", "ladder", "claims"):
        assert f"vrjax {name}" in done.stdout


@pytest.mark.parametrize("name", ["preview", "sample", "train", "eval", "play", "ladder", "claims"])
def test_every_help_has_examples(name, capsys):
    assert call(name, "--help") == 0
    shown = capsys.readouterr().out
    assert "examples:" in shown and shown.count(f"vrjax {name}") >= 3


@pytest.mark.parametrize(
    ("command", "config"),
    [("train", "chain_of_steps/worlds"), ("train", "pods/wan_14b_lora"), ("align", "realdpo/wan")],
)
def test_help_of_a_config_is_short_and_each_of_its_lines_works(command, config, capsys, monkeypatch):
    from vrjax.plan import slices

    monkeypatch.setenv("COLUMNS", "100")
    path = CONFIG.parents[1] / f"{config}.py"
    assert call(command, path, "--help") == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) <= 60 and max(map(len, shown)) <= 100 + len(str(path)) and shown[0].startswith("usage: vrjax")
    given = slices.load(path)[0]
    names = tuple(name for group in type(given).USUAL.values() for name in group)
    rows = list(usual.fields(given, names))
    assert len(rows) >= len(names) - 2 and all(words for _, _, words in rows)  # one without adapters has none to set
    for name, value, _ in rows:
        (line,) = [line for line in shown if line.startswith(f"  {usual.flag(name)} ")]
        assert " ".join(value) in line
    words = [word for name, value, _ in rows for word in (usual.flag(name), *value)]
    assert common.overridden(type(given), given, words) == given
    assert call(command, path, "--optim.lr", "0.5", "--help") == 0
    assert "--optim.lr 0.5" in capsys.readouterr().out
    assert {"--root", "--fresh", "--log"} <= {line.split()[0] for line in shown if line.startswith("  --")}


def test_help_of_every_field_is_there_when_asked(capsys):
    assert call("train", CONFIG, "--help-all") == 0
    shown = capsys.readouterr().out
    assert "--optim.muon-scale" in shown and "--model.text-dim" in shown and shown.count("\n") > 120


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["train", "nowhere.py"], "no config file nowhere.py"),
        (["train", "given.py"], "unknown task 'labyrinth'"),
        (["preview", "labyrinth"], "unknown task 'labyrinth'"),
        (["preview", "maze", "--split", "holidays"], "unknown split 'holidays'"),
        (["sample", "maze", "--model", "nowhere"], "no model nowhere"),
        (["eval", "--model", "nowhere"], "no model nowhere"),
        (["claims", "nowhere"], "nowhere: no such run"),
        (["sampel", "maze"], "unknown command 'sampel', did you mean 'sample'?"),
        (["--debug", "fly"], "unknown command 'fly', expected one of preview, sample,"),
    ],
)
def test_expected_errors_are_one_line(argv, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "given.py").write_text(CONFIG.read_text().replace('"maze"', '"labyrinth"'))
    assert call(*argv) == 2
    shown = capsys.readouterr()
    assert said in shown.err and shown.err.count("\n") == 1 and shown.err.startswith("vrjax: ")


def test_a_bad_override_is_named(capsys):
    assert call("train", CONFIG, "--steps", "0") == 2
    assert "steps must be at least 1, found 0" in capsys.readouterr().err
    assert call("train", CONFIG, "--stepz", "3") == 2
    assert "--stepz" in capsys.readouterr().err


def test_a_mesh_is_replaced_as_a_whole():
    """Also where the config names other axes, which tyro would only let one change one by one."""
    from vrjax.cli.common import overridden
    from vrjax.train import config as configs

    config = dataclasses.replace(configs.load(CONFIG), mesh={"fsdp": 16, "context": 4})
    for words, mesh in ((["--mesh", "data", "2"], {"data": 2}), ([], config.mesh), (["--mesh"], {})):
        found = overridden(configs.TrainConfig, config, [*words, "--steps", "7"])
        assert (found.mesh, found.steps) == (mesh, 7)
    assert overridden(configs.TrainConfig, config, ["--mesh.fsdp", "2"]).mesh == {"fsdp": 2, "context": 4}
    for wrong in (["data"], ["data", "two"]):
        with pytest.raises(ValueError, match="--mesh data.*expected axes and sizes"):
            overridden(configs.TrainConfig, config, ["--mesh", *wrong])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError("Unable to allocate 9 GiB"), "out of memory on this machine: .*9 GiB"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 7 bytes"), "out of memory on the device: .*--mesh"),
        (
            RuntimeError("Unable to initialize backend 'tpu': no libtpu.so"),
            r"JAX finds no such device; pip install 'vrjax\[tpu\]' or 'vrjax\[gpu\]', .*no libtpu.so",
        ),
        (OSError(28, "No space left on device", "a.npy"), "No space left on device: a.npy"),
        (ValueError("two\nlines"), "two lines"),
        (UnicodeEncodeError("ascii", "σ", 0, 1, "no"), "ascii"),
    ],
)
def test_what_a_person_can_mend_is_one_line(error, said, monkeypatch, capsys):
    from vrjax.cli import preview

    def run(args):
        raise error

    monkeypatch.setattr(preview, "run", run)
    assert call("preview", "maze") == 2
    shown = capsys.readouterr().err
    assert re.match(f"vrjax: .*{said}", shown) and shown.count("\n") == 1
    error = RuntimeError("a fault of ours")
    with pytest.raises(RuntimeError, match="of ours"):
        call("preview", "maze")


def test_a_missing_accelerator_and_an_ascii_terminal(tmp_path):
    """In processes of their own: JAX says nothing where the plugin of a platform is missing; letters beyond ASCII."""
    command = [sys.executable, "-m", "vrjax.cli", "sample", "maze", "--out", str(tmp_path / "a")]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "JAX_PLATFORMS": "cuda"}, check=False
    )
    assert done.returncode == 2 and done.stderr.startswith("vrjax: JAX_PLATFORMS=cuda: JAX finds no such device")
    assert "Traceback" not in done.stderr and not [*(tmp_path / "a").glob("[!.]*")]
    paper = pathlib.Path(__file__).parents[1] / "experiments" / "vchain"
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "vrjax.cli", "claims", str(paper), "--markdown"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0 and "vchain.t2v" in done.stdout, done.stderr


def test_debug_shows_the_traceback():
    with pytest.raises(FileNotFoundError):
        cli.main(["train", "nowhere.py", "--debug"])


def test_verbose_lets_the_library_speak(capsys):
    logger = logging.getLogger("vrjax")
    before = logger.level
    try:
        assert call("claims", "nowhere", "--verbose") == 2
        assert logger.isEnabledFor(logging.INFO)
    finally:
        logger.setLevel(before)
    assert "unrecognized" not in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["preview", "maze", "--colour", "red"], ["preview", "maze", "--seeds", "3-1"]])
def test_wrong_usage(argv, capsys):
    assert call(*argv) == 2
    assert "usage: vrjax" in capsys.readouterr().err


def test_preview(tmp_path, capsys):
    assert call("preview", "maze", "--seeds", "0,2-3", "--out", tmp_path / "new" / "sheet.png") == 0
    assert (tmp_path / "new" / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert "3 test clips of maze" in capsys.readouterr().out


def payload(folder):
    """What the one scrubber of a page shows."""
    text = (folder / "report.html").read_text(encoding="utf-8")
    return json.loads(text.split('id="payload">')[1].split("</script>")[0])["scrubbers"][0]


def test_screen_and_page_mean_the_same_by_solved(model, tmp_path, capsys, monkeypatch):
    """A right answer whose frames come too late is solved, in the marks of the page too."""
    clip = tasks.get("maze").make(0, split="test")
    late = np.repeat(clip.video[-1:], len(clip.video), axis=0)
    wrong = np.repeat(clip.video[:1], len(clip.video), axis=0)
    assert 0 < tasks.get("maze").score(clip, late) < 1
    films = np.stack([late, wrong, clip.video])
    plain = EmbeddedPipeline.decode
    several = lambda got: films if got.ndim == 5 else np.repeat(films[:, None], got.shape[1], axis=1)
    monkeypatch.setattr(EmbeddedPipeline, "decode", lambda self, latents: several(np.asarray(plain(self, latents))))
    out = tmp_path / "look"
    assert call("sample", "maze", "--model", model, "--steps", 2, "--noise", "0-2", "--out", out) == 0
    assert "2 of 3 solved" in capsys.readouterr().out
    (case,) = payload(out)["cases"]
    assert case["solved"] == claims.read_details(out)["solved"] == [True, False, True]
    assert [[g["kind"] for g in run] for run in case["guesses"]] == [["right"] * 2, ["unreadable"] * 2, ["right"] * 2]


def test_sample_keeps_every_step(model, tmp_path, capsys):
    out = tmp_path / "look"
    assert call("sample", "maze", "--model", model, "--steps", 3, "--noise", "0,5", "--out", out) == 0
    kept = np.load(out / "trajectory.npz")
    assert kept["x"].shape == (2, 4, 9, 10, 10, 3) and kept["x0"].shape == kept["v"].shape == (2, 3, 9, 10, 10, 3)
    np.testing.assert_array_equal(kept["x"][:, -1], kept["final"])
    np.testing.assert_array_equal(kept["sigma"][[0, -1]], [1, 0])
    names = {p.name for p in out.iterdir()}
    made = {"trajectory.npz", "noise-0.mp4", "noise-5.mp4", "results.json", "report.html"}
    assert names - {".lock"} == made | {"config.json"}
    details = claims.read_details(out)
    assert details["noise"] == [0, 5] and len(details["score"]) == 2 and details["solved"] == [False, False]
    said = capsys.readouterr().out
    assert "0 of 2 solved" in said and "3 steps from 2 noise seeds" in said
    (case,) = payload(out)["cases"]
    assert case["solved"] == details["solved"] and [len(run) for run in case["guesses"]] == [3, 3]

    # the same again is read; with other steps, seeds or weights it is another run, which has a folder of its own
    assert call("sample", "maze", "--model", model, "--steps", 3, "--noise", "0,5", "--out", out) == 0
    assert "steps from" not in capsys.readouterr().out
    fewer = ["sample", "maze", "--steps", 2, "--noise", "0,5", "--out", out]
    before = (out / "trajectory.npz").read_bytes()
    assert call(*fewer, "--model", model) == 2
    assert "holds a run with another config: steps (was 3, now 2)" in capsys.readouterr().err
    assert (out / "trajectory.npz").read_bytes() == before
    assert call(*fewer, "--model", model, "--fresh") == 0
    assert np.load(out / "trajectory.npz")["x0"].shape == (2, 2, 9, 10, 10, 3)
    other = tmp_path / "other"
    wan.save_dit(wan.WanDiT(wan.load_dit(model).cfg, rngs=nnx.Rngs(1)), other)
    assert call(*fewer, "--model", other) == 2
    said = capsys.readouterr().err
    assert "model (was 'model" in said and "weights (was" in said
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "results.json").write_text("mine")
    assert call("sample", "maze", "--model", model, "--out", tmp_path / "thesis", "--fresh") == 2
    assert "is not a run" in capsys.readouterr().err and (tmp_path / "thesis" / "results.json").read_text() == "mine"


def test_eval_prints_and_writes_rates(model, tmp_path, capsys):
    file = tmp_path / "rates.json"
    argv = ["eval", "--model", model, "--worlds", "maze", "--clips", 3, "--group", 2, "--steps", 2, "--json", file]
    assert call(*argv) == 0
    assert "maze" in capsys.readouterr().out
    (rate,) = json.loads(file.read_text())["rates"]
    assert (rate["world"], rate["split"], rate["n"], rate["solved"]) == ("maze", "test", 3, 0.0)
    assert rate["low"] == 0.0 and 0.5 < rate["high"] < 0.6  # Wilson: 0 of 3


def test_claims_of_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")  # of the terminal, wide enough not to fold words
    claims.write(tmp_path / "results.json", [])
    assert call("claims", tmp_path, "--markdown") == 0
    assert "no claims" in capsys.readouterr().out
    paper = pathlib.Path(__file__).parent.parent / "experiments" / "vchain"
    assert call("claims", tmp_path, paper, "--markdown") == 0
    first, second = capsys.readouterr().out.split("## ")[1:]  # a table each
    assert "no claims" in first and "| vchain.t2v |" in second and "| smallest |" in second
    asked = [{"id": "cos.lost", "statement": "It holds.", "role": "primary"}]
    claims.write(tmp_path / "results.json", [], registered=asked)
    for words in (["--markdown"], []):
        assert call("claims", tmp_path, *words) == 0
        said = capsys.readouterr().out
        assert "cos.lost" in said and "missing" in said


def test_python_m_trains_and_goes_on(tmp_path, capsys):
    """The real command line in a process of its own, with overrides; a second call finds the run finished."""
    argv = ["train", str(CONFIG), "--root", str(tmp_path), "--steps", "2", *TINY]
    argv += ["--validate.final-clips", "0", "--checkpoint.every", "1"]
    env = {**os.environ, "XLA_FLAGS": os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=1")}
    command = [sys.executable, "-m", "vrjax.cli", *argv]
    first = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert first.returncode == 0 and "step 2/2" in first.stdout, first.stdout + first.stderr
    shutil.rmtree(tmp_path / "smoke" / "model")
    assert call(*argv) == 0 and "is finished" in capsys.readouterr().out
    assert call(*argv, "--seed", "4") == 2
    said = capsys.readouterr().err
    assert "seed (was 0, now 4)" in said and "Traceback" not in said
