"""Result files of the track that answers, in the public form, and what is published of them.

    results.write("model_results_run_1.json", items, said)
    babyvision.summary(["model_results_run_1.json", ...])          # shares, by type and subtype

By default an item counts once in a run (its last row), items that a run lacks are wrong, and subtypes are read in any
spelling. `compat="official"` counts as the public code does, whose denominator is the number of rows, and which keeps
spellings apart.
"""

import collections
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vrjax.bench.babyvision import answers
from vrjax.files import given, writing
from vrjax.report.statistics import wilson
from vrjax.tasks.puzzles.item import TYPE_OF, TYPES, Item, canonical

FIELDS = ("Id", "Question", "ModelReasoning", "ModelResult", "GroundTruth", "ExtractedAnswer", "LLMJudgeResult")
"""Of a row, beside `Type` and `Subtype`."""
NUMBERS = {type: str(i + 1) for i, type in enumerate(TYPES)}
"""The public code's numbers of types; others are 0."""


class Score(NamedTuple):
    """Whether one item was answered rightly in one run."""

    task_id: int
    type: str
    subtype: str
    right: bool


def evaluate(
    items: Sequence[Item],
    said: Mapping[int, str | None],
    *,
    judge: Callable[[Item, str | None], bool] = answers.judge,
    compat: str | None = None,
) -> list[Score]:
    """Scores of one run: what was said of each item (by its number), whole; what is missing is wrong.

    Raises:
        ValueError: what was said of items that there are not.
    """
    if strange := set(said) - {item.task_id for item in items}:
        raise ValueError(f"answers to item {min(strange)}, which is not among the {len(items)} items")
    right = lambda item: judge(item, answers.extract(said.get(item.task_id), compat))
    return [Score(item.task_id, item.type, item.subtype, bool(right(item))) for item in items]


def write(
    path: str | os.PathLike,
    items: Sequence[Item],
    said: Mapping[int, str | None],
    *,
    judge: Callable[[Item, str | None], bool] = answers.judge,
    compat: str | None = None,
) -> None:
    """Writes `model_results_run_{i}.json`: a list of rows in the public form."""
    rows = []
    for item, score in zip(items, evaluate(items, said, judge=judge, compat=compat), strict=True):
        text = said.get(item.task_id)
        found = answers.extract(text, compat)
        told = (item.task_id, answers.asked(item), "", text or "", item.answer, found, score.right)
        row = dict(zip(FIELDS, told, strict=True)) | {"Type": item.type, "Subtype": item.subtype}
        rows.append(row | ({} if text is not None else {"Error": "no answer"}))
    writing.json(path, rows, ensure_ascii=False)


def read(path: str | os.PathLike) -> list[dict[str, Any]]:
    """The rows of a result file, checked.

    Raises:
        FileNotFoundError: no such file. ValueError: not such a file; names the row and the field.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        rows = json.loads(given.text(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{path}: expected a list of results")
    for i, row in enumerate(rows):
        if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in ("Type", "Subtype")):
            raise ValueError(f"{path}, row {i}: expected an object with Type and Subtype")
        if not isinstance(row.get("Id"), int) or not isinstance(row.get("LLMJudgeResult"), bool | None):
            raise ValueError(f"{path}, row {i}: expected a whole number Id and a LLMJudgeResult of true or false")
    return rows


def scores(rows: Iterable[Mapping[str, Any]]) -> list[Score]:
    """Scores of a file's rows: the last of each item's, with canonical subtypes."""
    last = {row["Id"]: row for row in rows}
    told = [(number, canonical(row["Subtype"]), bool(row["LLMJudgeResult"])) for number, row in last.items()]
    return [Score(number, TYPE_OF[subtype], subtype, right) for number, subtype, right in told]


def summary(
    found: Sequence[str | os.PathLike] | Mapping[str, Sequence[Score]],
    *,
    items: Sequence[Item] | None = None,
    compat: str | None = None,
    ddof: int = 0,
) -> Any:
    """What is published: mean share of right answers over runs with its deviation, overall, by type and by subtype.

    Args:
        found: result files, one a run; or scores by row, of which a list of lines is made, one a row.
        items: all that were asked: what no run has is wrong. By default those that any run has.
        compat: "official": as the public code counts, of files.
        ddof: of the standard deviation over runs; the public code's is 0 here and 1 in the track that draws.

    Returns:
        `{"overall": {...}, "type": {name: {...}}, "subtype": {name: {...}}, "ddof": ddof}`; each `{"mean", "std",
        "runs", "n", "interval"}`: shares, how many runs and items, and Wilson's interval (95 %) of the mean number
        of n items, rounded. `n` and `interval` are left out in compat, which has no fixed items. Officially subtypes
        are called "1Type/Subtype", as they are spelled.

    Raises:
        ValueError: nothing to sum up, rows of different items, an unknown compat, compat of scores.
    """
    if compat not in (None, answers.OFFICIAL):
        raise ValueError(f"compat is {compat!r}, expected None or {answers.OFFICIAL!r}")
    if not found:
        raise ValueError("summary: nothing to sum up")
    if isinstance(found, Mapping):
        if compat:
            raise ValueError("summary: compat counts rows of files, and these are scores")
        wanted = {(score.task_id, score.subtype) for one in found.values() for score in one}
        for name, one in found.items():
            if {(score.task_id, score.subtype) for score in one} != wanted or len(one) != len(wanted):
                raise ValueError(f"summary: {name} has other items than other rows ({len(one)} scores)")
        return [{"row": name} | _summed([one], wanted, ddof) for name, one in found.items()]
    runs = [read(path) for path in found]
    if compat:
        return _official(runs, ddof)
    each = [scores(rows) for rows in runs]
    if items is None:
        wanted = {(score.task_id, score.subtype) for one in each for score in one}
    else:
        wanted = {(item.task_id, item.subtype) for item in items}
    if len({number for number, _ in wanted}) < len(wanted):
        raise ValueError("summary: an item is of two subtypes in these runs")
    return _summed(each, wanted, ddof)


def _summed(runs: Sequence[Sequence[Score]], wanted: set[tuple[int, str]], ddof: int) -> dict[str, Any]:
    right = [{(score.task_id, score.subtype) for score in run if score.right} & wanted for run in runs]

    def told(among: set[tuple[int, str]]) -> dict[str, Any]:
        shares = [len(one & among) / len(among) for one in right]
        mean = float(np.mean(shares))
        interval = wilson(round(mean * len(among)), len(among)).interval
        return {**_over(shares, ddof), "n": len(among), "interval": interval}

    kinds = {subtype: {one for one in wanted if one[1] == subtype} for subtype in TYPE_OF}
    subtypes = {subtype: among for subtype, among in kinds.items() if among}
    types: dict[str, set[tuple[int, str]]] = collections.defaultdict(set)
    for subtype, among in subtypes.items():
        types[TYPE_OF[subtype]] |= among
    return {
        "overall": told(wanted),
        "type": {name: told(among) for name, among in types.items()},
        "subtype": {name: told(among) for name, among in subtypes.items()},
        "ddof": ddof,
    }


def _over(shares: Sequence[float], ddof: int) -> dict[str, Any]:
    std = float(np.std(shares, ddof=ddof)) if len(shares) > ddof else 0.0
    return {"mean": float(np.mean(shares)), "std": std, "runs": len(shares)}


def _official(runs: Sequence[Sequence[Mapping[str, Any]]], ddof: int) -> dict[str, Any]:
    """Rows are what is counted; a run that lacks a name is left out of its mean."""
    overall: list[float] = []
    named: dict[str, dict[str, list[float]]] = {
        "type": collections.defaultdict(list),
        "subtype": collections.defaultdict(list),
    }
    for rows in runs:
        overall.append(_share(rows))
        groups: dict[tuple[str, str], list[Mapping[str, Any]]] = collections.defaultdict(list)
        for row in rows:
            kind = row["Type"]
            groups["type", kind].append(row)
            groups["subtype", f"{NUMBERS.get(kind, '0')}{kind}/{row['Subtype']}"].append(row)
        for (what, name), among in groups.items():
            named[what][name].append(_share(among))
    summed = {what: {name: _over(each, ddof) for name, each in sorted(found.items())} for what, found in named.items()}
    return {"overall": _over(overall, ddof), **summed, "ddof": ddof}


def _share(rows: Sequence[Mapping[str, Any]]) -> float:
    return sum(bool(row["LLMJudgeResult"]) for row in rows) / len(rows)
