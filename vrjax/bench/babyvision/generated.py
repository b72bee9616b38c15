"""Files of the track that draws, BabyVision-Gen: generated pictures, what was said of them, and their summary.

    generated/{model}/round{N}/images/{stem}_task{taskId}.png      results/{model}/round{N}/eval.jsonl

After the public code at 7f92fd4. By default a task counts once in a round (its last row), rounds are in the order of
their numbers and subtypes are read in any spelling; `compat="official"` counts as the public code does.
"""

import collections
import datetime
import json
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vrjax.bench.babyvision import answers
from vrjax.files import given, pixels, writing
from vrjax.tasks.puzzles.item import TYPE_OF, Item, canonical

EVAL = "eval.jsonl"
RESULTS = "results.jsonl"
LEAST = 1000
"""Bytes; a generated file that is smaller is none, in `results.jsonl`."""
SIDE = 1024
NOTE = "Accuracy = correct / total_tasks. Missing generations are treated as incorrect."


def names(item: Item) -> tuple[str, ...]:
    """Names that a generated picture may have, in the order in which they are looked for."""
    stem = item.source.stem if isinstance(item.source, pathlib.Path) else str(item.task_id)
    return tuple(f"{name}{end}" for name in (f"{stem}_task{item.task_id}", stem) for end in (".png", ".jpg"))


def picture(folder: str | os.PathLike, item: Item) -> pathlib.Path | None:
    """The generated picture of an item in a round's folder `images`; None where there is none."""
    return next((path for name in names(item) if (path := pathlib.Path(folder) / name).is_file()), None)


def padded(image: np.ndarray, side: int = SIDE) -> np.ndarray:
    """A picture as the protocol gives it to a model: as large as fits a square, in the middle of white.

    Sizes and margins are cut to whole pixels, as the public code cuts them.
    """
    from PIL import Image

    height, width = image.shape[:2]
    ratio = min(side / width, side / height)
    new = (max(1, int(width * ratio)), max(1, int(height * ratio)))
    small = Image.fromarray(image).resize(new, Image.Resampling.LANCZOS)
    out = Image.new("RGB", (side, side), "white")
    out.paste(small, ((side - new[0]) // 2, (side - new[1]) // 2))
    return np.asarray(out).copy()


def write_results(round_folder: str | os.PathLike, items: Sequence[Item]) -> None:
    """Writes `results.jsonl` of a round: an item's row with `generated_image`, its path relative to the round, or null
    where the file is missing or under `LEAST` bytes. It knows the first of `names` alone, as the public code."""
    root, rows = pathlib.Path(round_folder), []
    for item in items:
        path = root / "images" / names(item)[0]
        there = path.is_file() and path.stat().st_size >= LEAST
        row = {"taskId": item.task_id, "type": item.type, "subtype": item.subtype, "generationPrompt": item.prompt}
        rows.append(row | {"generated_image": f"images/{path.name}" if there else None})
    writing.text(root / RESULTS, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def evaluate(
    items: Sequence[Item], folder: str | os.PathLike, judge: Callable[[Item, np.ndarray], bool | str]
) -> list[dict[str, Any]]:
    """Rows of `eval.jsonl` for the pictures in a round's folder `images`.

    Args:
        items: of the track.
        folder: of the pictures.
        judge: `judge(item, picture) -> right`, exactly (`decoding.judge`), or a model's reply, which is read as the
            public code reads it: neither word is an error and counts as wrong.
    """
    rows = []
    for item in items:
        row: dict[str, Any] = {"taskId": item.task_id, "type": item.type, "subtype": item.subtype}
        path = picture(folder, item)
        if path is None:
            told = {"autoEval": False, "error": "no generated picture", "response": None, "missing_generation": True}
        else:
            found = judge(item, pixels.read_image(path))
            right = answers.verdict(found) if isinstance(found, str) else bool(found)
            error = None if right is not None else "neither True nor False"
            told = {"autoEval": right, "error": error, "response": str(found)}
        rows.append(row | told)
    return rows


def write_eval(path: str | os.PathLike, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes `eval.jsonl`."""
    writing.text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_eval(path: str | os.PathLike) -> list[dict[str, Any]]:
    """The rows of `eval.jsonl`, checked.

    Raises:
        FileNotFoundError: no such file. ValueError: a torn line, a row without a whole number taskId, an autoEval that
            is neither true, false nor null; names the line.
    """
    path, rows = pathlib.Path(path), []
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    for at, line in enumerate(given.text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {at}: not JSON ({error})") from None
        if not isinstance(row, dict) or not isinstance(row.get("taskId"), int):
            raise ValueError(f"{path}, line {at}: expected an object with a whole number taskId")
        if not isinstance(row.get("autoEval"), bool | None):
            raise ValueError(f"{path}, line {at}, task {row['taskId']}: autoEval is {row['autoEval']!r:.40}")
        rows.append(row)
    return rows


def rounds(results: str | os.PathLike) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Rows by model and round of a folder `results/{model}/round{N}/eval.jsonl`, rounds in the order of their numbers.

    Raises:
        FileNotFoundError: no such folder, or no rows in it.
    """
    root, out = pathlib.Path(results), {}
    models = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    for model in models:
        found = [path for path in model.glob(f"round*/{EVAL}") if path.is_file()]
        rank = lambda path: ([int(n) for n in re.findall(r"\d+", path.parent.name)], path.parent.name)
        if found:
            out[model.name] = {path.parent.name: read_eval(path) for path in sorted(found, key=rank)}
    if not out:
        raise FileNotFoundError(f"{root}: no MODEL/round*/{EVAL} in it")
    return out


def summary(
    found: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]],
    items: Sequence[Item],
    *,
    compat: str | None = None,
    ddof: int = 1,
) -> dict[str, Any]:
    """`summary.json`: for each model the share of right pictures, its mean and deviation over rounds, by type too.

    Args:
        found: rows by model and round, see `rounds`.
        items: of the track: the denominator, whatever rows there are.
        compat: "official": rows are summed one by one, a task that is repeated counts twice, rows without a type are
            "Unknown", and rounds are in the order of their names.
        ddof: of deviations over rounds.

    Raises:
        ValueError: rows of tasks that there are not, unless in compat; an unknown compat.
    """
    if compat not in (None, answers.OFFICIAL):
        raise ValueError(f"compat is {compat!r}, expected None or {answers.OFFICIAL!r}")
    models = {}
    for model, by_round in found.items():
        order = sorted(by_round) if compat else list(by_round)
        used = [name for name in order if by_round[name]]
        told = {name: _round(by_round[name], items, compat, f"{model}, {name}") for name in used}
        shares = [one["overall"]["accuracy"] for one in told.values()]
        types: dict[str, list[float]] = collections.defaultdict(list)
        for one in told.values():
            for name, stats in one["breakdown"]["by_type"].items():
                types[name].append(stats["accuracy"])
        mean, std = _over(shares, ddof)
        models[model] = {
            "num_rounds": len(used),
            "mean_accuracy": mean,
            "std_accuracy": std,
            "round_accuracies": shares,
            "type_accuracies": {
                name: dict(zip(("mean", "std"), _over(each, ddof), strict=True)) for name, each in types.items()
            },
            "rounds": told,
        }
    at = datetime.datetime.now().isoformat()  # noqa: DTZ005 - as the public file has it
    return {"generated_at": at, "total_tasks": len(items), "note": NOTE, "models": models}


def _over(shares: Sequence[float], ddof: int) -> tuple[float, float]:
    if not shares:
        return 0.0, 0.0
    return float(np.mean(shares)), float(np.std(shares, ddof=ddof)) if len(shares) > ddof else 0.0


def _round(rows: Sequence[Mapping[str, Any]], items: Sequence[Item], compat: str | None, where: str) -> dict[str, Any]:
    known = {item.task_id: item for item in items}
    if compat:
        kind = lambda row: (row.get("type", "Unknown"), row.get("subtype", "Unknown"))
    else:
        if strange := [row["taskId"] for row in rows if row["taskId"] not in known]:
            raise ValueError(f"{where}: task {strange[0]} is not among the {len(items)} of the track")
        rows = list({row["taskId"]: row for row in rows}.values())

        def kind(row: Mapping[str, Any]) -> tuple[str, str]:
            subtype = canonical(known[row["taskId"]].subtype)
            return TYPE_OF[subtype], subtype

    right = lambda row: row.get("autoEval") is True
    by_type: dict[str, list[bool]] = collections.defaultdict(list)
    by_subtype: dict[str, list[bool]] = collections.defaultdict(list)
    seen = {row.get("taskId") for row in rows}
    lacking = [(item.type, item.subtype) for number, item in known.items() if number not in seen]
    for (type, subtype), good in [*((kind(row), right(row)) for row in rows), *((one, False) for one in lacking)]:
        by_type[type].append(good)
        by_subtype[f"{type}/{subtype}"].append(good)
    correct = sum(map(right, rows))
    missing = [row for row in rows if row.get("missing_generation")]
    overall = {
        "total": len(items),
        "evaluated": len(rows),
        "correct": correct,
        "incorrect": sum(row.get("autoEval") is False for row in rows),
        "missing_gen": len(missing),
        "api_errors": sum(row.get("error") is not None and not row.get("missing_generation") for row in rows),
        "not_in_results": len(items) - len(rows),
        "accuracy": correct / len(items) if items else 0.0,
    }
    told = lambda groups: {
        name: {"correct": sum(each), "total": len(each), "accuracy": sum(each) / len(each)}
        for name, each in groups.items()
    }
    return {"overall": overall, "breakdown": {"by_type": told(by_type), "by_subtype": told(by_subtype)}}
