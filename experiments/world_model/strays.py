"""How far a world strays from the exact one when the same things are done in both, step by step and episode by episode.

Episodes are films as in training: the agent goes to places, at the block, and shoves it. Beside the arms stand a world
in which nothing moves, and the exact world read by the same reader, below whose error none can be.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.world_model import episodes, names
from experiments.world_model.asking import Worlds, asked
from experiments.world_model.config import WorldModel
from vrjax.study.tables import Bench, Tables
from vrjax.world.learned import practice
from vrjax.world.learned.world import Learned
from vrjax.world.rollouts import rollout

READ = "exact world, read"


def measure(study: WorldModel, here: Bench, seed: int, trained: Worlds) -> Tables:
    """The table of a seed: `<arm> far` (episode, step, K) in pixels, and `<arm> frames` (episode, step), the mean
    squared error of the pictures."""

    def make() -> Tables:
        w = trained.world(names.PLAIN)
        out = {}
        for arm in study.arms:
            out |= told(arm, strayed(study, here, seed, arms(study, w, arm), arm))
        found = here.over(beside(study.horizon.steps), w, rows(study, seed), f"seed {seed}: nothing moves")
        return out | {f"{arm} far": np.asarray(far, np.float16) for arm, far in found.items()}

    of = {"seed": seed, "mark": trained.mark(names.PLAIN)}
    return here.part(names.part(seed, names.HORIZON), make, of=of)


def arms(study: WorldModel, w: Learned, arm: str, base: str = names.PLAIN) -> Learned:
    """A world of a base asked as an arm of the study says.

    Raises:
        ValueError: there is no such arm.
    """
    if arm not in study.arms:
        raise ValueError(f"world_model: no arm {arm!r}, expected one of {', '.join(study.arms)}")
    for count in study.steps:
        if arm == names.steps(count):
            return asked(w, steps=count, least=study.trainings.of(base)[1])
    return asked(w, window=next(frames for frames in study.windows if arm == names.window(frames)))


def rows(study: WorldModel, seed: int) -> dict[str, Any]:
    """The episodes of a seed."""
    return {"key": episodes.keys(study, seed, names.HORIZON, study.horizon.episodes)}


def told(arm: str, found: dict[str, np.ndarray]) -> Tables:
    """Of one arm, as it is kept."""
    return {f"{arm} {name}": np.asarray(value, np.float16) for name, value in found.items()}


def strayed(study: WorldModel, here: Bench, seed: int, w: Learned, arm: str) -> dict[str, np.ndarray]:
    """`far` and `frames` of a world, over all episodes of a seed."""
    return here.over(through(study.horizon.steps), w, rows(study, seed), f"seed {seed}: {arm}")


def film(w: Learned, key: Any, steps: int) -> tuple[practice.Film, Any]:
    """What is done and seen in the exact world, and the key of the learned world's chance."""
    acted, chance = jax.random.split(key)
    return practice.film(w.spec.home, w.spec.names, acted, steps + 1, shoved=w.spec.moving[1:]), chance


def through(steps: int):
    """The program of a world: `(w, row) -> {far, frames}`."""

    def one(w: Learned, row: Any) -> dict[str, Any]:
        true, chance = film(w, row["key"], steps)
        _, told = rollout(w, w.encode(true.frames[0]), true.actions[1:], chance, record=("decoded", "frames"))
        there = jax.vmap(lambda places: episodes.moving(w, places))(true.places)[1:]
        far = jnp.linalg.norm(episodes.places(w, told.decoded) - there, axis=-1)
        return {"far": far, "frames": jnp.mean((told.frames - true.frames[1:]) ** 2, (1, 2, 3))}

    return one


def beside(steps: int):
    """The program of what stands beside the arms, by name: distances alone."""

    def one(w: Learned, row: Any) -> dict[str, Any]:
        true, _ = film(w, row["key"], steps)
        there = jax.vmap(lambda places: episodes.moving(w, places))(true.places)
        read = jax.vmap(lambda frame: episodes.glimpse(w, frame))(true.frames)
        far = lambda a: jnp.linalg.norm(a - there[1:], axis=-1)
        return {names.FROZEN: far(there[:1]), READ: far(read[1:])}

    return one
