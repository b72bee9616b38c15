"""MBench's files: the list of what is evaluated, the motions, and the three result files of its public code."""

import collections
import json
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from vrjax.bench.mbench import answers, formulas
from vrjax.files import given, writing
from vrjax.motion import annotations
from vrjax.motion.annotations import Evaluated as Item

LIST = "MBench_eval_info.json"
BODY = ("Body_Penetration", "Pose_Quality")
DIMENSIONS = (*formulas.NAMES, *BODY, *answers.ASKED)
HIGHER = ("Dynamic_Degree", *answers.ASKED)  # of these more is better


class Score(NamedTuple):
    """The value of an item, read on the correct axis and as the official path reads it (equal where no axis is read),
    the motion's file, and the answer in words where there was one."""

    item: Item
    value: float
    official: float
    file: str = ""
    answer: str | None = None


def read(path: str | os.PathLike, *, dimensions: Sequence[str] = DIMENSIONS) -> list[Item]:
    """The items of the public list, in its order.

    Args:
        path: `MBench_eval_info.json`, or a folder that has it.
        dimensions: which are wanted; `mbench.NAMES` are those that need joints alone.

    Raises:
        FileNotFoundError: no such list. ValueError: not this list, an item that comes twice, an unknown dimension.
    """
    if wrong := [name for name in dimensions if name not in DIMENSIONS]:
        raise ValueError(f"dimensions: expected some of {', '.join(DIMENSIONS)}, found {wrong[0]!r}")
    path = pathlib.Path(path)
    path = path / LIST if path.is_dir() else path
    items = annotations.read_mbench_eval(path)
    if strange := [item for item in items if item.dimension not in DIMENSIONS]:
        raise ValueError(f"{path}: expected one of {', '.join(DIMENSIONS)}, found {strange[0].dimension!r:.100}")
    counts = collections.Counter((item.dimension, item.id) for item in items)
    if twice := [f"{dimension} of motion {number}" for (dimension, number), n in counts.items() if n > 1]:
        raise ValueError(f"{path}: {twice[0]} stands there twice")
    return [item for item in items if item.dimension in dimensions]


def write_results(
    folder: str | os.PathLike, name: str, scores: Sequence[Score], *, column: str = formulas.CORRECT
) -> dict[str, pathlib.Path]:
    """Writes what the public code writes: `{name}_eval_results.json`, `_per_motion_results.json`, `_full_info.json`.

    Args:
        folder, name: where, and of which evaluation.
        scores: of one row.
        column: which reading of the axis; compare published numbers with "official path".

    Returns:
        "eval_results", "per_motion_results", "full_info" -> the file.

    Raises:
        ValueError: no scores, an unknown column, a name that is no file's.
    """
    if column not in formulas.COLUMNS:
        raise ValueError(f"column: expected one of {', '.join(formulas.COLUMNS)}, found {column!r}")
    if not scores or pathlib.PurePath(name).name != name:
        raise ValueError(f"write_results: expected scores and a plain name, found {len(scores)} scores and {name!r}")
    found = sorted(scores, key=lambda score: (DIMENSIONS.index(score.item.dimension), score.item.id))
    used = [dimension for dimension in DIMENSIONS if any(s.item.dimension == dimension for s in found)]
    results, motions = {}, {}
    for dimension in used:
        each = [score for score in found if score.item.dimension == dimension]
        results[dimension] = {
            "aggregate": aggregate([_value(score, column) for score in each]),
            "per_motion": [_entry(score, column) for score in each],
        }
    for score in sorted(found, key=lambda score: score.item.id):
        item, own = score.item, _entry(score, column)
        about = {key: own.pop(key) for key in ("id", "prompt", "motion_duration")}
        motions.setdefault(item.id, about | {"dimensions": {}})["dimensions"][item.dimension] = own
    info = [
        {
            "prompt": score.item.prompt,
            "dimension": score.item.dimension,
            "id": score.item.id,
            **({"auxiliary_info": list(score.item.auxiliary_info)} if score.item.auxiliary_info else {}),
            "category": score.item.category,
            "motion_duration": score.item.motion_duration,
            "evaluation_file": score.file,
        }
        for score in found
    ]
    per_motion = {"evaluation_name": name, "dimensions": used, "motions": list(motions.values())}
    out = {"eval_results": results, "per_motion_results": per_motion, "full_info": info}
    paths = {kind: pathlib.Path(folder) / f"{name}_{kind}.json" for kind in out}
    for kind, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        writing.json(path, out[kind], ensure_ascii=False)
    return paths


def read_results(path: str | os.PathLike, items: Iterable[Item]) -> list[Score]:
    """The scores of `{name}_eval_results.json`, the public code's or ours, as they stand in it.

    Its one value is taken for both readings of the axis: the file does not say which it is. The public code writes the
    official path.

    Args:
        path: of the file.
        items: of the list it was made with.

    Raises:
        FileNotFoundError: no such file. ValueError: another kind of file, a dimension that failed, values that are not
            finite, motions that the list lacks.
    """
    known = {(item.dimension, item.id): item for item in items}
    found = _json(path)
    out = []
    try:
        for dimension, result in found.items():
            if "error" in result:
                raise ValueError(f"{dimension} failed: {result['error']!r:.100}")
            for entry in result["per_motion"]:
                item = known.get((dimension, entry["id"]))
                if item is None:
                    raise ValueError(f"motion {entry['id']!r} is not in the list of {dimension}")
                value = float(entry["value"])
                if not np.isfinite(value):
                    raise ValueError(f"{dimension} of motion {item.id} is {value}")
                file = str(entry.get("evaluation_file") or entry.get("video_path") or "")
                out.append(Score(item, value, value, file, entry.get("raw_response")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not results of MBench ({type(error).__name__}: {error})") from None
    return out


def aggregate(values: Sequence[float]) -> dict[str, Any]:
    """Mean, population standard deviation and number of values, under the names of the public result files."""
    return {"mean": float(np.mean(values)), "std": float(np.std(values)), "num_samples": len(values)}


def _value(score: Score, column: str) -> float:
    return float(score.value if column == formulas.CORRECT else score.official)


def _entry(score: Score, column: str) -> dict[str, Any]:
    item = score.item
    said = {} if score.answer is None else {"raw_response": score.answer}
    values = {"value": _value(score, column), "evaluation_file": score.file, "motion_duration": item.motion_duration}
    return {"id": item.id, "prompt": item.prompt, **values, **said}


def _json(path: str | os.PathLike) -> Any:
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return json.loads(given.text(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
