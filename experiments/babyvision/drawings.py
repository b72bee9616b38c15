"""What a specialist draws over held-out questions, and when along the denoising steps the answer is there.

Each item is drawn several times, from noises of its own. The clean estimate after every step is read as the drawn
answers of BabyVision-Gen are read here: what is marked, and whether that is the answer and nothing else. Beside the
network stands an exact denoiser that knows every candidate of an item (all that could be circled) and no more than that
they are equally likely: when its answer is there says nothing about skill.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from experiments.babyvision import names
from experiments.babyvision.config import BabyVision, Drawings
from vrjax import flow, tasks
from vrjax.bench.babyvision import trivial
from vrjax.flow import Record, grids
from vrjax.models.embedded import conditions
from vrjax.reasoning.instruments import null
from vrjax.study.tables import Bench, Tables
from vrjax.tasks import Clip, Task
from vrjax.tasks.puzzles import decoding
from vrjax.tasks.puzzles.item import Circle, Item, Marks


class Models(Protocol):
    """The networks of a seed, see `training.Trained`."""

    def model(self, task: str, which: str = names.SPECIALIST) -> Any:
        """The network called so."""
        ...

    def mark(self, task: str, *which: str) -> Mapping[str, str]:
        """Fingerprints of networks."""
        ...


def measure(study: BabyVision, here: Bench, seed: int, task: str, trained: Models) -> Tables:
    """The table of a seed and skill. By split of `names.LEVELS`: `<split> right` (item, draw); of the first of them
    also `steps right`, `steps settled` (item, draw, step): whether the answer is there after a step, and whether what
    is marked is what will be; `kept` (item, draw), PSNR in dB of what is not marked; `<solver> solved` (item,) of the
    trivial solvers, `guess` () what who guesses solves; where one thing is circled `exact settled`, of the exact
    denoiser; `films` of a few items, the last frame after each step."""

    def make() -> Tables:
        dit, out = trained.model(task), {}
        for split in names.LEVELS:
            clips = made(task, split, study.drawings.items)
            frames = drawn(here, study, dit, clips, f"seed {seed}, {task}: {split}")
            out |= told(tasks.get(task), clips, frames, split, first=split == next(iter(names.LEVELS)))
        return out | beside(study, here, task, seed)

    of = {"seed": seed, "task": task, "mark": trained.mark(task, names.SPECIALIST)}
    return here.part(names.part(seed, task, names.DRAWN), make, of=of)


def made(task: str, split: str, count: int, first: int = 0) -> list[Clip]:
    """Clips of a split in the order of their numbers."""
    here = tasks.get(task)
    return [here.make(first + i, split) for i in range(count)]


def drawn(
    here: Bench, study: BabyVision, dit: Any, clips: Sequence[Clip], label: str, draws: int | None = None
) -> np.ndarray:
    """What a network draws: the last frame of its clean estimate after each step, uint8 (item, draw, step, h, w, 3)."""
    count = study.drawings.draws if draws is None else draws
    given = [conditions.example(c, codec_factor=1, text_len=dit.cfg.text_len, text_dim=dit.cfg.text_dim) for c in clips]
    shape, seeds = given[0]["latent"].shape, range(study.seed, study.seed + count)
    rows = {name: np.stack([one[name] for one in given]) for name in ("image", "text")}
    rows["noise"] = np.stack([[conditions.clip_noise(clip, shape, seed) for seed in seeds] for clip in clips])
    return here.over(network(study.drawings), dit, rows, label)


def network(spec: Drawings) -> Callable[[Any, Any], Any]:
    """The program `(dit, row) -> frames` of a network."""

    def one(dit: Any, row: Any) -> jax.Array:
        velocity = dit.velocity(row["text"], row["image"])
        return jax.vmap(lambda noise: pictures(spec, velocity, noise))(row["noise"])

    return one


def exact(spec: Drawings) -> Callable[[Any, Any], Any]:
    """The program `(None, row) -> frames` of the exact denoiser."""

    def one(nothing: None, row: Any) -> jax.Array:
        velocity = null.velocity(row["candidates"], row["odds"])
        return jax.vmap(lambda noise: pictures(spec, velocity, noise))(row["noise"])

    return one


def pictures(spec: Drawings, velocity: Any, noise: jax.Array) -> jax.Array:
    """The last frame after each denoising step, in 8 bits."""
    grid = grids.shifted(spec.steps, shift=spec.shift)
    x0 = flow.sample(velocity, noise, grid, record=Record(fields=("x0",))).x0[:, -1]
    return jnp.round((jnp.clip(x0, -1.0, 1.0) + 1.0) * 127.5).astype(jnp.uint8)


def told(task: Any, clips: Sequence[Clip], frames: np.ndarray, split: str, *, first: bool) -> Tables:
    """What frames (item, draw, step, h, w, 3) show: see `measure`."""
    items = [task.item(clip.meta["layout"]) for clip in clips]
    last = [[decoding.decode(item, one[-1]) for one in rows] for item, rows in zip(items, frames, strict=True)]
    out = {f"{split} right": np.array([[one.right for one in rows] for rows in last])}
    if first:
        right, settled = zip(*(along(item, rows) for item, rows in zip(items, frames, strict=True)), strict=True)
        kept = np.array([[min(one.preservation, 60.0) for one in rows] for rows in last], np.float32)
        out |= {"steps right": np.stack(right), "steps settled": np.stack(settled), "kept": kept}
        out["films"] = frames[:6, 0]
    return out


def along(item: Item, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of frames (draw, step, h, w, 3) whether each shows the answer, and whether it marks what the last one marks."""
    right, settled = [], []
    for rows in frames:
        found = [decoding.decode(item, frame) for frame in rows]
        right.append([one.right for one in found])
        settled.append([one.marked == found[-1].marked for one in found])
    return np.array(right), np.array(settled)


def beside(study: BabyVision, here: Bench, task: str, seed: int) -> Tables:
    """Trivial solvers on the items of the first split, and the exact denoiser."""
    own: Any = tasks.get(task)
    clips = made(task, next(iter(names.LEVELS)), study.drawings.items)
    items = [own.item(clip.meta["layout"]) for clip in clips]
    seen = [own.item(clip.meta["layout"]) for clip in made(task, "train", study.known)]
    out: Tables = {}
    for name, make in trivial.SOLVERS.items():
        solver, rng = make(seen), np.random.default_rng(study.seed)
        out[f"{name} solved"] = np.array([solver(item, rng) == item.answer for item in items])
    out["guess"] = np.array(guessed(items), np.float32)
    if all(isinstance(item.annotation, Circle) and len(item.annotation.right) == 1 for item in items):
        rows = candidates(own, clips)
        shape, seeds = rows["candidates"].shape[2:], range(study.seed, study.seed + study.drawings.draws)
        rows["noise"] = np.stack([[conditions.clip_noise(clip, shape, seed) for seed in seeds] for clip in clips])
        frames = here.over(exact(study.drawings), None, rows, f"{task}: exact denoiser")
        out["exact settled"] = np.stack([along(item, few)[1] for item, few in zip(items, frames, strict=True)])
    return out


def guessed(items: Sequence[Item]) -> float:
    """What is solved by marking at random as many of the things that could be marked as are right; a route or a text is
    not guessed."""
    shares = []
    for item in items:
        told = item.annotation
        places = told.boxes if isinstance(told, Circle) else told.places if isinstance(told, Marks) else None
        right = len(told.right) if isinstance(told, Circle | Marks) else 0
        shares.append(0.0 if places is None else 1 / math.comb(len(places), right))
    return float(np.mean(shares))


def candidates(task: Task, clips: Sequence[Clip]) -> dict[str, Any]:
    """Films of all candidates, filled up with the question alone, and their odds: those that there are, equally."""
    films = np.stack([np.stack(task.candidates(clip)) for clip in clips]).astype(np.float32)
    there = np.array([[bool(label) for label in task.labels(clip)] for clip in clips], np.float32)
    return {"candidates": films, "odds": there / there.sum(1, keepdims=True)}
