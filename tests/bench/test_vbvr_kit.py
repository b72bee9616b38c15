"""VBVR's kit as a subprocess, its results, control rows, and the score between them."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from vrjax import tasks
from vrjax.bench import vbvr as bench
from vrjax.data import mp4, vbvr
from vrjax.files.pixels import to_float

# A kit with the public one's command line and files. It scores a still end like the truth, as the public one does, and
# fails on purpose for one task; like the public one it leaves out tasks that it does not know.
FAKE = """
import argparse, json, os, pathlib, re, sys
parser = argparse.ArgumentParser()
group = parser.add_mutually_exclusive_group(required=True)
group.add_argument("--model_path"); group.add_argument("--models_base")
parser.add_argument("--models", nargs="+"); parser.add_argument("--gt_base", required=True)
parser.add_argument("--output_dir"); parser.add_argument("--device", default="cuda")
args = parser.parse_args()
assert args.device == "cpu" and not os.environ.get("PYTHONPATH")
assert pathlib.Path.cwd() == pathlib.Path(__file__).resolve().parent
table = json.loads(os.environ.get("FAKE", "{}") or "{}")
scores = {"ground-truth": 0.9, "frozen-first-frame": 0.5, "frozen-final-frame": 0.9}
for name in args.models:
    root, samples = pathlib.Path(args.models_base) / name, []
    for folder, split in (("In-Domain_50", "In_Domain"), ("Out-of-Domain_50", "Out_of_Domain")):
        for task in sorted(p for p in (root / folder).glob("*") if p.is_dir()):
            if task.name.startswith("X-"):
                continue
            for file in sorted(task.glob("*.mp4")):
                assert re.fullmatch(r"\\d{5}\\.mp4", file.name)
                truth = pathlib.Path(args.gt_base) / folder / task.name / file.stem / "ground_truth.mp4"
                assert truth.is_file() and file.stat().st_size
                if name == "ground-truth":
                    assert file.read_bytes() == truth.read_bytes()
                broken = task.name.startswith("G-2_") and name == "mine"
                score = 0.0 if broken else scores.get(name, 0.7)
                samples.append({"video_path": str(file), "video_file": file.name, "task_name": task.name,
                    "split": split, "category": task.name[0], "folder": folder, "score": score, "dimensions": {},
                    "error": "invalid index to scalar variable" if broken else None})
    out = pathlib.Path(args.output_dir); out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}_vbvr_results.json").write_text(json.dumps({"model_name": name, "samples": samples, "summary": {}}))
print("done")
"""


def kit(folder: pathlib.Path) -> pathlib.Path:
    """A clone of the fake kit."""
    folder.mkdir()
    (folder / bench.ENTRY).write_text(FAKE)
    git = lambda *words: subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True, capture_output=True
    )
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "kit")
    return folder


def stub_python(folder: pathlib.Path) -> pathlib.Path:
    """An interpreter with modules named numpy and cv2, and nothing of this environment's."""
    (folder / "modules").mkdir(parents=True)
    for name in ("numpy", "cv2"):
        (folder / "modules" / f"{name}.py").write_text("__version__ = '1.2.3'\n")
    script = folder / "python"
    body = f"import sys; sys.path.insert(0, {str(folder / 'modules')!r})"
    (folder / "modules" / "start.py").write_text(
        body + "\nimport runpy\nif sys.argv[1] == '-c': exec(sys.argv[2])\n"
        "else:\n    sys.argv = sys.argv[1:]\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {folder / "modules" / "start.py"} "$@"\n')
    script.chmod(0o755)
    return script


def tree(root: pathlib.Path) -> pathlib.Path:
    """Two samples each of two tasks of one split, one of the other, one that the kit does not know."""
    for split, task, n in (
        ("In-Domain_50", "G-1", 2),
        ("In-Domain_50", "G-2", 2),
        ("Out-of-Domain_50", "O-3", 1),
        ("Out-of-Domain_50", "X-4", 1),
    ):
        for i in range(n):
            clip = tasks.get("maze").make(i, split="test")
            vbvr.write(clip, vbvr.bench_folder(root, split, f"{task}_toy", i), upscale=1)
    (root / "VBVR-Bench.json").write_text("[]")
    return root


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A benchmark, its kit, videos of a row and of the controls."""
    root = tmp_path_factory.mktemp("bench")
    where = tree(root / "data")
    found = bench.read(where)
    bench.controls(found, root / "videos")
    for sample in found:
        (clip,) = vbvr.read(sample.folder)
        vbvr.write_prediction(
            root / "videos" / "mine", sample.split, sample.task, sample.index, clip.video[::-1], upscale=1
        )
    return root, kit(root / "kit"), stub_python(root / "env")


def test_samples(made):
    root, _, _ = made
    names = [s.file for s in bench.read(root / "data")]
    assert names[:2] == [
        "In-Domain_50/G-1_toy_data-generator/00000.mp4",
        "In-Domain_50/G-1_toy_data-generator/00001.mp4",
    ]
    assert len(names) == 6 and len(bench.read(root / "data", limit=1)) == 4
    assert [s.task[:3] for s in bench.read(root / "data", tasks=["G-1", "O-3_toy"])] == ["G-1", "G-1", "O-3"]
    with pytest.raises(ValueError, match="no task begins with G-9, O"):
        bench.read(root / "data", tasks=["G-1", "G-9", "O"])
    one = root / "data" / "In-Domain_50" / "G-1_toy_data-generator" / "00000"
    assert [sample.file for sample in bench.read(one)] == [names[0]]
    vbvr.write(tasks.get("maze").make(0), root / "elsewhere" / "a_0", upscale=1)
    with pytest.raises(ValueError, match=r"a_0: expected In-Domain_50\|Out-of-Domain_50/TASK/00000 in the benchmark"):
        bench.read(root / "elsewhere")


def test_controls(made):
    """The true bytes; stills of the same length, rate and size that show the two frames."""
    root, _, _ = made
    sample = bench.read(root / "data")[0]
    truth, count, fps = mp4.decode(sample.folder / "ground_truth.mp4")
    (clip,) = vbvr.read(sample.folder)
    copied = root / "videos" / bench.TRUTH / sample.file
    assert copied.read_bytes() == (sample.folder / "ground_truth.mp4").read_bytes()
    for row, picture in ((bench.FIRST, clip.video[0]), (bench.FINAL, clip.video[-1])):
        film, frames, rate = mp4.decode(root / "videos" / row / sample.file)
        assert frames == count and rate == fps and film.shape == truth.shape
        error = np.abs(to_float(film) - picture)
        assert error.mean() < 0.1 and np.abs(to_float(film[0]) - to_float(film[-1])).mean() < 0.05
    assert np.abs(clip.video[0] - clip.video[-1]).mean() > 0.05  # the two stills are told apart
    (sample.folder / "final_frame.png").rename(sample.folder / "hidden.png")
    try:
        with pytest.raises(FileNotFoundError, match=r"final_frame.png: missing, the control rows need it"):
            bench.controls([sample], root / "other")
    finally:
        (sample.folder / "hidden.png").rename(sample.folder / "final_frame.png")


def test_the_kit_runs_unchanged(made, monkeypatch):
    """From its own folder and environment; what it says of itself stands beside the scores."""
    root, clone, python = made
    monkeypatch.setenv("PYTHONPATH", str(root))
    rows = ["mine", *bench.CONTROLS]
    said: list[str] = []
    found = bench.evaluate(
        clone, root / "videos", root / "data", root / "scores", rows=rows, python=python, say=said.append
    )
    head = subprocess.run(["git", "-C", str(clone), "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    assert found.kit["commit"] == head and len(head) == 40 and head[:12] in said[0] and bench.ENTRY in said[0]
    assert found.kit["environment"] == {"python": sys.version.split()[0], "numpy": "1.2.3", "cv2": "1.2.3"}
    assert [len(found.scores[row]) for row in rows] == [5] * 4
    assert {s.error for s in found.scores["mine"]} == {None, "invalid index to scalar variable"}
    assert (clone / bench.ENTRY).read_text() == FAKE and sorted(p.name for p in clone.iterdir()) == [
        ".git",
        bench.ENTRY,
    ]
    lines = {line["row"]: line for line in bench.summary(found.scores, resamples=50)}
    mine = lines["mine"]
    assert mine["overall"] == pytest.approx(3 * 0.7 / 5) and mine["errors"] == 2 and mine["n"] == 5
    assert mine["In-Domain_50"] == pytest.approx(0.35) and mine["Out-of-Domain_50"] == pytest.approx(0.7)
    assert mine["normalised"] == pytest.approx((0.42 - 0.5) / 0.4)
    assert lines[bench.FIRST]["normalised"] == 0 and lines[bench.FINAL]["normalised"] == 1
    assert mine["categories"] == {"G": pytest.approx(0.35), "O": pytest.approx(0.7)}
    head_row, body = bench.cells(list(lines.values()))
    assert len(head_row) == len(body[0]) and body[0][0] == "mine" and "0.420" in body[0][1]
    (clone / bench.ENTRY).write_text(FAKE + "\n# mine\n")
    assert bench.kit_of(clone, python)["commit"] == head + "+changes"
    (clone / bench.ENTRY).write_text(FAKE)


def test_summary_by_hand():
    """Means, and the interval of a row that is the truth everywhere but in one task."""
    make = lambda values: [bench.Score("In-Domain_50", f"t{i // 2}", i % 2, "A", v, None) for i, v in enumerate(values)]
    scores = {
        "mine": make([1, 1, 0, 0, 1, 1]),
        bench.TRUTH: make([1] * 6),
        bench.FIRST: make([0, 0, 0, 0, 0.5, 0.5]),
        bench.FINAL: make([1] * 6),
    }
    mine = bench.summary(scores)[0]
    assert mine["overall"] == pytest.approx(2 / 3) and mine["Out-of-Domain_50"] is None
    assert mine["normalised"] == pytest.approx((2 / 3 - 1 / 6) / (1 - 1 / 6))
    low, high = mine["overall interval"]
    assert low == 0 and high == 1  # three tasks, drawn with replacement
    equal = scores | {bench.FIRST: make([1] * 6)}
    assert bench.summary(equal)[0]["normalised"] is None
    with pytest.raises(ValueError, match="mine has other videos than ground-truth"):
        bench.summary(scores | {"mine": make([1, 1])})
    with pytest.raises(ValueError, match="control rows frozen-final-frame are missing"):
        bench.summary({k: v for k, v in scores.items() if k != bench.FINAL})


def test_what_can_be_wrong(made, tmp_path):
    root, clone, python = made
    with pytest.raises(
        FileNotFoundError, match="no run_evaluation.py in it; expected a clone of github.com/Video-Reason"
    ):
        bench.kit_of(tmp_path, python)
    with pytest.raises(FileNotFoundError, match=r"\.venv/bin/python: missing; .* numpy==1.26.4 opencv"):
        bench.kit_of(clone)
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(ValueError, match="not an environment for the kit: ModuleNotFoundError.*numpy"):
        bench.kit_of(clone, bare)
    plain = tmp_path / "kit"
    plain.mkdir()
    (plain / bench.ENTRY).write_text("raise SystemExit('boom')")
    assert bench.kit_of(plain, python)["commit"] == "unknown"
    with pytest.raises(ValueError, match=r"stopped with status 1: boom"):
        bench.evaluate(plain, root / "videos", root / "data", tmp_path / "out", rows=["mine"], python=python, say=print)
    (plain / bench.ENTRY).write_text("print('nothing to do')")
    with pytest.raises(ValueError, match="mine_vbvr_results.json: the kit wrote no results for this row"):
        bench.evaluate(plain, root / "videos", root / "data", tmp_path / "out", rows=["mine"], python=python, say=print)
    good = {"split": "In_Domain", "task_name": "t", "video_file": "00000.mp4", "category": "A", "score": 0.5}
    for wrong in ([], {"samples": []}, {"samples": [good | {"score": 1.5}]}, {"samples": [good | {"split": "x"}]}):
        (tmp_path / "a.json").write_text(json.dumps(wrong))
        with pytest.raises(ValueError, match="a.json: "):
            bench.read_scores(tmp_path / "a.json")
