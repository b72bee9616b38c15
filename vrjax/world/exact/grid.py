"""A room of 8 x 8 cells: fetch the key, open the door in the wall, walk to the goal, a flag.

    w = exact.get("grid", slip=0.0, pixels=2)
    state = w.make(key)                                     # drawn; the goal can always be reached
    state = w.step(state, jnp.array([1.0, 0.0]), key)       # a cell to the right

**Actions** are vectors in [-1, 1]^2, x to the right and y down, as in `push`: the agent walks one cell along the larger
component (x where they are equal) if that is at least `DEAD`, and stays otherwise. There is nothing else to press:
walking onto the key takes it, walking into the locked door with the key opens it and enters, without it does nothing,
as walking into a wall. The goal stops nobody. All of it is piecewise constant in the action: gradients are zero.

**Chance**: with probability `slip` the agent stays in a step, whatever it does: one coin per step, from its key alone.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from vrjax.world.exact._exact import ROWS, Exact, Real, coded, parts, probability
from vrjax.world.protocol import Decoded, Instruction, Space, kind

CELLS = 8
DEAD = 0.5
FAR = 1000
"""How many steps "never" counts as."""
MOVES = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))  # stay, right, left, down, up
VERBS = ("wait", "take", "open", "go", "right", "left", "down", "up")
SAID = {"take the key": "take", "open the door": "open", "go to the goal": "go"}
SAID |= {f"go {way}": way for way in ("right", "left", "down", "up")}

INKS = {
    ".": (-0.15, -0.15, -0.1),
    "#": (-0.85, -0.85, -0.8),
    "a": (-0.6, 0.0, 1.0),
    "w": (1.0, 1.0, 1.0),
    "k": (1.0, 0.75, -0.85),
    "d": (0.45, -0.25, -0.75),
    "s": (-0.9, -0.9, -0.9),
    "g": (-0.7, 0.8, -0.5),
}
# Glyphs of 8 x 8 pixels; smaller pictures are averages of them. "." is what lies below.
GLYPHS = {
    "agent": ("..aaaa..", ".aaaaaa.", "aawaawaa", "aawaawaa", "aaaaaaaa", "aawwwwaa", ".aaaaaa.", "..aaaa.."),
    "key": ("........", ".kkk....", "kk.kk...", "k...kkkk", "kk.kkkkk", ".kkk.k.k", ".....k.k", "........"),
    "door": ("dddddddd", "dddddddd", "ddkkkkdd", "ddksskdd", "ddksskdd", "ddkkkkdd", "dddddddd", "dddddddd"),
    "open": ("dd....dd", "dd....dd", "d......d", "d......d", "d......d", "d......d", "dd....dd", "dd....dd"),
    "goal": (".wggg...", ".wggggg.", ".wgggggg", ".wggggg.", ".wggg...", ".w......", ".w......", "www....."),
}


class State(NamedTuple):
    """agent, key, door, goal (2,) int32: cells (x, y); held, opened (): bool; walls (8, 8) bool, [y, x]; told ()."""

    agent: Any
    key: Any
    door: Any
    goal: Any
    held: Any
    opened: Any
    walls: Any
    told: Any


def direction(action: Float[Array, "2"]) -> Int[Array, ""]:
    """Which of `MOVES` an action means."""
    axis = jnp.argmax(jnp.abs(action))
    way = 1 + 2 * axis + (action[axis] < 0)
    return jnp.where(jnp.abs(action[axis]) >= DEAD, way, 0).astype(jnp.int32)


def steps_left(state: State) -> Int[Array, "2 8 8"]:
    """The least number of steps to the goal, [held, y, x], from every cell without and with the key; `FAR` where it
    cannot be reached. Everything of the state but the agent counts.

    Without slips a plan can do no better; with them, each step takes 1 / (1 - slip) on average.
    """
    cell = lambda place: (jnp.arange(CELLS)[:, None] == place[1]) & (jnp.arange(CELLS) == place[0])
    locked = cell(state.door) & ~state.opened
    with_key = jnp.where(cell(state.goal), 0, FAR)
    with_key = _spread(with_key, ~state.walls)
    # The key is taken in passing: its cell costs what it costs with the key.
    without = jnp.where(cell(state.goal), 0, jnp.where(cell(state.key), with_key, FAR))
    return jnp.stack([_spread(without, ~state.walls & ~locked), with_key])


def _spread(cost, free):
    """Least costs of all free cells from those of some, a step costing 1."""

    def once(_, cost):
        wide = jnp.pad(cost, 1, constant_values=FAR)
        near = jnp.minimum(jnp.minimum(wide[2:, 1:-1], wide[:-2, 1:-1]), jnp.minimum(wide[1:-1, 2:], wide[1:-1, :-2]))
        return jnp.where(free, jnp.minimum(cost, near + 1), FAR)

    return jnp.minimum(lax.fori_loop(0, CELLS * CELLS, once, jnp.where(free, cost, FAR)), FAR).astype(jnp.int32)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Grid(Exact):
    """The world, see the file. `slip` is a leaf: worlds of other odds share one program."""

    slip: Any
    pixels: int = dataclasses.field(metadata=dict(static=True))

    inputs = {
        "action": Space((2,), -1.0, 1.0),
        "trajectory": Space((2,), 0, CELLS - 1),
        "instruction": Space((ROWS, 1), 0, len(VERBS) - 1, whole=True),
    }
    cameras = ("room",)

    @property
    def frame(self):
        return (CELLS * self.pixels, CELLS * self.pixels, 3)

    def _build(self, decoded):
        return State(**decoded)

    def make(self, key) -> State:
        """A wall with a door, agent and key on its left, the goal on its right, and up to three pillars where they
        leave a way; mirrored by one coin, with x and y exchanged by another."""
        keys = jax.random.split(key, 6)
        inner = CELLS - 2
        wall = jax.random.randint(keys[0], (), 3, 5)
        y = jax.random.randint(keys[1], (2,), 1, inner + 1)
        door, goal_y = jnp.stack([wall, y[0]]), y[1]
        # Two cells of those on the left, (wall - 1) * inner many, which differ.
        count = (wall - 1) * inner
        first = jax.random.randint(keys[2], (), 0, count)
        second = (first + jax.random.randint(keys[3], (), 1, count)) % count
        place = lambda i: jnp.stack([1 + i // inner, 1 + i % inner])
        goal = jnp.stack([jax.random.randint(keys[4], (), wall + 1, inner + 1), goal_y])
        ys, xs = jnp.arange(CELLS)[:, None], jnp.arange(CELLS)
        edge = (xs == 0) | (xs == CELLS - 1) | (ys == 0) | (ys == CELLS - 1)
        cell = lambda c: (xs == c[0]) & (ys == c[1])
        built = (edge | (xs == wall)) & ~cell(door)
        agent, item = place(first), place(second)
        pillars = jax.random.randint(keys[5], (3, 2), 1, inner + 1)
        taken = cell(agent) | cell(item) | cell(door) | cell(goal)
        more = jax.vmap(cell)(pillars).any(0) & ~taken
        no, none = jnp.array(False), jnp.zeros((), jnp.int32)
        agent, item, door, goal = (p.astype(jnp.int32) for p in (agent, item, door, goal))
        state = State(agent, item, door, goal, no, no, built | more, none)
        open_way = steps_left(state)[0, agent[1], agent[0]] < FAR
        state = state._replace(walls=jnp.where(open_way, state.walls, built))
        mirror, turn = jax.random.bernoulli(jax.random.fold_in(key, 6), shape=(2,))
        places = ("agent", "key", "door", "goal")
        flip = lambda p: jnp.where(mirror, jnp.stack([CELLS - 1 - p[0], p[1]]), p)
        swap = lambda p: jnp.where(turn, p[::-1], p)
        state = state._replace(**{name: swap(flip(getattr(state, name))) for name in places})
        walls = jnp.where(mirror, state.walls[:, ::-1], state.walls)
        return state._replace(walls=jnp.where(turn, walls.T, walls))

    def success(self, state):
        return jnp.all(state.agent == state.goal)

    def _follows(self, state):
        """item (2,) int32: where the key is seen, in its cell or, once it is held, with whoever holds it."""
        return {"item": jnp.where(state.held, state.agent, state.key)}

    def usual(self, state):
        """A step of a shortest way to the goal: by the key, if it is not held, and through the door."""
        left = steps_left(state)
        to = state.agent + jnp.array(MOVES, jnp.int32)[1:]
        held = state.held | jnp.all(to == state.key, -1)
        best = jnp.argmin(left[held.astype(jnp.int32), to[:, 1], to[:, 0]])
        return jnp.where(self.success(state), 0.0, jnp.array(MOVES, jnp.float32)[1:][best])

    def _step(self, state, inputs, key):
        how = kind(inputs)
        if how == "trajectory":
            move = direction(jnp.clip(inputs.position - state.agent, -1, 1))
        elif how == "instruction":
            move = self._obey(state, self._row(state, inputs))
        else:
            move = direction(inputs)
        move = jnp.where(jax.random.bernoulli(key, self.slip), 0, move)
        to = state.agent + jnp.array(MOVES, jnp.int32)[move]
        at_door = jnp.all(to == state.door)
        barred = state.walls[to[1], to[0]] | at_door & ~state.opened & ~state.held
        agent = jnp.where(barred, state.agent, to)
        held = state.held | jnp.all(agent == state.key)
        opened = state.opened | jnp.all(agent == state.door)
        after = state._replace(agent=agent, held=held, opened=opened)
        return self._advance(state, after, inputs) if how == "instruction" else after

    # ------------------------------------------------------------------------------------------------------ pictures

    def _render(self, state, camera):
        del camera
        floor = jnp.broadcast_to(jnp.array(INKS["."], jnp.float32), (CELLS, CELLS, 8, 8, 3))
        picture = jnp.where(state.walls[:, :, None, None, None], jnp.array(INKS["#"], jnp.float32), floor)
        ways = (
            ("door", state.door, ~state.opened),
            ("open", state.door, state.opened),
            ("goal", state.goal, True),
            ("key", state.key, ~state.held),
            ("agent", state.agent, True),
        )
        for name, place, seen in ways:
            shape, ink = (jnp.asarray(a) for a in _glyph(name))
            old = picture[place[1], place[0]]
            picture = picture.at[place[1], place[0]].set(jnp.where(seen & shape[..., None], ink, old))
        k = 8 // self.pixels
        picture = picture.reshape(CELLS, CELLS, self.pixels, k, self.pixels, k, 3).mean((3, 5))
        return picture.transpose(0, 2, 1, 3, 4).reshape(self.frame)

    # ---------------------------------------------------------------------------------------------------------- words

    def parse(self, text: str) -> Instruction:
        """Parts "take the key", "open the door", "go to the goal" and "go right|left|down|up", joined by commas or
        "then"; the last four are one cell.

        Raises:
            ValueError: what is not of that grammar, more than 10 parts.
        """
        rows = []
        for part in parts(self.name, text):
            if part not in SAID:
                raise ValueError(f"{self.name}: cannot read {part!r}, expected one of {', '.join(map(repr, SAID))}")
            rows.append((VERBS.index(SAID[part]),))
        return coded(rows)

    def _holds(self, before, state, row):
        verb = row[0]
        moved = state.agent - before.agent
        way = jnp.array(MOVES, jnp.int32)[jnp.clip(verb - VERBS.index("right") + 1, 0, 4)]
        done = jnp.stack([state.held, state.opened, self.success(state), jnp.all(moved == way)])
        return (verb > 0) & done[jnp.clip(verb, 1, 4) - 1]

    def _obey(self, state, row):
        """The next move of a shortest way; ways through the locked door are only thought of with the key in hand."""
        verb = row[0]
        targets = jnp.stack([state.key, state.door, state.goal])
        goal = targets[jnp.clip(verb - 1, 0, 2)]
        cell = (jnp.arange(CELLS)[:, None] == goal[1]) & (jnp.arange(CELLS) == goal[0])
        door = (jnp.arange(CELLS)[:, None] == state.door[1]) & (jnp.arange(CELLS) == state.door[0])
        free = ~state.walls & ~(door & ~state.opened & ~state.held)
        cost = _spread(jnp.where(cell, 0, FAR), free)
        to = state.agent + jnp.array(MOVES, jnp.int32)
        best = jnp.argmin(cost[to[:, 1], to[:, 0]])
        walk = jnp.where((verb >= 1) & (verb <= 3), best, 0)
        return jnp.where(verb >= VERBS.index("right"), verb - VERBS.index("right") + 1, walk).astype(jnp.int32)


def _glyph(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Of a glyph, where it covers what lies below, and its inks."""
    rows = GLYPHS[name]
    return np.array([[c != "." for c in row] for row in rows]), np.array([[INKS[c] for c in row] for row in rows], "f4")


def grid(*, slip: Real = 0.0, pixels: int = 2) -> Grid:
    """The world of this file.

    Args:
        slip: the probability that the agent stays in a step.
        pixels: per side of a cell: 1, 2, 4 or 8. 2 gives frames of 16 x 16.

    Raises:
        ValueError: other numbers.
    """
    if pixels not in (1, 2, 4, 8):
        raise ValueError(f"grid: pixels must be 1, 2, 4 or 8, found {pixels!r}")
    return Grid(probability("grid", "slip", slip), pixels)


def example() -> Grid:
    """With slips that are frequent enough to count."""
    return grid(slip=0.3)


def cost(decoded: Decoded, left: Int[Array, "2 8 8"]) -> Float[Array, ""]:
    """For `plan`, with `args=(steps_left(state),)`: the steps that are left after each step, mean over time.

    Args:
        decoded: of a rollout, with a leading axis of time.
        left: the table of the state where planning begins; it holds as long as the door that was open then is all that
            is open, or the key is held, which it must be to open it.

    Returns:
        With a plan that follows a shortest way of n steps and then stays, `(n - 1) + (n - 2) + ... + 1` over the
        horizon; no plan has less.
    """
    x, y = decoded["agent"][:, 0], decoded["agent"][:, 1]
    return jnp.mean(left[decoded["held"].astype(jnp.int32), y, x].astype(jnp.float32))
