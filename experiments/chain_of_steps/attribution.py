"""Gradient attribution through the whole sampler: where in a run was its answer decided, and does the map say so?

    python -m experiments.chain_of_steps.attribution FOLDER [--task maze]    what the map costs beside sampling the clip

`measure` takes one clip after another: the map of every step, block and token from one backward pass, and the effect of
ablating sites that are drawn at random, equally many for every step and block, before anything is known about them. The
margin is that of the answer at which the run itself ends: on the maze the nearest of all paths' films against all
other paths; on the entrant the nearest look, in at one door and out at the other, against every film in which one door
has another look.
"""

import argparse
import functools
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.chain_of_steps.paths import every_path
from vrjax.flow import Record, grids, sample
from vrjax.models import wan
from vrjax.reasoning.instruments import attribution
from vrjax.reasoning.instruments.attribution import Sites
from vrjax.study import subjects
from vrjax.study.subjects import Subject, Suite
from vrjax.study.tables import Bench, Tables
from vrjax.tasks import Entrant
from vrjax.tasks.core import COLOURS
from vrjax.tasks.entrant import stages

PATCH = (1, 2, 2)  # of the embedded models, and of the null model, which has no tokens of its own
PER_CELL = 11  # sites of each step and block: 528 in all at 8 steps and 6 blocks
SEED = 0  # of the draw of sites
Row = Any  # one instance of a suite, see `_rows`


def answers(suite: Suite) -> dict[str, np.ndarray]:
    """What the margin is taken among: `films` float32 [N, K, t, h, w, c], `allowed` bool [N, K], those that may be a
    run's answer, `right` bool [N, K], those that the verifier takes, and `rivals` bool [N, K, K], those that stand
    against each answer."""
    task = suite.task
    if not isinstance(task, Entrant):
        every = every_path(suite)
        rivals = every.mask[:, None] & ~np.eye(every.mask.shape[1], dtype=bool)
        return {"films": every.films, "allowed": every.mask, "right": every.right, "rivals": rivals}
    looks = len(task.looks)
    enters, leaves = np.repeat(np.arange(looks), looks), np.tile(np.arange(looks), looks)
    both = COLOURS[np.stack([[task.film(c.meta["layout"], look) for look in task.looks] for c in suite.clips])]
    hidden, out = stages(both.shape[2])
    entry = (np.arange(both.shape[2]) < (hidden + out) // 2)[:, None, None, None]
    films = np.where(entry, both[:, enters], both[:, leaves]).astype(np.float32)
    same = np.broadcast_to(enters == leaves, films.shape[:2])
    one_door = (enters[:, None] == enters) ^ (leaves[:, None] == leaves)
    rivals = np.broadcast_to(one_door, (len(films), *one_door.shape))
    return {"films": films, "allowed": same, "right": same, "rivals": rivals}


def drawn(clips: int, steps: int, rows: int, tokens: int, per_cell: int, seed: int = SEED) -> Sites:
    """Sites of every clip: each step and row has `per_cell` different tokens. `step`, `row` [n], `token` [clips, n]."""
    rng = np.random.default_rng(seed)
    step, row = (a.ravel().repeat(per_cell) for a in np.mgrid[:steps, :rows])
    cells = rng.random((clips, steps * rows, tokens)).argsort(-1)[..., :per_cell]
    return Sites(step.astype(np.int32), row.astype(np.int32), cells.reshape(clips, -1).astype(np.int32))


def measure(
    bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float, per_cell: int = PER_CELL, map_of: int = 1
) -> Tables:
    """The map, and sampled ablations, of every clip from its first noise.

    Args:
        per_cell: sites of each step and row (blocks, and the estimate behind them) that are ablated.
        map_of: first clips whose whole maps are kept.

    Returns:
        `step`, `row` [n] and `token` [N, n] of the sites; for each [N, n] `attribution`, `effect` (margin of the
        ablated run minus `margin` [N]), and `stream`, `increment`, `edit`, see `attribution.Sizes`; `profile`
        [N, S, row], the mean absolute attribution over all tokens; `whole` [map_of, S, row, token]; `answer` [N], the
        film that the run ends at, `right` [N], whether it is a right one; `final` [map_of, t, h, w, c].
    """
    grid, blocks, model = grids.shifted(steps, shift=shift), subject.layers, subject.velocity
    among, patch = answers(suite), _patch(subject)
    shape = [n // p for n, p in zip(suite.rows["solution"].shape[1:4], patch, strict=True)]
    sites = drawn(len(suite.clips), steps, blocks + 1, int(np.prod(shape)), per_cell)
    step, behind = np.asarray(sites.step), np.asarray(sites.row)

    def one(weights: Any, row: Row) -> Any:
        base = functools.partial(_model, model, weights, row)
        of: dict[str, Any] = {"blocks": blocks, "still": _still(row), "patch": patch}
        record = Record(fields=("x", "v"), fn=attribution.recorded_sizes(of["still"], patch))
        clean = sample(base(taps=attribution.TAPS if blocks else {}), row["noise"][0], grid, record=record)
        answer = attribution.choose(clean.final, row["candidates"], row["prior"] > 0)
        found = _map(base, row, grid, **of)
        here = Sites(jnp.asarray(step), jnp.asarray(behind), row["token"])
        effect = attribution.ablate(base, functools.partial(_margin, row, answer), clean, grid, here, **of)
        out = {name: a[here] for name, a in clean.stats._asdict().items()}
        out |= {"attribution": found.map[here], "effect": effect, "margin": found.margin, "answer": answer}
        return out | {"profile": abs(found.map).mean(-1), "map": found.map, "final": clean.final}

    rows = _rows(suite, among) | {"token": sites.token}
    out = bench.over(one, subject.weights, rows, f"{subject.name}: {suite.task.name}, attribution")
    final, whole = out.pop("final")[:map_of], out.pop("map")[:map_of].astype(np.float16)
    right = np.take_along_axis(among["right"], out["answer"][:, None], 1)[:, 0]
    out |= {name: rounded(out[name]) for name in ("attribution", "effect")}
    out |= {name: out[name].astype(np.float16) for name in attribution.Sizes._fields}
    about = {"step": step.astype(np.int8), "row": behind.astype(np.int8), "token": sites.token.astype(np.int16)}
    return out | about | {"right": right, "whole": whole, "final": final}


def cost(bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float, pairs: int = 9) -> Tables:
    """CPU seconds of sampling all clips of a suite together and of their maps, in alternating pairs, after one of each.

    Returns:
        `sampling` and `map`, [1, pair] each: seconds of this process, whatever else the machine does meanwhile.
    """
    rows = jax.device_put(_rows(suite, answers(suite)))
    runs = _priced(subject.velocity, steps, shift, subject.layers, _patch(subject))
    taken: dict[str, list[float]] = {name: [] for name in runs}
    with bench.bar(f"{subject.name}: {suite.task.name}, cost of attribution", pairs) as tick:
        for pair in range(-1, pairs):
            for name, run in list(runs.items())[:: 1 if pair % 2 else -1]:
                began = time.process_time()
                jax.block_until_ready(run(subject.weights, rows))
                taken[name] += [time.process_time() - began] if pair >= 0 else []
            tick(pair >= 0)
    return {name: np.array([seconds]) for name, seconds in taken.items()}


@functools.cache
def _priced(model: Any, steps: int, shift: float, blocks: int, patch: Any) -> dict[str, Any]:
    """The two programs of `cost`, one pair for all training seeds."""
    grid = grids.shifted(steps, shift=shift)

    def sampled(weights: Any, row: Row) -> Any:
        return sample(model(weights, row), row["noise"][0], grid, record=Record(steps=())).final

    def mapped(weights: Any, row: Row) -> Any:
        base = functools.partial(_model, model, weights, row)
        return _map(base, row, grid, blocks=blocks, still=_still(row), patch=patch)

    return {name: jax.jit(jax.vmap(fn, in_axes=(None, 0))) for name, fn in (("sampling", sampled), ("map", mapped))}


def rounded(values: np.ndarray, bits: int = 11) -> np.ndarray:
    """float32 with so many binary digits (float16's), over float32's whole range: tables that are packed stay small."""
    digits, power = np.frexp(values)
    return np.ldexp(np.round(digits * 2.0**bits) / 2.0**bits, power).astype(np.float32)


def _rows(suite: Suite, among: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the programs get of each clip: its conditions and noises, and the films of all answers as the candidates of
    the null model, equally likely."""
    rows = {k: suite.rows[k] for k in ("image", "text", "noise")}
    prior = among["allowed"].astype(np.float32)
    return rows | {"candidates": among["films"], "prior": prior, "rivals": among["rivals"]}


def _model(model: Any, weights: Any, row: Row, taps: Any = {}, edits: Any = {}) -> Any:  # noqa: B006
    return model(weights, row, taps, edits)


def _patch(subject: Subject) -> Any:
    return subject.weights.cfg.patch if subject.layers else PATCH


def _still(row: Row) -> jax.Array:
    """The first frame in every frame."""
    return jnp.broadcast_to(row["image"][0, ..., 1:], row["noise"].shape[1:])


def _margin(row: Row, answer: Any, x: jax.Array) -> jax.Array:
    return attribution.margin(x, row["candidates"], answer, row["rivals"][answer])


def _map(base: Any, row: Row, grid: Any, **of: Any) -> attribution.Attribution:
    """The map of the margin of the answer at which the run ends."""

    def read(x: jax.Array) -> jax.Array:
        answer = attribution.choose(jax.lax.stop_gradient(x), row["candidates"], row["prior"] > 0)
        return _margin(row, answer, x)

    return attribution.attribute(base, read, row["noise"][0], grid, **of)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints what the map of a model costs, in samplings of the clip."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=pathlib.Path, help="folder of weights")
    parser.add_argument("--task", default="maze", choices=("maze", "maze_goals", "entrant"))
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--shift", type=float, default=3.0)
    parser.add_argument("--pairs", type=int, default=15)
    given = parser.parse_args(argv)
    subject = Subject(given.model.name, wan.load_dit(given.model))
    suite = subjects.suite(given.task, "val", given.clips, 1, subject.weights.cfg)
    how = {"steps": given.steps, "shift": given.shift, "pairs": given.pairs}
    found = cost(Bench(pathlib.Path()), subject, suite, **how)
    ratio = np.sort((found["map"] / found["sampling"])[0])
    each = {name: 1000 / given.clips * np.median(seconds) for name, seconds in found.items()}
    print(f"a clip takes {each['sampling']:.0f} ms of CPU, its map {each['map']:.0f} ms")
    print(f"the map costs {np.median(ratio):.2f} samplings [{ratio[0]:.2f}, {ratio[-1]:.2f}], {given.pairs} pairs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
