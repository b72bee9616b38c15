"""Of the films of a task (`vrjax.world.adapter.films`): a step is a whole film, decoded is what its blocks show."""

import jax.numpy as jnp
import numpy as np

from vrjax.tasks.core import INDEX, NAMES
from vrjax.world.adapter import films
from vrjax.world.protocol import Instruction

KIND, STEPS = "instruction", 1
JUDGES = ("film", "rows")
TOLERANCE, EPSILON = 0.5, 0.0
MOVING = None
WHY = {
    "hide": "nothing of its films is known to be out of sight and in it again",
    "clear": "a clip knows one instruction, so that none is taken to another scene or said in another order",
    "coin": "its films have one right answer each, nothing is left to chance",
}


def agent(decoded):
    """Nobody acts in a film."""
    return jnp.zeros(2)


def others(decoded):
    """Nor has it bodies."""
    return jnp.zeros((0, 2))


def put(state, agent, others):
    """The state: there is nothing in it that could be elsewhere."""
    return state


def rest():
    """Nothing is done."""
    return jnp.zeros(1)


def act(key, state, steps):
    """The clip's own prompt, in every step."""
    return Instruction(jnp.broadcast_to(state.rows, (steps, *state.rows.shape)))


def matched(mine, true):
    """By colour, over all frames of the film: how many blocks both show in it, and how many any of them."""
    colours = jnp.arange(len(NAMES))[:, None, None, None]
    a, b = mine["shown"] == colours, true["shown"] == colours
    return jnp.stack([jnp.sum(a & b, (1, 2, 3)), jnp.sum(a | b, (1, 2, 3))])


def told(states):
    """The clips' own prompts, one part each."""
    return np.asarray(states.rows), np.ones(len(states.rows), np.int64)


def violations(decoded, first):
    """Shares of blocks in a film: of those that were wall and are not any more, and of those in a colour that the scene
    does not have."""
    shown, film = decoded["shown"], decoded["film"]
    wall = (film[:, :1] == INDEX["wall"]) & (shown != INDEX["wall"])
    known = (film[..., None] == jnp.arange(len(NAMES))).any((1, 2, 3))
    strange = ~jnp.take_along_axis(known, shown.reshape(len(shown), -1).astype(jnp.int32), 1)
    return {
        "share of blocks where a wall is gone": wall.mean((1, 2, 3)),
        "share of blocks in a colour from nowhere": strange.mean(1),
    }


# ------------------------------------------------------------------------------------------------------------ retrieval


def likeness(decoded):
    """Colours of the first frame's blocks, so that the distance counts the blocks that differ."""
    return (decoded["film"][0][..., None] == jnp.arange(len(NAMES))).astype(jnp.float32).ravel()


def library(truth):
    """Films that models are trained on: the first ones of the task's training split, as many as the world has."""
    return films.of(truth.task, say=truth.say, split="train", clips=len(truth.clips.film))
