"""A plane of 16 x 16 pixels on which an agent pushes blocks; the red one has a place to go to.

    w = exact.get("push", blocks=2, walls=1, slip=0.0)
    state = w.make(key)                                     # drawn; all layouts are free of overlaps
    state = w.step(state, jnp.array([1.0, 0.0]), key)       # one pixel to the right

**The plane is continuous**, so that a cost has gradients in actions, and contact is what makes them rare: a block feels
nothing until the agent is near, and a plan that passes by it costs the same wherever it passes. Lengths are pixels, x
to the right and y down; the agent is a disc of radius 1, a block a square of 3 with corners of radius 0.75.

**Dynamics** are quasi-static, in two equal half-steps. An action a in [-1, 1]^2 moves the agent by `a * SPEED` pixels.
A block near it moves along the normal of their contact by how much `cushion(overlap)` has grown, overlap being minus
their gap: it starts to move when the gap is half a pixel and moves as fast as the agent at a gap of zero, hence they
never overlap, and the push is once differentiable. Blocks that overlap share it; walls hold blocks, and what cannot
yield holds the agent. A half-step after which two bodies would still overlap by more than `TOLERANCE` does not happen.

**Chance**: with probability `slip` a block is slippery in a step and moves twice as far as it is pushed. One coin per
block and step, from the step's key alone: with equal keys and other actions the same coins fall. With probability
`stay` the agent stays in a step, whatever it does, by a coin of its own.
"""

import dataclasses
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from vrjax.world.exact import _shapes
from vrjax.world.exact._exact import ROWS, Exact, Real, coded, parts, probability
from vrjax.world.protocol import Decoded, Instruction, Space, kind

SIZE, BORDER = 16, 1.0
AGENT, HALF, ROUND = 1.0, 0.75, 0.75  # radius of the agent; a block is a square of 2 HALF, thickened by ROUND
SPEED, HALVES, WIDTH = 1.0, 2, 0.25
TOLERANCE = 0.02
NEAR = 0.5
"""The red block is at its place within so many pixels."""
COLOURS = ("red", "blue", "yellow")
INKS = {
    "floor": (0.55, 0.5, 0.4),
    "wall": (-0.75, -0.75, -0.7),
    "agent": (-0.75, 0.35, -0.55),
    "pupil": (1.0, 1.0, 1.0),
    "red": (0.8, -0.75, -0.75),
    "blue": (-0.8, -0.3, 0.75),
    "yellow": (0.9, 0.6, -0.8),
}
VERBS = ("wait", "push", "go")
TARGETS = ("goal", "left", "right", "top", "bottom")
MIDDLE = 3.2  # the red block begins within so many pixels of the centre: there is room behind it on every side
SIDE = 5.0  # "to the left" is within so many pixels of that edge
BLOCK = (HALF, HALF)


class State(NamedTuple):
    """agent (2,), blocks (n, 2), goal (2,): places in pixels; walls (m, 4): centre and half sides; told (), int32."""

    agent: Any
    blocks: Any
    goal: Any
    walls: Any
    told: Any


def cushion(overlap: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """0 below -2 WIDTH, overlap + WIDTH above 0, a parabola between: once differentiable."""
    return jnp.where(overlap > 0, overlap + WIDTH, jnp.maximum(overlap + 2 * WIDTH, 0.0) ** 2 / (4 * WIDTH))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Push(Exact):
    """The world, see the file. `slip` and `stay` are leaves: worlds of other odds share one program."""

    slip: Any
    stay: Any
    blocks: int = dataclasses.field(metadata=dict(static=True))
    walls: int = dataclasses.field(metadata=dict(static=True))

    inputs = {
        "action": Space((2,), -1.0, 1.0),
        "trajectory": Space((2,), 0.0, float(SIZE)),
        "instruction": Space((ROWS, 3), 0, 4, whole=True),
    }
    frame = (SIZE, SIZE, 3)
    cameras = ("room", "agent")

    def _build(self, decoded):
        return State(**decoded)

    def make(self, key) -> State:
        """Places of all bodies, uniform among layouts without contact whose red block has 2.5 to 6.5 pixels to go."""

        def draw(key):
            keys = jax.random.split(key, 4)
            centre = jax.random.uniform(keys[0], (self.walls, 2), minval=4.0, maxval=SIZE - 4.0)
            upright = jax.random.bernoulli(keys[1], shape=(self.walls, 1))
            half = jnp.where(upright, jnp.array([0.75, 2.0]), jnp.array([2.0, 0.75]))
            walls = jnp.concatenate([centre, half], 1)
            low = BORDER + HALF + ROUND + 0.25
            places = jax.random.uniform(keys[2], (self.blocks + 2, 2), minval=low, maxval=SIZE - low)
            red = jax.random.uniform(keys[3], (2,), minval=SIZE / 2 - MIDDLE, maxval=SIZE / 2 + MIDDLE)
            places = places.at[1].set(red)
            return State(places[0], places[1:-1], places[-1], walls, jnp.zeros((), jnp.int32))

        def clear(state):
            far = jnp.linalg.norm(state.goal - state.blocks[0])
            there = state._replace(blocks=state.blocks.at[0].set(state.goal), agent=state.goal + 2 * SIZE)
            worst = jnp.stack([overlap_of(state), overlap_of(there), 2.0 - far, far - 7.0])
            return jnp.minimum(-jnp.max(worst), 0.5)

        drawn = jax.vmap(draw)(jax.random.split(key, 256))
        # argmax takes the first of equals: the first layout with gaps of half a pixel.
        best = jnp.argmax(jax.vmap(clear)(drawn))
        return jax.tree.map(lambda a: a[best], drawn)

    def success(self, state):
        return jnp.linalg.norm(state.blocks[0] - state.goal) < NEAR

    # ------------------------------------------------------------------------------------------------------ dynamics

    def _step(self, state, inputs, key):
        how = kind(inputs)
        if how == "trajectory":
            action = (inputs.position - state.agent) / SPEED
        elif how == "instruction":
            action = self._obey(state, self._row(state, inputs))
        else:
            action = inputs
        push = 1.0 + jax.random.bernoulli(key, self.slip, (self.blocks,))
        stays = jax.random.bernoulli(jax.random.fold_in(key, 1), self.stay)
        move = jnp.where(stays, 0.0, jnp.clip(action, -1, 1) * (SPEED / HALVES))
        after, _ = lax.scan(lambda now, _: (self._part(now, move, push), None), state, None, length=HALVES)
        return self._advance(state, after, inputs) if how == "instruction" else after

    def _part(self, state, move, push):
        agent = jnp.clip(state.agent + move, BORDER + AGENT, SIZE - BORDER - AGENT)
        blocks, half, walls, sides = state.blocks, jnp.array(BLOCK), state.walls[:, :2], state.walls[:, 2:]
        before = _shapes.contact(blocks - state.agent, half, AGENT + ROUND)[1]
        normal, overlap = _shapes.contact(blocks - agent, half, AGENT + ROUND)
        pushed = push * jnp.maximum(cushion(overlap) - cushion(before), 0.0)
        blocks = blocks + pushed[:, None] * normal
        normal, overlap = _shapes.contact(blocks[:, None] - blocks, 2 * half, 2 * ROUND)
        overlap = jnp.where(jnp.eye(self.blocks, dtype=bool), 0.0, overlap)
        blocks = blocks + 0.5 * _out(normal, overlap)
        blocks = blocks + _out(*_shapes.contact(blocks[:, None] - walls, sides + half, ROUND))
        edge = BORDER + HALF + ROUND
        blocks = jnp.clip(blocks, edge, SIZE - edge)
        agent = agent + _out(*_shapes.contact(agent - blocks, half, AGENT + ROUND))
        agent = agent + _out(*_shapes.contact(agent - walls, sides, AGENT))
        agent = jnp.clip(agent, BORDER + AGENT, SIZE - BORDER - AGENT)
        after = state._replace(agent=agent, blocks=blocks)
        free = overlap_of(after) <= TOLERANCE
        return jax.tree.map(lambda new, old: jnp.where(free, new, old), after, state)

    # ------------------------------------------------------------------------------------------------------ pictures

    def _render(self, state, camera):
        centre, pixel = (jnp.full(2, SIZE / 2), 1.0) if camera == "room" else (state.agent, 0.5)
        at = (jnp.arange(SIZE) + 0.5 - SIZE / 2) * pixel
        points = centre + jnp.stack(jnp.meshgrid(at, at), -1)
        cover = lambda d: _shapes.cover(d, pixel)
        picture = jnp.broadcast_to(jnp.array(INKS["floor"], jnp.float32), self.frame)
        block = lambda place: _shapes.distance(points - place, jnp.array(BLOCK), ROUND)
        picture = _shapes.paint(picture, cover(jnp.abs(block(state.goal)) - 0.4), INKS["red"])
        for i in range(self.blocks):
            picture = _shapes.paint(picture, cover(block(state.blocks[i])), INKS[COLOURS[i]])
        edge = -_shapes.distance(points - SIZE / 2, jnp.full(2, SIZE / 2 - BORDER), 0.0)
        walls = [edge] + [_shapes.distance(points - wall[:2], wall[2:], 0.0) for wall in state.walls]
        for wall in walls:
            picture = _shapes.paint(picture, cover(wall), INKS["wall"])
        disc = _shapes.distance(points - state.agent, jnp.zeros(2), 0.0)
        picture = _shapes.paint(picture, cover(disc - AGENT), INKS["agent"])
        return _shapes.paint(picture, cover(disc - 0.4), INKS["pupil"])

    # ---------------------------------------------------------------------------------------------------------- words

    def parse(self, text: str) -> Instruction:
        """Parts such as "push the red block to the right" or "go to the goal", joined by commas or "then".

        A block goes to the left, right, top or bottom (within 5 pixels of that edge), the red one also to the goal;
        the agent goes to all of them.

        Raises:
            ValueError: what is not of that grammar, a block that this world has not, more than 10 parts.
        """
        rows = []
        colours, targets = COLOURS[: self.blocks], "|".join(TARGETS)
        for part in parts(self.name, text):
            push = re.fullmatch(rf"push the ({'|'.join(colours)}) block to the ({targets})", part)
            go = re.fullmatch(rf"go to the ({targets})", part)
            if not (push or go) or push and push[2] == "goal" and push[1] != "red":
                raise ValueError(
                    f"{self.name}: cannot read {part!r}, expected 'push the {'|'.join(colours)} block to the "
                    f"{targets}' (the red one alone to the goal) or 'go to the {targets}'"
                )
            verb, block = ("push", colours.index(push[1])) if push else ("go", 0)
            rows.append((VERBS.index(verb), block, TARGETS.index(part.split()[-1])))
        return coded(rows)

    def _aim(self, state, place, target):
        """What a body at `place` lacks to be at a target: a vector, zero once it is there."""
        lacks = [state.goal - place]
        for axis, sign in ((0, -1), (0, 1), (1, -1), (1, 1)):
            edge = SIDE - 0.5 if sign < 0 else SIZE - SIDE + 0.5
            short = jnp.maximum(sign * (edge - place[axis]), 0.0) * sign
            lacks.append(jnp.zeros(2).at[axis].set(short))
        return jnp.stack(lacks)[target]

    def _holds(self, before, state, row):
        body = jnp.where(row[0] == VERBS.index("push"), state.blocks[row[1]], state.agent)
        lack = jnp.linalg.norm(self._aim(state, body, row[2]))
        # A side's aim is half a pixel beyond what counts, so that both are reached alike.
        return (row[0] != 0) & (lack < NEAR)

    def _obey(self, state, row):
        """A simple pusher, x before y: to a side of the block, behind it, then straight. It minds no walls and no other
        block, and cannot get behind a block that lies at the edge."""
        block, body = state.blocks[row[1]], row[0] == VERBS.index("push")
        lack = self._aim(state, block, row[2])
        axis = jnp.where(jnp.abs(lack[0]) > 0.3, jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0]))
        way = axis * jnp.where(lack < 0, -1.0, 1.0)
        across = axis[::-1]
        along, aside = (state.agent - block) @ way, (state.agent - block) @ across
        reach = AGENT + HALF + ROUND
        side = jnp.where(aside < 0, -1.0, 1.0)
        room = jnp.abs(block @ across + side * (reach + 0.5) - SIZE / 2) <= SIZE / 2 - BORDER - AGENT
        beside = jnp.where(room, side, -side) * (reach + 0.5) * across
        # Offsets from the block at which the agent wants to be.
        straight = -reach * way + lack
        behind = -(reach + 0.3) * way
        back = behind + beside
        out = along * way + beside
        hidden = along < 0.1 - reach
        goes = jnp.where(hidden, behind, jnp.where(jnp.abs(aside) > reach + 0.2, back, out))
        goes = jnp.where(hidden & (jnp.abs(aside) < 0.4), straight * axis, goes) + block - state.agent
        goes = jnp.where(body, goes, self._aim(state, state.agent, row[2]))
        return jnp.where(row[0] == 0, 0.0, goes / SPEED)


def _out(normal, overlap):
    """What a body moves to leave those that it overlaps, on the last axis but one: the sum over them."""
    return jnp.sum(jnp.maximum(overlap, 0.0)[..., None] * normal, -2)


def overlap_of(state: State) -> Float[Array, ""]:
    """How deep the worst pair of bodies overlaps; negative: the smallest gap. The edge of the plane is left out."""
    half, walls, sides = jnp.array(BLOCK), state.walls[:, :2], state.walls[:, 2:]
    n = len(state.blocks)
    pairs = _shapes.contact(state.blocks[:, None] - state.blocks, 2 * half, 2 * ROUND)[1]
    depths = (
        _shapes.contact(state.agent - walls, sides, AGENT)[1],
        _shapes.contact(state.blocks - state.agent, half, AGENT + ROUND)[1],
        _shapes.contact(state.blocks[:, None] - walls, sides + half, ROUND)[1],
        jnp.where(jnp.eye(n, dtype=bool), -jnp.inf, pairs),
    )
    return jnp.max(jnp.concatenate([depth.ravel() for depth in depths]))


def push(*, blocks: int = 2, walls: int = 1, slip: Real = 0.0, stay: Real = 0.0) -> Push:
    """The world of this file.

    Args:
        blocks: 1 to 3; red (which has the goal), blue, yellow.
        walls: 0 to 2 short ones within the plane, whose edge is walled anyway.
        slip: the probability that a block slips in a step.
        stay: the probability that the agent stays in a step.

    Raises:
        ValueError: numbers outside these ranges.
    """
    for name, value, low, high in (("blocks", blocks, 1, len(COLOURS)), ("walls", walls, 0, 2)):
        if not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"push: {name} must be {low} to {high}, found {value!r}")
    return Push(probability("push", "slip", slip), probability("push", "stay", stay), blocks, walls)


def example() -> Push:
    """Two blocks, a wall, and slips that are frequent enough to count."""
    return push(slip=0.3)


def cost(decoded: Decoded, agent: float = 0.1) -> Float[Array, ""]:
    """For `plan`: how far the red block is from its place, and the agent from where it can push it, mean over time.

    Args:
        decoded: of a rollout, with a leading axis of time.
        agent: what a pixel of the agent counts, in pixels of the block. More of it leads round the block where a world
            is off about the block by a tenth of a pixel, which else says more than where the agent is.

    Returns:
        In pixels. The last step weighs as much as all before it; the agent's part vanishes as the block arrives.
    """
    lack = decoded["goal"] - decoded["blocks"][:, 0]
    left = jnp.sqrt(jnp.sum(lack**2, -1) + 1e-6)
    reach = AGENT + HALF + ROUND
    behind = decoded["blocks"][:, 0] - reach * lack / left[:, None]
    away = jnp.sqrt(jnp.sum((decoded["agent"] - behind) ** 2, -1) + 1e-6)
    told = left + agent * away * jnp.minimum(left, 1.0)
    return 0.5 * (jnp.mean(told) + told[-1])
