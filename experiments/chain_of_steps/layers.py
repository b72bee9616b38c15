"""What the blocks do and know: runs without a block, linear probes for walls, agent, goal, next cell and answer of a
maze at several denoising steps, and how large the tokens of the foreground are."""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from vrjax.flow import Record, grids, sample
from vrjax.reasoning.instruments import layers, probes
from vrjax.study.subjects import Subject, Suite, untrained
from vrjax.study.tables import Bench, Tables

TARGETS = ("walls", "agent", "goal", "next", "answer")


def ablation(bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float) -> Tables:
    """Solved with one block skipped at every step: `solved` [N, block] and `clean` [N]."""
    grid, blocks = grids.shifted(steps, shift=shift), subject.layers

    def one(weights: Any, row: Any) -> Any:
        model = functools.partial(weights.velocity, row["text"], row["image"])
        return layers.ablation_sweep(model, row["noise"][0], grid, layers=blocks, how="map")

    last = bench.over(one, subject.weights, suite.rows, f"{subject.name}: {suite.task.name}, skipped blocks")
    solved = suite.solved(suite.answers(last))
    return {"clean": solved[:, 0], "solved": solved[:, 1:]}


@functools.cache
def _features(velocity: Callable, steps: int, shift: float, at: tuple[int, ...]) -> Callable:
    """One function for all models of a kind, so that they share the compiled programs of `probes.fit`."""
    grid = grids.shifted(steps, shift=shift)

    def features(weights: Any, row: Any) -> Any:
        v = velocity(weights, row, {"block.*": lambda h: h})
        return sample(v, row["noise"], grid, record=Record(steps=at, fields=())).taps["block.*"]

    return features


def probed(bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float, recorded: int = 4) -> Tables:
    """Fits one probe per target, block and recorded step on some instances and scores it on others; the same on an
    untrained network, since what is readable there was in the input.

    Frame 0 is left out (it is given); `next` is not asked for in frames after arrival.

    Returns:
        `steps` [S]; for each target `<target>` [S, block] balanced accuracy, `<target>_control` the same for exchanged
        labels, `<target>_untrained` and `<target>_chance`; and `<target>_gain`, `<target>_gain_untrained` float32
        [test instance]: from the first to the second half of the blocks (mean over steps, balanced accuracy).
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

    def gain(found: probes.Result) -> np.ndarray:
        each = np.nanmean(probes.balanced_accuracy(found.confusion), axis=1)  # [instance, block]
        half = each.shape[1] // 2
        return (each[:, half:].mean(1) - each[:, :half].mean(1)).astype(np.float32)

    result: Tables = {"steps": np.array(at)}
    for who, name in ((subject, ""), (untrained(subject), "_untrained")):
        with bench.bar(f"{who.name}: {suite.task.name}, probes"):
            found = probes.fit(features, who.weights, rows, labels, parts, group=min(bench.group, 8))
        for target, r in found.items():
            result |= {f"{target}{name}": r.accuracy, f"{target}_gain{name}": gain(r)}
            result |= {} if name else {f"{target}_control": r.control, f"{target}_chance": np.array(r.chance)}
    return result


def energy(bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float, recorded: int = 4) -> Tables:
    """How large the tokens of the foreground are beside the others, after each block; noise 0.

    Foreground: of a maze the path drawn so far, of other tasks where the moving object is; frame 0 is left out. What a
    token's place and frame alone make large is in `other` as well, the same tokens measured on another clip.

    Returns:
        `own`, `other` float32 [N, S, block]: log of the mean norm of the tokens on the foreground (of this clip; of the
        clip before it) minus that of the others; `steps` [S], those recorded.
    """
    at = tuple(int(s) for s in np.unique(np.linspace(0, steps - 1, recorded).round()))
    grid, model, frames = grids.shifted(steps, shift=shift), subject.velocity, suite.rows["solution"].shape[1]
    marks = []
    for clip in suite.clips:
        found = suite.task.symbols(clip)
        drawn = np.asarray(found.get("path", found["agent"])).astype(bool)
        drawn[0] = False
        marks.append(drawn.ravel())
    own = np.stack(marks)

    def one(weights: Any, row: Any) -> Any:
        v = model(weights, row, {"block.*": layers.token_energy})
        size = sample(v, row["noise"][0], grid, record=Record(steps=at, fields=())).taps["block.*"]  # [S, block, token]
        later = jnp.arange(size.shape[-1]) >= size.shape[-1] // frames

        def ratio(drawn: Any) -> Any:
            mean = lambda where: (size * where).sum(-1) / jnp.maximum(where.sum(), 1)
            return jnp.log(mean(drawn)) - jnp.log(mean(later & ~drawn))

        return {"own": ratio(row["own"]), "other": ratio(row["other"])}

    rows = {k: suite.rows[k] for k in ("image", "text", "noise")} | {"own": own, "other": np.roll(own, 1, axis=0)}
    out = bench.over(one, subject.weights, rows, f"{subject.name}: {suite.task.name}, energy of blocks")
    return {**out, "steps": np.array(at)}
