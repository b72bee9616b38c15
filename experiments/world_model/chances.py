"""Whether a learned world's chance is that of the exact one: walks in which the agent may stay at every step.

The exact law comes by enumeration: each of the 2^n rows of coins is forced, so nothing is drawn that a world is then
compared with. An outcome is how far the agent has come on its way, read off frames in the same way for all.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.world_model import episodes, names, strays
from experiments.world_model.asking import Worlds
from experiments.world_model.config import Calibration, WorldModel
from vrjax.study.tables import Bench, Tables
from vrjax.world.ladder import chance
from vrjax.world.learned.world import Learned
from vrjax.world.rollouts import rollout

OUTCOMES = "outcomes"
KEPT = [0, -1]
"""Steps of a walk after which outcomes are kept."""


def measure(study: WorldModel, here: Bench, seed: int, trained: Worlds) -> Tables:
    """The table of a seed: `<arm>` (situation, draw, 2), how far the agent has come after the first and the last step;
    `outcomes` (situation, 2^steps, 2) of the exact law, and `weights` (2^steps,)."""

    def make() -> Tables:
        slippery = trained.world(names.SLIPPERY)
        out = dict(exactly(study, here, seed, slippery))
        for arm in study.arms:
            out[arm] = drawn(study, here, seed, strays.arms(study, slippery, arm, names.SLIPPERY), arm)
        if study.trainings.regressor:
            out[names.REGRESSOR] = drawn(study, here, seed, trained.world(names.OF_REGRESSOR), names.REGRESSOR)
        return out

    of = {"seed": seed, "mark": trained.mark(names.SLIPPERY)}
    return here.part(names.part(seed, names.CALIBRATION), make, of=of)


def rows(study: WorldModel, seed: int) -> dict[str, Any]:
    """The situations of a seed."""
    return {"key": episodes.keys(study, seed, names.CALIBRATION, study.calibration.situations)}


def exactly(study: WorldModel, here: Bench, seed: int, w: Learned) -> Tables:
    """The law, and draws of the exact world itself."""
    coins, weights = chance.rows(study.calibration.steps, study.trainings.stay)
    found = here.over(lawful(study.calibration, coins, weights), w, rows(study, seed), f"seed {seed}: {names.LAW}")
    return {name: np.asarray(value, np.float32)[..., KEPT] for name, value in found.items()} | {"weights": weights}


def lawful(spec: Calibration, coins: np.ndarray, weights: np.ndarray) -> Callable[[Learned, Any], dict[str, Any]]:
    """The program `(w, row) -> {outcomes (k, t), exact world (draw, t)}` of the exact world, rows of coins forced."""

    def one(w: Learned, row: Any) -> dict[str, Any]:
        situation, drawing = jax.random.split(row["key"])
        home: Any = w.spec.home
        state, actions, way = episodes.walked(home, situation, spec.steps)
        states = episodes.futures(home, state, actions, jnp.asarray(coins))
        begun = episodes.seen(w, state)[names.AGENT]
        came = jax.vmap(jax.vmap(lambda now: (episodes.seen(w, now)[names.AGENT] - begun) @ way))(states)
        picked = jax.random.categorical(drawing, jnp.log(jnp.asarray(weights)), shape=(spec.draws,))
        return {OUTCOMES: came, names.EXACT: came[picked]}

    return one


def drawn(study: WorldModel, here: Bench, seed: int, w: Learned, arm: str) -> np.ndarray:
    """Draws of a learned world, float16."""
    found = here.over(dreamt(study.calibration), w, rows(study, seed), f"seed {seed}: {arm}")
    return np.asarray(found, np.float16)[..., KEPT]


def dreamt(spec: Calibration) -> Callable[[Learned, Any], Any]:
    """The program `(w, row) -> (draw, t)`: how far the agent comes in a learned world, each time by other chance."""

    def one(w: Learned, row: Any) -> Any:
        situation, drawing = jax.random.split(row["key"])
        home: Any = w.spec.home
        state, actions, way = episodes.walked(home, situation, spec.steps)
        begun, start = episodes.seen(w, state)[names.AGENT], w.encode(home.render(state))

        def draw(key):
            told = rollout(w, start, actions, key)[1].decoded
            return (episodes.places(w, told)[:, names.AGENT] - begun) @ way

        return jax.vmap(draw)(jax.random.split(drawing, spec.draws))

    return one
