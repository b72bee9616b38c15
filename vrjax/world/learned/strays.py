"""How far a learned road strays from the exact one: films that it has not seen are driven again in it.

What was done in a film is done in the learned world, which is shown the beginning. Its frames are compared with the
film's, and so is how far the car has come by what is read off them. Beside both stand the frame that it was shown last,
held, and what the odometer reads off the film itself.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vrjax.flow import words
from vrjax.world.learned import library, odometry
from vrjax.world.learned import patches as squares
from vrjax.world.learned.world import Learned
from vrjax.world.rollouts import rollout

STEPS = 20
"""Of a drive."""


class Strays(NamedTuple):
    """Means over drives; frames are in [-1, 1], metres and degrees those of the car's pose.

    Attributes:
        frames, frozen_frames, patches_frames: (steps,) mean squared error of the frames; of the last one that was
            shown, held; of what squares of pixels keep of the film.
        metres, frozen_metres, read_metres: (steps,) between places: learned, of a car that stands, and read off the
            film.
        degrees, frozen_degrees, read_degrees: (steps,) between headings, likewise.
    """

    frames: Float[Array, " steps"]
    frozen_frames: Float[Array, " steps"]
    patches_frames: Float[Array, " steps"]
    metres: Float[Array, " steps"]
    frozen_metres: Float[Array, " steps"]
    read_metres: Float[Array, " steps"]
    degrees: Float[Array, " steps"]
    frozen_degrees: Float[Array, " steps"]
    read_degrees: Float[Array, " steps"]

    __repr__ = words.line


def measured(w: Learned, films: library.Films, key: Key[Array, ""], *, shown: int = 1, steps: int = STEPS) -> Strays:
    """Drives each film again from its `shown` frames on.

    Args:
        w: the learned world, which has an odometer.
        films: of the exact one, of `shown + steps` frames or more.
        key: of the learned world's chance.
        shown: frames of the beginning that the learned world is shown.
        steps: that are driven.
    """
    return _measured(w, films, jax.random.split(key, len(films.frames)), shown=shown, steps=steps)


@partial(jax.jit, static_argnames=("shown", "steps"))
def _measured(w: Learned, films: library.Films, keys: Any, *, shown: int, steps: int) -> Strays:
    odometer: Any = w.odometer
    dt = getattr(w.spec.home, "dt", 1.0)

    def follow(pose: Any, way: Any) -> tuple[Any, Any]:
        pose = odometry.moved(pose, way, dt)
        return pose, pose

    def one(row):
        film, key = row
        frames, last = library.pixels(film.frames[: shown + steps]), shown - 1
        seen = {"frames": frames[:shown], "actions": film.actions[:shown], "ego": film.poses[last]}
        begun, done = w.encode(seen, key), film.actions[shown : shown + steps]
        _, told = rollout(w, begun, done, key, record=("decoded", "frames"))
        truth, there = frames[shown:], film.poses[shown : shown + steps]
        latents = squares.encode(w.patches, frames[last:])
        read = jax.vmap(partial(odometry.read, odometer))(latents[:-1], latents[1:])
        _, by_film = jax.lax.scan(follow, film.poses[last], read)
        error = lambda shown: jnp.mean((shown - truth) ** 2, (1, 2, 3))
        pictures = told.frames, frames[last:shown], jnp.clip(squares.decode(w.patches, latents[1:]), -1, 1)
        poses = told.decoded["ego"], film.poses[last:shown], by_film
        metres = [jnp.hypot(*(pose - there)[:, :2].T) for pose in poses]
        turned = [jnp.mod((pose - there)[:, 2] + jnp.pi, 2 * jnp.pi) - jnp.pi for pose in poses]
        return Strays(*map(error, pictures), *metres, *(jnp.degrees(jnp.abs(a)) for a in turned))

    return jax.tree.map(lambda a: a.mean(0), jax.lax.map(one, (films, keys), batch_size=16))
