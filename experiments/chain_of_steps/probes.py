"""Linear probes: which block knows walls, agent, goal, next cell and answer of a maze, at which denoising step."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from vrjax.flow import Record, grids, sample
from vrjax.reasoning.instruments import probes
from vrjax.study.subjects import Subject, Suite
from vrjax.study.tables import Bench, Tables

TARGETS = ("walls", "agent", "goal", "next", "answer")


@functools.cache
def _features(velocity: Callable, steps: int, shift: float, at: tuple[int, ...]) -> Callable:
    """One function for all models of a kind, so that they share the compiled programs of `probes.fit`."""
    grid = grids.shifted(steps, shift=shift)

    def features(weights: Any, row: Any) -> Any:
        v = velocity(weights, row, {"block.*": lambda h: h})
        return sample(v, row["noise"], grid, record=Record(steps=at, fields=())).taps["block.*"]

    return features


def measure(bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float, recorded: int = 4) -> Tables:
    """Fits one probe per target, block and recorded step on some instances and scores it on others.

    Frame 0 is left out (it is given); `next` is not asked for in frames after arrival.

    Returns:
        `steps` [S]; for each target `<target>` [S, block] balanced accuracy, `<target>_control` the same for exchanged
        labels, `<target>_chance`; and `order` [test instance]: how much more the answer gains from the first to the
        second half of the blocks than the walls do (mean over steps, balanced accuracy).
    """
    at = tuple(int(s) for s in np.unique(np.linspace(0, steps - 1, recorded).round()))
    rows = {k: suite.rows[k] for k in ("image", "text")} | {"noise": suite.rows["noise"][:, 0]}
    symbols = [suite.task.symbols(c) for c in suite.clips]
    labels = {}
    for target in TARGETS:
        marks = np.stack([s[target] for s in symbols]).astype(np.int64)
        marks[:, 0] = -1
        if target == "next":
            marks[(marks == 1).sum((2, 3)) == 0] = -1
        labels[target] = marks.reshape(len(marks), -1)
    parts = probes.split(len(suite.clips), seed=0, fractions=(0.5, 0.2))
    features = _features(subject.velocity, steps, shift, at)
    with bench.bar(f"{subject.name}: {suite.task.name}, probes"):
        found = probes.fit(features, subject.weights, rows, labels, parts, group=min(bench.group, 8))
    result: Tables = {"steps": np.array(at)}
    for target, r in found.items():
        result |= {target: r.accuracy, f"{target}_control": r.control, f"{target}_chance": np.array(r.chance)}

    def gain(target: str) -> np.ndarray:
        each = np.nanmean(probes.balanced_accuracy(found[target].confusion), axis=1)  # [instance, block]
        half = each.shape[1] // 2
        return each[:, half:].mean(1) - each[:, :half].mean(1)

    return result | {"order": gain("answer") - gain("walls")}
