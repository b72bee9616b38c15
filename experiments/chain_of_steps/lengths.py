"""Longer paths, larger mazes, fewer denoising steps, fewer frames: what the solved rate depends on."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from vrjax.flow import Record, grids, sample
from vrjax.study.subjects import Subject, Suite
from vrjax.study.tables import Bench, Tables
from vrjax.tasks.maze import paths_from

STEPS = (2, 4, 8, 20)  # sampler steps


def measure(bench: Bench, subject: Subject, suite: Suite, *, shift: float, steps: Sequence[int] = STEPS) -> Tables:
    """Samples every instance from every noise with several numbers of steps.

    Args:
        suite: of a maze.
        steps: of the sampler, each number in runs of its own.

    Returns:
        `solved` bool [N, M, steps]; `steps`; `length` [N], steps of the (shortest) right path.
    """
    model = subject.velocity

    def one(weights: Any, row: Any) -> Any:
        v = model(weights, row)
        run = lambda n, x: sample(v, x, grids.shifted(n, shift=shift), record=Record(steps=())).final
        return {str(n): jax.vmap(lambda x, n=n: run(n, x))(row["noise"]) for n in steps}

    rows = {k: suite.rows[k] for k in ("image", "text", "noise", "candidates", "prior")}
    label = f"{subject.name}: {suite.task.name}, {suite.clips[0].meta['split']}, numbers of steps"
    out = bench.over(one, subject.weights, rows, label)
    solved = np.stack([suite.solved(suite.answers(out[str(n)])) for n in steps], axis=-1)
    return {
        "solved": solved,
        "steps": np.array(steps),
        "length": np.array([length(c.meta["layout"]) for c in suite.clips]),
    }


def length(layout: dict[str, Any]) -> int:
    """Steps from the start to the nearest goal."""
    paths = paths_from(layout["maze"], tuple(layout["start"]))
    return min(len(paths[tuple(goal)]) - 1 for goal in layout["goals"])


def films(frames: int, longest: int, speed: int) -> dict[str, tuple[int, ...]]:
    """The films that are compared, by the frames of the whole one that they keep: all, every second, every fourth, and
    as many from the first on as hold the longest path."""
    whole = tuple(range(frames))
    return {
        "all": whole,
        "every second": whole[::2],
        "every fourth": whole[::4],
        "the first": whole[: 1 - (-longest // speed)],
    }


def fewer(bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float) -> Tables:
    """The same questions with fewer frames given to the sampler: condition, noise and answer of the frames kept.

    The network sees them as consecutive: with every second frame the line grows twice as fast as in training.

    Args:
        suite: of a maze; its answers are read from the last frame that is kept.

    Returns:
        `solved` bool [N, M, film]; `films`, their names; `frames`, how many each has.
    """
    layout = suite.clips[0].meta["layout"]
    kept = films(layout["frames"], max(length(clip.meta["layout"]) for clip in suite.clips), layout["speed"])
    grid, model, solved = grids.shifted(steps, shift=shift), subject.velocity, []

    def one(weights: Any, row: Any) -> Any:
        v = model(weights, row)
        return jax.vmap(lambda x: sample(v, x, grid, record=Record(steps=())).final)(row["noise"])

    for name, frames in kept.items():
        few = thinned(suite, frames)
        rows = {k: few.rows[k] for k in ("image", "text", "noise", "candidates", "prior")}
        shown = bench.over(one, subject.weights, rows, f"{subject.name}: {suite.task.name}, {name} frames")
        solved.append(few.solved(few.answers(shown)))
    counts = np.array([len(frames) for frames in kept.values()])
    return {"solved": np.stack(solved, axis=-1), "films": np.array(list(kept)), "frames": counts}


def thinned(suite: Suite, frames: Sequence[int]) -> Suite:
    """The suite of films of some of the frames.

    Raises:
        ValueError: the task is decided by other frames than the last, or the last frame kept is not how a film ends.
    """
    frames = list(frames)
    rows = dict(suite.rows)
    for name in ("image", "solution"):
        rows[name] = rows[name][:, frames]
    for name in ("candidates", "noise"):
        rows[name] = rows[name][:, :, frames]
    right = (np.asarray(suite.rows["prior"]) > 0)[..., None, None, None]
    ends = (suite.rows["candidates"][:, :, -1] == rows["candidates"][:, :, -1]) | ~right
    if tuple(suite.task.decisive) != (-1,) or not ends.all():
        raise ValueError(f"thinned: frames {frames} of {suite.task.name} leave out what decides the answer")
    return dataclasses.replace(suite, rows=rows)
