"""What the blocks do and know: the four swap modes on counterfactual prompts, skipping blocks, and linear probes for
walls, agent, goal, next cell and answer of a maze at several denoising steps."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from vrjax.flow import Record, grids, sample
from vrjax.models.embedded.conditions import example
from vrjax.models.wan import WanConfig
from vrjax.reasoning.instruments import layers, probes
from vrjax.study.subjects import FACTOR, Subject, Suite
from vrjax.study.tables import Bench, Tables

MODES = ("stream", "tokens", "increment", "attention")
TARGETS = ("walls", "agent", "goal", "next", "answer")


def _pair(suite: Suite, cfg: WanConfig) -> dict[str, np.ndarray]:
    """The other prompt of each clip, its answer among the candidates, and the tokens of the two named objects."""
    task = suite.task
    others = [task.counterfactual(c) for c in suite.clips]
    given = [example(c, codec_factor=FACTOR, text_len=cfg.text_len, text_dim=cfg.text_dim) for c in others]
    tokens = [
        (task.symbols(a)["answer"] | task.symbols(b)["answer"]).astype(bool).ravel()
        for a, b in zip(suite.clips, others, strict=True)
    ]
    return {
        "other_text": np.stack([g["text"] for g in given]),
        "other": np.array([c.meta["choice"] for c in others]),
        "objects": np.stack(tokens),
    }


def swaps(bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float) -> Tables:
    """Latent swapping at the first step between two prompts on one picture, block by block.

    Returns:
        For each mode `<mode>_flip` [N, block]: the answer is the other prompt's object, counted on the
        instances where both plain runs are right (else NaN); `base_solved`, `other_solved` [N]; `usable` [N].
    """
    grid, blocks = grids.shifted(steps, shift=shift), subject.layers
    pair = _pair(suite, subject.weights.cfg)
    rows = dict(suite.rows) | {k: pair[k] for k in ("other_text", "objects")}

    def one(weights: Any, row: Any) -> Any:
        model = lambda text: functools.partial(weights.velocity, text, row["image"])
        return {
            mode: layers.swap_sweep(
                model(row["text"]),
                model(row["other_text"]),
                row["noise"][0],
                grid,
                layers=blocks,
                mode=mode,
                mask=row["objects"] if mode == "tokens" else None,
                how="map",
            )
            for mode in MODES
        }

    out = bench.over(one, subject.weights, rows, f"{subject.name}: {suite.task.name}, swapped layers")
    answers = {mode: suite.answers(last) for mode, last in out.items()}
    target = np.array([c.meta["choice"] for c in suite.clips])
    plain = answers["stream"]
    base, other = plain[:, 1] == target, plain[:, 0] == pair["other"]
    usable = base & other
    result: Tables = {"base_solved": base, "other_solved": other, "usable": usable}
    for mode, answer in answers.items():
        flip = (answer[:, 2:] == pair["other"][:, None]).astype(float)
        result[f"{mode}_flip"] = np.where(usable[:, None], flip, np.nan)
    return result


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
