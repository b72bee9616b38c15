"""Films that are drawn once and kept: of a world whose scenes take longer to make than an update may last.

    films = library.drawn(spec, Library(films=320, frames=64), seed, "runs/films")      # (n, f, ...); the last are held

Films are long, each from the moment when its world begins, and a batch is of short stretches of them. They are drawn
part by part with one compiled program; what lies there already is read. The agent does as is usual in its world where
the world says what that is, with a hand that shakes, or holds what it does for a while, see `_act`.
"""

import dataclasses
import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key, UInt8

from vrjax.files import leaves
from vrjax.flow import draws, words
from vrjax.world.exact import Exact
from vrjax.world.learned import patches as squares
from vrjax.world.protocol import State

PART = 16
"""Films of a file, which are drawn side by side."""
TURN = 0.06
"""Probability that the agent takes up something else in a step."""
SHAKE, SHAKING = (0.3, 0.06), 0.8
"""Standard deviations of what is added to the usual action, and how much of it is still there a step later."""
REACH = 0.3
"""By how much of its range the second number of an action, which turns, changes in a step at most."""
FIRST = 0.1
"""How often a stretch is the beginning of its film."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Library:
    """How much is drawn."""

    films: int = 320
    """A multiple of `PART`."""
    frames: int = 64
    """Of a film."""
    held: int = 32
    """Films, the last ones, that are not trained on: the world is measured by them."""

    def __post_init__(self):
        if self.films % PART or not 0 < self.held < self.films or self.frames < 2:
            raise ValueError(
                f"library: films={self.films}, frames={self.frames}, held={self.held}, expected a multiple of {PART} "
                "films of 2 or more frames, of which some are held and some are not"
            )


class Films(NamedTuple):
    """What was seen and done in n films.

    Attributes:
        frames: (n, f, H, W, 3), 0 to 255 for -1 to 1.
        actions: (n, f, a), each of the frame that it led to; zeros of the first.
        poses: (n, f, 4): x and y in m, yaw in rad and speed in m/s of the agent, what the world decodes as "ego".
    """

    frames: UInt8[Array, "n f H W 3"]
    actions: Float[Array, "n f a"]
    poses: Float[Array, "n f 4"]

    __repr__ = words.line


class _Mood(NamedTuple):
    which: Any  # 0: as usual, 1: the usual way with a pedal that is held, 2: both held
    held: Any
    shaken: Any


def _drawn(key: Array) -> _Mood:
    keys = jax.random.split(key)
    which = jax.random.choice(keys[0], 3, p=jnp.array([0.5, 0.25, 0.25]))
    pedal, wheel = jax.random.uniform(keys[1], (2,), minval=-1.0)
    return _Mood(which, jnp.stack([pedal, 0.6 * wheel]), jnp.zeros(2))


def _act(home: Exact, state: State, mood: _Mood, last: Array, key: Array) -> tuple[_Mood, Array]:
    """The mood from here on, and the next action: usual, held, or the one number this and the other that."""
    keys = jax.random.split(key, 3)
    fresh, turn = _drawn(keys[0]), jax.random.bernoulli(keys[1], TURN)
    mood = jax.tree.map(lambda new, old: jnp.where(turn, new, old), fresh, mood)
    kick = (1 - SHAKING**2) ** 0.5 * jnp.array(SHAKE) * jax.random.normal(keys[2], (2,))
    mood = mood._replace(shaken=SHAKING * mood.shaken + kick)
    usual = home.usual(state)
    usual = mood.held if usual is None else usual + mood.shaken
    aim = jnp.where(mood.which > jnp.array([0, 1]), mood.held, usual)
    action = jnp.stack([aim[0], last[1] + jnp.clip(aim[1] - last[1], -REACH, REACH)])
    return mood, jnp.clip(action, -1.0, 1.0)


def film(home: Exact, key: Key[Array, ""], frames: int) -> Films:
    """One film of a world whose actions are a pedal and a wheel in [-1, 1], from where it begins."""
    begin, first, later = jax.random.split(key, 3)
    start = home.make(begin)

    def one(carry, key):
        state, mood, last = carry
        think, chance = jax.random.split(key)
        mood, action = _act(home, state, mood, last, think)
        state = home.step(state, action, chance)
        return (state, mood, action), (_seen(home, state), action, state.ego[:4])

    carry = (start, _drawn(first), jnp.zeros(2))
    _, rest = lax.scan(one, carry, jax.random.split(later, frames - 1))
    begun = _seen(home, start), jnp.zeros(2), start.ego[:4]
    return Films(*jax.tree.map(lambda one, many: jnp.concatenate([one[None], many]), begun, rest))


def _seen(home: Exact, state: State) -> Array:
    return jnp.round(127.5 * (jnp.clip(home.render(state), -1.0, 1.0) + 1)).astype(jnp.uint8)


def pixels(frames: Any) -> Any:
    """Frames in [-1, 1] of frames in 0 to 255."""
    return frames / np.float32(127.5) - np.float32(1)


def drawn(spec: Any, given: Library, seed: int, folder: pathlib.Path, stream: int) -> Films:
    """The films of a seed, on the host: drawn, or read where an earlier call has left them.

    Args:
        spec: `learned.Spec`; of it the exact world counts.
        given: how many.
        seed: of the run.
        folder: of the files, about 86 MB for 16,000 frames of 32 x 56.
        stream: of randomness, folded into the seed's key.

    Raises:
        ValueError: a file there that is torn or of other films.
    """
    home, parts = spec.home, []
    shape = PART, given.frames
    like = lambda: Films(
        jnp.zeros((*shape, *home.frame), jnp.uint8), jnp.zeros((*shape, 2)), jnp.zeros((*shape, 4))
    )  # fmt: skip
    draw = jax.jit(jax.vmap(functools.partial(_of_number, home, given.frames), (None, 0)))
    key = jax.random.fold_in(draws.key(seed), stream)
    about = {"world": spec.world, "options": [list(pair) for pair in spec.options], "seed": seed}
    for part in range(given.films // PART):
        numbers = PART * part + np.arange(PART)
        make = lambda numbers=numbers: draw(key, numbers)
        told = about | {"frames": given.frames, "films": numbers.tolist()}
        name = f"{spec.world}-{seed}-{given.frames}-{part:03d}.safetensors"
        parts.append(jax.tree.map(np.asarray, leaves.keep(folder / name, told, make, like)))
    return jax.tree.map(lambda *rows: np.concatenate(rows), *parts)


def _of_number(home: Exact, frames: int, key: Array, number: Any) -> Films:
    return film(home, jax.random.fold_in(key, number), frames)


class Taught(NamedTuple):
    """What a network is trained on: latents (n, f, h, w, c), actions and poses of the films that are not held."""

    latents: Float[Any, "n f h w c"]
    actions: Float[Any, "n f a"]
    poses: Float[Any, "n f 4"]

    __repr__ = words.line


def taught(films: Films, given: Library, patches: squares.Patches) -> Taught:
    """Latents of all films but the last, film by film."""
    count = given.films - given.held
    encode = jax.jit(lambda patches, frames: squares.encode(patches, pixels(frames)))
    latents = np.stack([np.asarray(encode(patches, frames)) for frames in films.frames[:count]])
    return Taught(latents, films.actions[:count], films.poses[:count])


def held(films: Films, given: Library) -> Films:
    """The last films."""
    return jax.tree.map(lambda a: a[given.films - given.held :], films)


def stretch(films: Taught, frames: int, key: Key[Array, ""]) -> tuple[Array, Array]:
    """Latents and actions of a stretch of so many frames, drawn among all films by key."""
    which, where, first = jax.random.split(key, 3)
    start = jax.random.randint(where, (), 0, films.latents.shape[1] - frames + 1)
    start = jnp.where(jax.random.bernoulli(first, FIRST), 0, start)
    at = jax.random.randint(which, (), 0, len(films.latents)), start
    cut = lambda a: lax.dynamic_slice(a, (*at, *[0] * (a.ndim - 2)), (1, frames, *a.shape[2:]))[0]
    return cut(films.latents), cut(films.actions)
