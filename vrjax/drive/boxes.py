"""Boxes: which overlap, where their corners are, and what that says of the ego: collisions, and being on the road."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from vrjax.drive import roads
from vrjax.drive.arcs import Real
from vrjax.drive.dynamics import WHEELBASE
from vrjax.drive.state import EGO_SIZE, State


class Scene(NamedTuple):
    """All boxes of a world but the ego's: the actors and then the static ones.

    Attributes:
        position (k, 3), size (k, 3), yaw (k,), kind (k,), id (k,), colour (k, 3), active (k,): as in `Actors`.
    """

    position: Float[Array, "k 3"]
    size: Float[Array, "k 3"]
    yaw: Float[Array, " k"]
    kind: Int[Array, " k"]
    id: Int[Array, " k"]
    colour: Float[Array, "k 3"]
    active: Bool[Array, " k"]


class Collisions(NamedTuple):
    """What the ego's box overlaps.

    Attributes:
        actors (n,), static (m,): one flag a box.
    """

    actors: Bool[Array, " n"]
    static: Bool[Array, " m"]

    @property
    def any(self) -> Bool[Array, ""]:
        """Whether there is a collision at all."""
        return jnp.any(self.actors) | jnp.any(self.static)


def overlap(a: Float[Real, "5"], b: Float[Real, "5"]) -> tuple[Bool[Array, ""], Float[Array, ""]]:
    """Whether two boxes on the ground overlap, by separating axes; boxes that only touch do not.

    Args:
        a, b: x, y of the centre, length, width in m and yaw in rad.

    Returns:
        The verdict, and the penetration: how far in metres one box must be moved until they touch, 0 where they are
        apart.
    """
    a, b = jnp.asarray(a), jnp.asarray(b)
    to, turn = b[:2] - a[:2], b[4] - a[4]
    c, s = jnp.abs(jnp.cos(turn)), jnp.abs(jnp.sin(turn))

    def depth(yaw: Array, own: Array, other: Array) -> Array:
        ahead = jnp.abs(jnp.cos(yaw) * to[0] + jnp.sin(yaw) * to[1])
        aside = jnp.abs(jnp.cos(yaw) * to[1] - jnp.sin(yaw) * to[0])
        along = (own[0] + c * other[0] + s * other[1]) / 2 - ahead
        across = (own[1] + s * other[0] + c * other[1]) / 2 - aside
        return jnp.minimum(along, across)

    found = jnp.minimum(depth(a[4], a[2:4], b[2:4]), depth(b[4], b[2:4], a[2:4]))
    return found > 0, jnp.maximum(found, 0.0)


def corners(box: Float[Real, "5"]) -> Float[Array, "4 2"]:
    """A box' corners on the ground, counter-clockwise from the front left."""
    box = jnp.asarray(box)
    c, s = jnp.cos(box[4]), jnp.sin(box[4])
    ahead = jnp.stack([c, s]) * box[2] / 2
    aside = jnp.stack([-s, c]) * box[3] / 2
    return box[:2] + jnp.stack([ahead + aside, aside - ahead, -ahead - aside, ahead - aside])


def ego_box(ego: Float[Real, "5"]) -> Float[Array, "5"]:
    """The box of the ego: its centre is half a wheelbase ahead of the rear axle."""
    ego = jnp.asarray(ego)
    x = ego[0] + WHEELBASE / 2 * jnp.cos(ego[2])
    y = ego[1] + WHEELBASE / 2 * jnp.sin(ego[2])
    return jnp.stack([x, y, jnp.full_like(x, EGO_SIZE[0]), jnp.full_like(x, EGO_SIZE[1]), ego[2]])


def footprint(position: Float[Real, "k 3"], size: Float[Real, "k 3"], yaw: Float[Real, " k"]) -> Float[Array, "k 5"]:
    """Boxes on the ground, as `overlap` takes them."""
    position, size, yaw = jnp.asarray(position), jnp.asarray(size), jnp.asarray(yaw)
    return jnp.concatenate([position[:, :2], size[:, :2], yaw[:, None]], -1)


def collisions(state: State) -> Collisions:
    """Which active boxes the ego's overlaps; a flag of the state as it is, not of the way there."""
    ego = ego_box(state.ego)

    def hit(held) -> Array:
        return held.active & jax.vmap(overlap, (None, 0))(ego, footprint(held.position, held.size, held.yaw))[0]

    return Collisions(hit(state.actors), hit(state.static))


def on_road(state: State) -> Bool[Array, ""]:
    """Whether all four corners of the ego's box lie in the drivable area, its edge included."""
    at = corners(ego_box(state.ego))
    return jnp.all(roads.margin(state.roads, at[:, 0], at[:, 1]) >= 0)


def scene(state: State) -> Scene:
    """The actors and the static boxes in one list, as `Views.instance` numbers them from 1."""
    join = lambda name: jnp.concatenate([getattr(state.actors, name), getattr(state.static, name)])
    return Scene(*(join(name) for name in Scene._fields))
