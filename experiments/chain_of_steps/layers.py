"""What the blocks do: the four swap modes on counterfactual prompts, and skipping blocks."""

import functools
from typing import Any

import numpy as np

from vrjax.flow import grids
from vrjax.models.embedded.conditions import example
from vrjax.models.wan import WanConfig
from vrjax.reasoning.instruments import layers
from vrjax.study.subjects import FACTOR, Subject, Suite
from vrjax.study.tables import Bench, Tables

MODES = ("stream", "tokens", "increment", "attention")


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
            )[:, -1]
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
        return layers.ablation_sweep(model, row["noise"][0], grid, layers=blocks, how="map")[:, -1]

    last = bench.over(one, subject.weights, suite.rows, f"{subject.name}: {suite.task.name}, skipped blocks")
    solved = suite.solved(suite.answers(last))
    return {"clean": solved[:, 0], "solved": solved[:, 1:]}
