"""From motions and answers to scores."""

import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vrjax.bench.mbench import answers as words
from vrjax.bench.mbench import formulas
from vrjax.bench.mbench.lists import Item, Score
from vrjax.motion import files
from vrjax.motion.resampling import resample_joints

Answers = Mapping[int, Any] | Callable[[Item], Any]
"""By the motion's id, or by a model that is asked with the item: a number (percent of penetration, distance of the pose
prior, share of right answers), or an answer in words, which is read as the public code reads it."""


def evaluate(
    items: Sequence[Item],
    motions: str | os.PathLike | Mapping[int, formulas.Joints],
    *,
    up_axis: int,
    fps: float | int = 20,
    answers: Mapping[str, Answers] | None = None,
) -> list[Score]:
    """Scores of one row: what joints tell is computed, the rest is asked of `answers`.

    Args:
        items: of the list; `read(path, dimensions=mbench.NAMES)` are those that need no answers.
        motions: joints by id, or a folder of `{id}.npy` (or `{id}.pt` with `joints`), each (t, 22, 3).
        up_axis: the axis of height in them: 2 as ViMoGen's rows are recovered, 1 after its script that organises them.
        fps: their rate; another than 20 is resampled first, since the metrics count per frame.
        answers: dimension -> answers, of the dimensions that need a body mesh, a pose prior or a model that sees.

    Raises:
        FileNotFoundError: a motion that is missing. ValueError: a motion of another shape, numbers that are not finite,
            a dimension or a motion without its answer.
    """
    answers = answers or {}
    asked = {item.dimension for item in items} - set(formulas.NAMES)
    if lacking := sorted(asked - set(answers)):
        raise ValueError(f"answers: {', '.join(lacking)} missing; or read the items with dimensions=mbench.NAMES")
    numbers = sorted({item.id for item in items if item.dimension in formulas.NAMES})
    clips = [_motion(motions, number, float(fps)) for number in numbers]
    found = formulas.batch(clips, up_axis) if clips else {}
    places = {number: place for place, number in enumerate(numbers)}
    out = []
    for item in items:
        if item.dimension in formulas.NAMES:
            value, read = (float(found[c][item.dimension][places[item.id]]) for c in formulas.COLUMNS)
            out.append(Score(item, value, read, _file(motions, item.id)))
        else:
            out.append(_answered(item, answers[item.dimension], motions))
    return out


def _answered(item: Item, given: Answers, motions: Any) -> Score:
    where = f"answers[{item.dimension!r}]"
    if isinstance(given, Mapping) and item.id not in given:
        raise ValueError(f"{where}: expected an answer for motion {item.id}, found {len(given)} of others")
    answer = given[item.id] if isinstance(given, Mapping) else given(item)
    said = answer if isinstance(answer, str) else None
    value = float(words.correct(item, said)) if said is not None else float(answer)
    if not np.isfinite(value):
        raise ValueError(f"{where}: expected a finite number for motion {item.id}, found {value}")
    return Score(item, value, value, _file(motions, item.id), said)


def _motion(motions: Any, number: int, fps: float) -> Any:
    if isinstance(motions, Mapping):
        if number not in motions:
            raise FileNotFoundError(f"motions: expected one for id {number}, found {len(motions)} others")
        joints = motions[number]
    else:
        joints = files.read_joints(_file(motions, number) or pathlib.Path(motions) / f"{number}.npy", fps=fps)
    try:
        return joints if fps == 20.0 else resample_joints(joints, fps)
    except ValueError as error:
        raise ValueError(f"motion {number}: {error}") from None


def _file(motions: Any, number: int) -> str:
    """The motion's file, .npy before .pt as the public code looks for it; empty where there is none."""
    if isinstance(motions, Mapping):
        return ""
    paths = (pathlib.Path(motions) / f"{number}{suffix}" for suffix in (".npy", ".pt"))
    return next((str(path) for path in paths if path.is_file()), "")
