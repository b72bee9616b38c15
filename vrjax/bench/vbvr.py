"""VBVR-Bench: control rows, the public evaluation kit run unchanged, and scores between the controls.

    vbvr.controls(bench, folder / "videos")            # three rows of videos that no model made
    vbvr.through(bench, folder / "videos", lambda clip: (480, 832))      # a fourth: what the model's size leaves
    rows = ["my-model", *vbvr.CONTROLS, vbvr.THROUGH]
    found = vbvr.evaluate(kit, folder / "videos", bench, folder / "scores", rows=rows)
    rows = vbvr.summary(found.scores)

The kit (github.com/Video-Reason/VBVR-EvalKit) is a clone of the user's, with an environment of its own: OpenCV 5 breaks
some of its evaluators, which then score 0.0 silently. It is run as a subprocess by its recommended entry point, which
gives each video the score of its task's rules alone. Its commit and its environment stand beside every number.

Those rules look at the end of a video: a still picture of the final frame scores like the true video, and a still first
frame does well on some tasks. So every table has three control rows, and a score between them,
(score - frozen first frame) / (ground truth - frozen first frame). A fourth, the truth made as small as the model's
videos and written as they are, is what a perfect model would score at its size and through its files.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vrjax.data import mp4, vbvr
from vrjax.files.pixels import read_image, to_float
from vrjax.files.writing import atomic
from vrjax.tasks import Clip

TRUTH, FIRST, FINAL = CONTROLS = ("ground-truth", "frozen-first-frame", "frozen-final-frame")
THROUGH = "ground-truth-at-model-size"
ENTRY = "run_evaluation.py"
TESTED = "275472f"  # the commit whose interface this was written against
SPLIT_NAMES = {"In-Domain_50": "In_Domain", "Out-of-Domain_50": "Out_of_Domain"}  # folders, the kit's names
_MODULES = ("numpy", "cv2")


class Sample(NamedTuple):
    """One video of the benchmark: its folder, and where a model's video of it lies."""

    folder: pathlib.Path
    split: str
    task: str
    index: int

    @property
    def file(self) -> str:
        """`{split}/{task}/{index:05d}.mp4`."""
        return f"{self.split}/{self.task}/{self.index:05d}.mp4"


class Score(NamedTuple):
    """The kit's verdict on one video; `error` is what its evaluator raised (the score then is 0), or None."""

    split: str
    task: str
    index: int
    category: str
    score: float
    error: str | None


class Evaluation(NamedTuple):
    """What the kit said: row -> scores; and what said it: `kit` (path, entry point, commit, environment)."""

    scores: dict[str, list[Score]]
    kit: dict[str, Any]


def read(bench: str | os.PathLike, *, tasks: Sequence[str] | None = None, limit: int | None = None) -> list[Sample]:
    """The samples of a benchmark tree `{split}/{task}/{00000}/`.

    Args:
        bench: its root.
        tasks: beginnings of task names ("O-39", "G-3_"); None for all.
        limit: at most so many of each task, the first ones.

    Raises:
        FileNotFoundError: no such tree. ValueError: a sample that lies outside the two splits; tasks of which there is
            none.
    """
    out: list[Sample] = []
    seen: dict[tuple[str, str], int] = {}
    for folder in vbvr.samples(bench):
        *_, split, task, name = folder.absolute().parts
        if split not in vbvr.SPLITS or not name.isdecimal() or len(name) != 5:
            raise ValueError(f"{folder}: expected {'|'.join(vbvr.SPLITS)}/TASK/00000 in the benchmark {bench}")
        if tasks is not None and not any(_begins(task, wanted) for wanted in tasks):
            continue
        seen[split, task] = seen.get((split, task), 0) + 1
        if limit is None or seen[split, task] <= limit:
            out.append(Sample(folder, split, task, int(name)))
    if missing := [wanted for wanted in tasks or () if not any(_begins(s.task, wanted) for s in out)]:
        raise ValueError(f"{bench}: no task begins with {', '.join(missing)}")
    return out


def _begins(task: str, wanted: str) -> bool:
    """Whether `G-3` means this task: `G-3_...`, not `G-31_...`."""
    return task == wanted or task.startswith(wanted if wanted.endswith("_") else f"{wanted}_")


# --------------------------------------------------------------------------------------------------------- control rows


def controls(found: Iterable[Sample], folder: str | os.PathLike) -> None:
    """Writes the control rows `folder/{ground-truth,frozen-first-frame,frozen-final-frame}/...`; keeps what is there.

    The true video is copied byte by byte; the stills have its length and frame rate.

    Raises:
        FileNotFoundError: a sample without `ground_truth.mp4` or `final_frame.png`. ValueError: one that is no picture.
    """
    root = pathlib.Path(folder)
    for sample in found:
        truth = sample.folder / "ground_truth.mp4"
        stills = {FIRST: sample.folder / "first_frame.png", FINAL: sample.folder / "final_frame.png"}
        if missing := [path for path in (truth, *stills.values()) if not path.is_file()]:
            raise FileNotFoundError(f"{missing[0]}: missing, the control rows need it")
        if not (root / TRUTH / sample.file).is_file():
            _copy(truth, root / TRUTH / sample.file)
        if not (todo := {row: still for row, still in stills.items() if not (root / row / sample.file).is_file()}):
            continue
        _, frames, fps = mp4.decode(truth, max_frames=1)
        for row, still in todo.items():
            pixels = to_float(read_image(still, formats=("PNG",)))
            film = np.broadcast_to(pixels, (frames, *pixels.shape))
            mp4.write(root / row / sample.file, film, fps=max(1, round(fps)), codec=mp4.LOSSLESS)


def through(
    found: Iterable[Sample],
    folder: str | os.PathLike,
    size: Callable[[Clip], tuple[int, int]],
    *,
    frames: int | None = None,
    **options: Any,
) -> None:
    """Writes the control row `folder/ground-truth-at-model-size/...`, of `size(clip)`; keeps what is there.

    At most `frames` are kept, where the model's videos are cut too. It is written with the options of
    `vrjax.data.vbvr.write_prediction` that the model's videos are written with; by default at the true video's size.
    """
    root = pathlib.Path(folder) / THROUGH
    for sample in found:
        if not (root / sample.file).is_file():
            (clip,) = vbvr.read(sample.folder, max_frames=1)
            (small,) = vbvr.read(sample.folder, size=size(clip))
            where = options or {"size": tuple(clip.meta["vbvr"]["size"])}
            vbvr.write_prediction(root, sample.split, sample.task, sample.index, small.video[:frames], **where)


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    with atomic(target) as scratch:
        shutil.copyfile(source, scratch)


# -------------------------------------------------------------------------------------------------------------- the kit


def kit_of(path: str | os.PathLike, python: str | os.PathLike | None = None) -> dict[str, Any]:
    """The kit in a folder: its entry point, commit and environment.

    Args:
        path: a clone.
        python: the interpreter of its environment; `PATH/.venv/bin/python` by default.

    Returns:
        `path`, `python`, `entry`, `commit` (with "+changes" where the clone differs from it; "unknown" without git),
        `sources` (SHA-256 of its Python files), `environment` (versions of Python, NumPy, OpenCV).

    Raises:
        FileNotFoundError: no kit there, or no environment; says how to make them. ValueError: an environment that lacks
            what the kit imports.
    """
    root = pathlib.Path(path)
    if not (root / ENTRY).is_file():
        raise FileNotFoundError(
            f"{root}: no {ENTRY} in it; expected a clone of github.com/Video-Reason/VBVR-EvalKit (tested: {TESTED})"
        )
    chosen = pathlib.Path(python) if python is not None else root / ".venv" / "bin" / "python"
    if not chosen.is_file():
        raise FileNotFoundError(
            f"{chosen}: missing; the kit runs in an environment of its own: python -m venv {root / '.venv'} && "
            f"{root / '.venv' / 'bin' / 'pip'} install numpy==1.26.4 opencv-python-headless==4.10.0.84 pillow tqdm"
        )
    names = ", ".join(_MODULES)
    script = (
        f"import sys, json, {names}; print(json.dumps([sys.version.split()[0], *(m.__version__ for m in ({names},))]))"
    )
    asked = subprocess.run([chosen, "-c", script], capture_output=True, text=True, env=_environment(), check=False)
    if asked.returncode:
        last = asked.stderr.strip().splitlines()[-1:] or ["no message"]
        raise ValueError(f"{chosen}: not an environment for the kit: {last[0]}")
    digest = hashlib.sha256()
    for file in sorted(p for p in root.rglob("*.py") if ".venv" not in p.parts):
        digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    return {
        "path": str(root),
        "python": str(chosen),
        "entry": ENTRY,
        "commit": _commit(root),
        "sources": digest.hexdigest(),
        "environment": dict(zip(("python", *_MODULES), json.loads(asked.stdout), strict=True)),
    }


def _commit(root: pathlib.Path) -> str:
    def git(*words: str) -> str | None:
        with contextlib.suppress(OSError):
            done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
            return done.stdout.strip() if done.returncode == 0 else None

    top = git("rev-parse", "--show-toplevel")
    if top is None or pathlib.Path(top).resolve() != root.resolve():  # a folder inside another project's clone
        return "unknown"
    changes = git("status", "--porcelain", "--untracked-files=no")
    return (git("rev-parse", "HEAD") or "unknown") + ("+changes" if changes else "")


def _environment() -> dict[str, str]:
    """Of the subprocess: this process's Python paths would shadow the kit's packages."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "JAX_", "XLA_", "VIRTUAL_ENV"))}


def evaluate(
    kit: str | os.PathLike,
    videos: str | os.PathLike,
    bench: str | os.PathLike,
    out: str | os.PathLike,
    *,
    rows: Sequence[str],
    python: str | os.PathLike | None = None,
    say: Callable[[str], None] = print,
) -> Evaluation:
    """Runs the kit on rows of videos and reads its results.

    Args:
        kit, python: see `kit_of`.
        videos: folder with one folder per row.
        bench: root of the benchmark.
        out: where the kit writes.
        rows: names of the rows.
        say: told the command.

    Raises:
        FileNotFoundError, ValueError: see `kit_of`; a kit that fails (with its last line), or leaves no results.
    """
    about = kit_of(kit, python)
    out = pathlib.Path(out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    for row in rows:
        _results(out, row).unlink(missing_ok=True)
    whole = lambda path: str(pathlib.Path(path).resolve())
    command = [str(pathlib.Path(about["python"]).absolute()), ENTRY, "--models_base", whole(videos), "--models", *rows]
    command += ["--gt_base", whole(bench), "--output_dir", str(out), "--device", "cpu"]
    say(f"evaluation kit {about['commit'][:12]}: {' '.join(command)}")
    where = out / "log.txt"
    with open(where, "w", encoding="utf-8") as log:
        streams = {"stdout": log, "stderr": subprocess.STDOUT}
        done = subprocess.run(command, cwd=about["path"], env=_environment(), check=False, **streams)
    if done.returncode:
        last = where.read_text("utf-8", errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise ValueError(f"{about['path']}: the kit stopped with status {done.returncode}: {last[0]} ({where})")
    return Evaluation({row: read_scores(_results(out, row)) for row in rows}, about)


def _results(out: pathlib.Path, row: str) -> pathlib.Path:
    return out / f"{row}_vbvr_results.json"


def read_scores(path: str | os.PathLike) -> list[Score]:
    """The scores of one row, as the kit wrote them.

    Raises:
        ValueError: missing or not the kit's file; a score outside [0, 1]; names it.
    """
    path = pathlib.Path(path)
    try:
        found = json.loads(path.read_text("utf-8"))
        names = {theirs: ours for ours, theirs in SPLIT_NAMES.items()}
        out = [
            Score(
                names[row["split"]],
                row["task_name"],
                int(row["video_file"].removesuffix(".mp4")),
                str(row["category"]),
                float(row["score"]),
                row.get("error"),
            )
            for row in found["samples"]
        ]
    except FileNotFoundError:
        raise ValueError(f"{path}: the kit wrote no results for this row (see log.txt beside it)") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not results of the evaluation kit ({type(error).__name__}: {error})") from None
    if (wrong := [score for score in out if not 0 <= score.score <= 1]) or not out:
        what = f"{wrong[0].task} {wrong[0].index} scores {wrong[0].score}" if wrong else "no samples"
        raise ValueError(f"{path}: {what}, expected scores from 0 to 1")
    return out


# --------------------------------------------------------------------------------------------------------------- tables

GROUPS = ("overall", *SPLIT_NAMES)


def summary(scores: Mapping[str, list[Score]], *, resamples: int = 2000, seed: int = 0) -> list[dict[str, Any]]:
    """One line per row: mean scores, and where they lie between the controls.

    Args:
        scores: row -> scores, of the same videos in every row, the controls among them.
        resamples, seed: of the bootstrap, which draws tasks, and samples within them, for all rows alike.

    Returns:
        Lines with `row`, `n`, `errors` (videos whose evaluator raised), for each group (`overall`, the splits) the mean
        and `<group> interval`, `categories`, and `normalised` with `normalised interval`: 0 is the frozen first frame,
        1 the ground truth, of the overall means; None where the two controls do not differ.

    Raises:
        ValueError: rows with different videos, or a control that is missing.
    """
    if lost := [row for row in CONTROLS if row not in scores]:
        raise ValueError(f"scores: the control rows {', '.join(lost)} are missing")
    keys = {row: {(s.split, s.task, s.index): s for s in found} for row, found in scores.items()}
    first = sorted(keys[TRUTH])
    for row, table in keys.items():
        if set(table) != set(first) or len(table) != len(scores[row]):
            raise ValueError(f"scores: {row} has other videos than {TRUTH} ({len(scores[row])} and {len(first)})")
    values = {row: np.array([table[key].score for key in first]) for row, table in keys.items()}
    tasks = sorted({key[:2] for key in first})
    members = [np.array([i for i, key in enumerate(first) if key[:2] == task]) for task in tasks]
    in_split = {split: np.array([key[0] == split for key in first]) for split in SPLIT_NAMES}
    kinds = np.array([keys[TRUTH][key].category for key in first])

    rng = np.random.default_rng(seed)
    weights = np.zeros((resamples, len(first)))
    for draw in weights:
        for task in rng.integers(len(tasks), size=len(tasks)):
            group = members[task]
            np.add.at(draw, group[rng.integers(len(group), size=len(group))], 1)

    def mean(row: str, inside: np.ndarray) -> tuple[float, list[float] | None]:
        if not inside.any():
            return float("nan"), None
        chosen = weights[:, inside]
        total = chosen.sum(1)
        spread = (chosen[total > 0] @ values[row][inside]) / total[total > 0]
        return float(values[row][inside].mean()), np.quantile(spread, [0.025, 0.975]).tolist()

    whole = np.ones(len(first), bool)
    low, high = values[FIRST].mean(), values[TRUTH].mean()
    lines = []
    for row, table in keys.items():
        line: dict[str, Any] = {"row": row, "n": len(table), "errors": sum(s.error is not None for s in table.values())}
        for group in GROUPS:
            value, interval = mean(row, whole if group == "overall" else in_split[group])
            line |= {group: None if np.isnan(value) else value, f"{group} interval": interval}
        line["categories"] = {str(kind): float(values[row][kinds == kind].mean()) for kind in sorted(set(kinds))}
        line["normalised"] = None if high == low else float((values[row].mean() - low) / (high - low))
        total = weights.sum(1)
        a, b, c = (weights @ values[name] / total for name in (FIRST, TRUTH, row))
        apart = np.abs(b - a) > 1e-9
        line["normalised interval"] = None
        if high != low and apart.any():
            line["normalised interval"] = np.quantile(((c - a)[apart] / (b - a)[apart]), [0.025, 0.975]).tolist()
        lines.append(line)
    return lines


def cells(lines: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and body of the table, as text."""

    def number(line: Mapping[str, Any], name: str) -> str:
        value, interval = line[name], line[f"{name} interval"]
        if value is None:
            return "-"
        return f"{value:.3f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")

    kinds = sorted({kind for line in lines for kind in line["categories"]})
    head = ["row", "overall [95 %]", "in-domain", "out-of-domain", "between controls", *kinds, "n", "errors"]
    body = [
        [
            line["row"],
            *(number(line, name) for name in (*GROUPS, "normalised")),
            *(f"{line['categories'][kind]:.3f}" if kind in line["categories"] else "-" for kind in kinds),
            str(line["n"]),
            str(line["errors"]),
        ]
        for line in lines
    ]
    return head, body
