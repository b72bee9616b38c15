"""experiments.vbvr from the command line: the shipped small model and a tiny public one, with a stand-in kit."""

import json

import numpy as np
import pytest

from experiments.vbvr import study as experiment
from tests.bench import test_vbvr_kit as stand_in
from vrjax import tasks
from vrjax.bench import vbvr as bench
from vrjax.data import mp4, vbvr


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("vbvr")
    for i in range(2):
        vbvr.write(
            tasks.get("maze").make(i, split="test"), vbvr.bench_folder(root / "data", "In-Domain_50", "G-1_maze", i)
        )
    vbvr.write(
        tasks.get("pick").make(0, split="test"), vbvr.bench_folder(root / "data", "Out-of-Domain_50", "O-1_pick", 0)
    )
    return root, stand_in.kit(root / "kit"), stand_in.stub_python(root / "env")


def test_worlds(place, capsys):
    """Videos where the kit looks for them, of the true length and size; a table with commit and controls; goes on."""
    root, kit, python = place
    command = ["--bench", str(root / "data"), "--worlds", "--steps", "2", "--out", str(root / "runs")]
    assert experiment.main([*command, "--evalkit", str(root / "none")]) == 2
    assert "no run_evaluation.py" in capsys.readouterr().err and not (root / "runs").exists()
    assert experiment.main(command) == 0
    folder = root / "runs" / "vbvr-worlds"
    files = sorted(p for p in (folder / "videos" / "worlds").rglob("*.mp4"))
    assert [str(p.relative_to(folder / "videos" / "worlds")) for p in files] == [
        s.file for s in bench.read(root / "data")
    ]
    film, frames, _ = mp4.decode(files[0])
    truth, count, _ = mp4.decode(
        root / "data" / "In-Domain_50" / "G-1_maze_data-generator" / "00000" / "ground_truth.mp4"
    )
    assert film.shape == truth.shape and frames == count
    through, _, _ = mp4.decode(folder / "videos" / bench.THROUGH / files[0].relative_to(folder / "videos" / "worlds"))
    assert np.abs(through.astype(float) - truth).mean() < 2  # cells of the world's size are left as they are
    stamps = [p.stat().st_mtime_ns for p in files]
    scored = [*command, "--evalkit", str(kit), "--evalkit-python", str(python)]
    assert experiment.main(scored) == 0
    assert [p.stat().st_mtime_ns for p in files] == stamps  # nothing was sampled again
    results = json.loads((folder / "results.json").read_text())
    details = results["details"] if "details" in results else results
    text = json.dumps(details)
    assert details["kit"]["entry"] == "run_evaluation.py" and len(details["kit"]["commit"]) == 40
    assert [line["row"] for line in details["rows"]] == [
        "worlds",
        *bench.CONTROLS,
        bench.THROUGH,
    ] and "normalised" in text
    assert details["kit"]["commit"] in (folder / "table.md").read_text()
    assert experiment.main([*command, "--seed", "1"]) == 2
    assert "holds a run with another config: seed" in capsys.readouterr().err


def test_a_public_model(place, capsys, monkeypatch, tmp_path):
    """A tiny Wan image-to-video folder: the given frame goes in, as many frames come out as the truth has."""
    from tests.models import tiny_wan

    root, _, _ = place
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = tiny_wan.build(tmp_path / "model", "i2v")
    command = ["--bench", str(root / "data"), "--model", str(model), "--tasks", "O-1", "--out", str(tmp_path / "runs")]
    command += ["--size", "16x16", "--steps", "2", "--name", "tiny"]
    assert experiment.main(command) == 0, capsys.readouterr().err
    (file,) = (tmp_path / "runs" / "vbvr-tiny" / "videos" / "tiny").rglob("*.mp4")
    truth, count, _ = mp4.decode(bench.read(root / "data", tasks=["O-1"])[0].folder / "ground_truth.mp4")
    film, frames, _ = mp4.decode(file)
    assert frames == count and film.shape[1:] == truth.shape[1:] and np.ptp(film) > 0
    (through,) = (tmp_path / "runs" / "vbvr-tiny" / "videos" / bench.THROUGH).rglob("*.mp4")
    blurred, frames, _ = mp4.decode(through)  # 16 x 16 pixels are left of it, and shown as large as the truth
    assert frames == count and blurred.shape == truth.shape
    assert 5 < np.abs(blurred.astype(float) - truth).mean() < np.abs(film[:, ::-1].astype(float) - truth).mean()
    assert experiment.main(["--bench", str(root / "data")]) == 2 and "--model DIR" in capsys.readouterr().err
    assert experiment.main([*command, "--name", "ground-truth"]) == 2
