"""MiniDrive's speed: milliseconds a frame, a step and six pictures of 48 x 80, and worlds that drive side by side; and
that of the shipped learned one, a step (two denoising steps, then the frame is remembered) and its one picture.

A world is drawn until as many boxes as a row says stand in the cameras' pyramids (fewer are seen, for some hide
others). The step begins at the same state in every call, so that boxes stay in view.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench import timing
from vrjax import drive
from vrjax.drive.boxes import scene
from vrjax.world import learned

SIZE = (48, 80)
WORLDS = 64
FRAMES = 100
"""Of the learned world, of which one median or percentile is taken."""
ACTION = (0.5, 0.02)
TRIES = 64
"""Worlds that are drawn before a row gives up."""
SLOTS = {16: (6, 10), 28: (12, 16)}
"""Slots of actors and of static boxes of the world of which so many boxes are in view."""


def in_view(state: drive.State, six: drive.Cameras) -> Any:
    """How many active boxes have a corner, or their middle, in the picture of any camera."""
    boxes = scene(state)
    half = jnp.stack(jnp.meshgrid(*3 * [jnp.array([-0.5, 0.0, 0.5])], indexing="ij"), -1).reshape(-1, 3)
    cos, sin = jnp.cos(boxes.yaw)[:, None], jnp.sin(boxes.yaw)[:, None]
    x, y, z = (half[:, i] * boxes.size[:, i, None] for i in range(3))
    points = boxes.position[:, None] + jnp.stack([cos * x - sin * y, sin * x + cos * y, z], -1)
    project = jax.vmap(drive.project, (None, 0, 0, 0))
    uv, depth = project(points.reshape(-1, 3), *drive.extrinsics(six, state.ego), six.intrinsics)
    inside = (uv >= 0) & (uv <= jnp.array([SIZE[1], SIZE[0]]))
    seen = (jnp.all(inside, -1) & (depth > 0)).reshape(len(six.names), *points.shape[:2])
    return jnp.sum(boxes.active & jnp.any(seen, (0, 2)))


@functools.cache
def world(boxes: int) -> drive.State:
    """The first world that has exactly so many boxes in view.

    Raises:
        ValueError: none of `TRIES` has.
    """
    actors, static = SLOTS[boxes]
    six = drive.cameras(*SIZE)
    make = jax.jit(lambda seed: drive.make(jax.random.key(seed), actors=actors, static=static))
    count = jax.jit(lambda seed: in_view(make(seed), six))
    found = next((seed for seed in range(TRIES) if int(count(seed)) == boxes), None)
    if found is None:
        raise ValueError(f"bench: none of {TRIES} worlds has {boxes} boxes in view")
    return make(found)


def _frame(state: drive.State, six: drive.Cameras) -> drive.Views:
    return drive.render(drive.step(state, jnp.asarray(ACTION)), six)


def frame(boxes: int, count: int) -> np.ndarray:
    """Milliseconds of `count` calls, each a step and its pictures: colours, depth and labels."""
    call = _call(jax.jit(_frame), world(boxes), drive.cameras(*SIZE))
    call()
    return 1000 * np.array([timing.timer(call)()[0] for _ in range(count)])


def together(count: int) -> np.ndarray:
    """Frames a second of `WORLDS` worlds of all kinds under vmap over those of one world, colours alone."""
    six = drive.cameras(*SIZE)
    make = jax.jit(drive.make)
    each = [make(key) for key in jax.random.split(jax.random.key(0), WORLDS)]
    states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    rgb = lambda state, six: _frame(state, six).rgb
    one = jax.jit(rgb)
    singly = lambda: [jax.block_until_ready(one(state, six)) for state in each]
    return timing.ratios(singly, _call(jax.jit(jax.vmap(rgb, (0, None))), states, six), count)


def learned_frame(percentile: float, count: int) -> np.ndarray:
    """Milliseconds of a step and its picture in the shipped learned world: `count` percentiles of `FRAMES` frames each.

    Frames follow each other, as one drives. The first eight, while the window fills, are not counted.
    """
    w = learned.load("drive")
    run = jax.jit(_driven)
    state = jax.jit(lambda w: w.encode(jnp.zeros(w.frame)))(w)
    keys = jax.random.split(jax.random.key(0), FRAMES)
    found = []
    for part in range(count + 1):
        for key in keys[: 8 if part == 0 else FRAMES]:
            begun = time.perf_counter()
            state, _ = jax.block_until_ready(run(w, state, key))
            found.append(1000 * (time.perf_counter() - begun))
    return np.percentile(np.reshape(found[8:], (count, FRAMES)), percentile, axis=1)


def _driven(w: learned.Learned, state: learned.State, key: Any) -> tuple[Any, Any]:
    state = w.step(state, jnp.asarray(ACTION), key)
    return state, w.render(state)


def _call(run: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    return lambda: jax.block_until_ready(run(*arguments))
