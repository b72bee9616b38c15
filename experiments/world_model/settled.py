"""What the denoising steps of one frame settle first: where the agent is, or how the frame looks given where it is.

Frames are those after one step in the slippery world, in which the agent comes on or stays. Beside the learned
world stand two exact denoisers that make such an order without any model: one of the two futures that there are, with
their odds, and one of frames of no moment in particular. Two planted sequences, in which the order is known, say
whether the instrument tells it.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.world_model import episodes, names
from experiments.world_model.asking import Worlds, asked
from experiments.world_model.config import WorldModel
from vrjax import flow
from vrjax.files import pixels
from vrjax.flow import Record
from vrjax.reasoning.instruments import null
from vrjax.study.tables import Bench, Tables
from vrjax.world import settling
from vrjax.world.learned import patches as squares
from vrjax.world.learned.world import Learned

ARMS = (names.SLIPPERY, names.LAW, names.WITHOUT, names.WHERE_FIRST, names.LOOK_FIRST)
OFF = 1.0
"""Pixels by which the agent of a planted sequence is off at first."""
FAST = 0.3
"""Of what comes first in a planted sequence, the share that is left by each step."""
SHOWN = 3
"""Frames of which the page shows every step."""


def measure(study: WorldModel, here: Bench, seed: int, trained: Worlds) -> Tables:
    """The table of a seed: `<arm> where` and `<arm> look`, both (frame, step): how far the agent is from where it will
    be, and what is wrong with the look; `sigma` (step,); of the first seed `<arm> frames` of a few."""

    def make() -> Tables:
        spec = study.settling
        w = asked(trained.world(names.SLIPPERY), steps=spec.steps, least=study.trainings.of(names.SLIPPERY)[1])
        rows = {"key": episodes.keys(study, seed, names.SETTLING, spec.frames)}
        found = here.over(watched(spec.bank), w, rows, f"seed {seed}: denoising steps")
        out: Tables = {"sigma": np.asarray(w.spec.grid.sigmas[:-1], np.float32)}
        for arm, told in found.items():
            out |= {f"{arm} {what}": np.asarray(told[what], np.float32) for what in ("where", "look")}
            if seed == study.seeds[0]:
                out[f"{arm} frames"] = pixels.to_uint8(told["frames"][:SHOWN], arm)
        return out

    of = {"seed": seed, "mark": trained.mark(names.SLIPPERY)}
    return here.part(names.part(seed, names.SETTLING), make, of=of)


def watched(bank: int):
    """The program `(w, row) -> {arm: {where, look, frames}}`."""

    def one(w: Learned, row: Any) -> dict[str, dict[str, Any]]:
        situation, acting, drawing = jax.random.split(row["key"], 3)
        home: Any = w.spec.home
        state, actions, _ = episodes.walked(home, situation, 1)
        two = jax.tree.map(lambda a: a[:, 0], episodes.futures(home, state, actions, jnp.array([[0.0], [1.0]])))
        # What does not move is as it is here; agent and block are anywhere.
        other = jax.vmap(home.make)(jax.random.split(drawing, bank))
        any_time = jax.vmap(lambda o: state._replace(agent=o.agent, blocks=o.blocks))(other)
        show = lambda states: squares.encode(w.patches, jax.vmap(home.render)(states))
        odds = jnp.stack([1 - home.stay, home.stay])
        begun = w.encode(home.render(state))
        learned = w.denoise(begun, actions[0], acting, Record(fields=("x0",))).x0[:, 0]
        latents = {
            names.SLIPPERY: learned,
            names.LAW: denoised(w, null.velocity(show(two), odds), acting),
            names.WITHOUT: denoised(w, null.velocity(show(any_time)), acting),
        }
        ends = jax.tree.map(lambda a: a[0], two)
        latents |= planted(w, ends, len(learned))
        out = {}
        for arm, x0 in latents.items():
            told = settling.along(w, x0, state)
            agent = told.places[:, names.AGENT]
            out[arm] = {"where": jnp.linalg.norm(agent - agent[-1], axis=-1), "look": told.look, "frames": told.frames}
        return out

    return one


def denoised(w: Learned, velocity: Any, key: Any) -> Any:
    """Clean estimates (step, h, w, c) of an exact denoiser, from the noise that the learned world begins with."""
    noise = jax.random.split(key)[0]
    side = squares.side(w.patches)
    shape = (w.frame[0] // side, w.frame[1] // side, w.patches.basis.shape[1])
    start = jax.random.normal(noise, (1, *shape))[0]
    return flow.sample(velocity, start, w.spec.grid, record=Record(fields=("x0",))).x0


def planted(w: Learned, state: Any, steps: int) -> dict[str, Any]:
    """Two sequences that end in the same frame. What is settled first falls by `FAST` a step, the other in a line: the
    agent is off by `OFF` at first, and the frame has no contrast."""
    fast = FAST ** jnp.arange(steps) * (1 - jnp.arange(steps) / (steps - 1))
    slow = 1 - jnp.arange(steps) / (steps - 1)

    def one(off: Any, pale: Any) -> Any:
        moved = state._replace(agent=state.agent + OFF * off * jnp.array([1.0, 0.0]))
        frame = w.spec.home.render(moved)
        return squares.encode(w.patches, frame + pale * (frame.mean((0, 1)) - frame))

    dim = 0.5  # of the contrast: what is paler cannot be read
    return {
        names.WHERE_FIRST: jax.vmap(one)(fast, dim * slow),
        names.LOOK_FIRST: jax.vmap(one)(slow, dim * fast),
    }
