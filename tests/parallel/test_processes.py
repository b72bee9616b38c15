"""Two real processes train one run: one is killed, the run goes on in one process, then in two again, and ends."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import tiny

from vrjax import parallel
from vrjax.data import worlds
from vrjax.models import wan
from vrjax.parallel import processes
from vrjax.train import loop

HERE = pathlib.Path(__file__).parent
HEARTBEAT = 20


def launch(root, mesh, count, devices, **environment):
    """The run's own command line in `count` processes of `devices` devices: [(exit status, output, seconds)]."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    started = []
    for i in range(count):
        worker = str(HERE / "pod_worker.py")
        command = [sys.executable, worker, "train", worker, "--root", str(root)]
        if count > 1:
            command += ["--coordinator", address, "--processes", str(count), "--process", str(i)]
            command += ["--heartbeat", str(HEARTBEAT)]
        mine = {name: value for name, (who, value) in environment.items() if who in (i, "each")}
        flags = os.environ["XLA_FLAGS"].replace("device_count=8", f"device_count={devices}")
        env = os.environ | {"XLA_FLAGS": flags, "POD_MESH": json.dumps(mesh), "JAX_PLATFORMS": "cpu"} | mine
        env |= {"PYTHONPATH": os.pathsep.join([str(HERE.parent.parent), str(HERE.parent)])}
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, env=env, stdout=pipe, stderr=subprocess.STDOUT, text=True))
    ended: dict[int, float] = {}
    began = time.monotonic()
    try:
        while len(ended) < count and time.monotonic() - began < 900:
            time.sleep(0.2)
            for i, process in enumerate(started):
                if i not in ended and process.poll() is not None:
                    ended[i] = time.monotonic()
    finally:
        for process in started:
            process.kill()
    texts = [process.communicate()[0] for process in started]
    return [(p.returncode, texts[i], ended.get(i, np.inf)) for i, p in enumerate(started)]


def metrics(root):
    return [json.loads(line) for line in (root / "pod" / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """The life of one run, told by its processes."""
    root = tmp_path_factory.mktemp("pod")
    told = {"root": root}
    told["killed"] = launch(root, {"data": 2, "fsdp": 2}, 2, 2, POD_KILL=(1, "5"))
    told["after kill"] = sorted(int(p.name) for p in (root / "pod/checkpoints").iterdir() if p.name.isdigit())
    told["alone"] = launch(root, {"fsdp": 2}, 1, 2, POD_STOP=(0, "6"))
    rows = tiny.batch(4)
    told["pairs"] = tiny.encoded(tmp_path_factory.mktemp("pairs"), rows["latent"], rows["lose"], rows["text"])
    told["together"] = launch(root, {"context": 4}, 2, 2, POD_PAIRS=("each", told["pairs"]))
    return told


def test_the_survivor_of_a_kill_says_so_and_ends_soon(story):
    (status, text, end), (killed, _, began) = story["killed"]
    assert killed == -9
    assert status not in (0, None), text
    assert "lost another process of the run" in text or "JAX distributed service detected fatal errors" in text, text
    assert end - began < 3 * HEARTBEAT
    assert 4 in story["after kill"]


def test_it_goes_on_in_one_process_on_another_mesh(story):
    ((status, text, _),) = story["alone"]
    assert status == 130, text
    assert "going on from step 4 of 8" in text and "mesh" in text and "stopped at step" in text


def test_it_ends_in_two_processes_that_divide_each_clip(story):
    (status, text, _), (other, silent, _) = story["together"]
    assert (status, other) == (0, 0), text + silent
    assert "going on from step" in text and "done in" in text
    assert "going on" not in silent  # one process speaks
    assert sorted(p.name for p in (story["root"] / "pod").iterdir() if not p.name.startswith(".")) == [
        "checkpoints",
        "config.json",
        "metrics.jsonl",
        "model",
        "report.html",
        "results.json",
        "timing.jsonl",
    ]


def test_the_result_is_that_of_one_undisturbed_process(story, tmp_path):
    results = loop.run(tiny.pod(), root=tmp_path)
    expected, found = metrics(tmp_path), metrics(story["root"])
    assert [row["step"] for row in found] == list(range(1, 9))
    for row, wanted in zip(found, expected, strict=True):
        for name in ("loss", "grad_norm", "weight_norm"):
            np.testing.assert_allclose(row[name], wanted[name], rtol=1e-4, err_msg=f"step {row['step']} {name}")
    models = [wan.load_dit(r / "pod" / "model") for r in (tmp_path, story["root"])]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), *models)
    sampled = json.loads((story["root"] / "pod" / "results.json").read_text())
    assert sampled["details"]["solved"].keys() == results["solved"].keys()


def test_they_align_as_well(story):
    """Each process its rows of stored pairs; both measure the reference's errors, the first one writes them."""
    (_, text, _), (_, silent, _) = story["together"]
    assert "reference errors of 4 pairs at 2 draws each are stored" in text and "stored" not in silent
    run = pathlib.Path(story["pairs"]) / "tiny"
    (row,) = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
    np.testing.assert_allclose(row["loss"], np.log(2), atol=1e-5)  # policy and reference are one at the start
    np.testing.assert_allclose(row["win_error"], row["reference_win_error"], rtol=1e-5)
    assert (run / "model").is_dir()


def test_rows_of_a_process():
    """Processes make the rows that their devices hold: shared, or scattered, as the mesh lies."""
    m = parallel.mesh({"data": 4, "context": 2})
    over = jax.NamedSharding(m, jax.P("data"))
    assert processes.local_rows(over, 8) == tuple(range(8))
    kwargs = dict(batch=4, seed=3, text_dim=8)
    whole, some = next(worlds.pipeline({"maze": 1.0}, **kwargs)), worlds.pipeline({"maze": 1.0}, rows=(1, 3), **kwargs)
    np.testing.assert_array_equal(next(some)["latent"], whole["latent"][[1, 3]])
    placed = processes.from_rows(over, (0, 1, 2, 3), whole["latent"], 4)
    np.testing.assert_array_equal(placed, whole["latent"])
    assert placed.sharding == over
    with pytest.raises(ValueError, match="rows=.*expected some of the 4 rows"):
        worlds.pipeline({"maze": 1.0}, rows=(4,), **kwargs)


def test_what_must_be_said_together():
    with pytest.raises(ValueError, match="belong together, found localhost:1, None, 0"):
        processes.start("localhost:1", process=0)


def test_the_first_process_is_this_one_when_there_is_one():
    assert processes.first() and not processes.several() and processes.any_of(True) and not processes.any_of(False)
    assert processes.from_first(lambda: {"a": [1]}) == {"a": [1]}
    x = jax.device_put(np.arange(12.0).reshape(3, 2, 2), jax.NamedSharding(parallel.mesh({"fsdp": -1}), jax.P()))
    np.testing.assert_array_equal(processes.to_first({"x": x}, x.sharding)["x"], x)
