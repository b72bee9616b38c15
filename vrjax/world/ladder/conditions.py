"""The survey's table of conditions, computed: which are in time (T), independent of content (R), spatial (S).

    table = conditions.table(world.exact.get("drive"), key)
    print(conditions.show(table))

The survey (arXiv 2511.08585, table 1) asserts three marks for each of ten conditions; those with all three are its
navigation modes. Here they come out of numbers, on MiniDrive, whose states and pictures offer each condition as data:

| condition | data of a moment |
| --- | --- |
| HD map | drivable area and lanes from above, about the ego |
| layout | places of the others, in the ego's frame |
| text description | the weather and the light, in words |
| canny | where the front picture's brightness jumps |
| depth | logarithm of the front picture's depth |
| sketch | outlines of the instances in the front picture |

An HD map, a layout and a text are given once for a clip; pictures are given frame by frame. With d the mean absolute
difference of two conditions' data, and "typical" its mean over different scenes and ways:

- **T**: d between a condition and itself with its halves exchanged in time, over typical d.
- **R**: a condition is taken to another scene, which may follow it by any way that it has there, and in the weather
  that is asked for. One less the least d that it comes to, over the mean.
- **S**: the ego is moved by 0 to 4 m, ahead and to the left by equal parts (along a straight road alone nothing of a
  map would change), in other weather; a follower picks the displacement whose data fit best. Correlation of picked and
  true displacements.

Actions, trajectories and instructions are put to the test by what they do to the ego, see `_trs`. A motion's pose is
not tested: nobody here has limbs.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vrjax import drive as minidrive
from vrjax.world.ladder import _trs
from vrjax.world.ladder import facts as kinds
from vrjax.world.ladder._core import QUICK, Subject, recode
from vrjax.world.rollouts import rollout

SURVEY = {
    "HD map": (False, False, True),
    "layout": (False, False, True),
    "text description": (False, True, False),
    "canny": (True, False, False),
    "depth": (True, False, True),
    "sketch": (True, False, True),
    "motion pose": (True, False, False),
    "trajectory": (True, True, True),
    "action": (True, True, True),
    "instruction": (True, True, True),
}
"""What the survey asserts: T, R, S."""
GIVEN_ONCE = ("HD map", "layout", "text description")
FRAMES = ("canny", "depth", "sketch")
SCENES, WAYS, STEPS, MOVES = 6, 4, 8, 5
MAKES_SENSE = 0.5
"""From which R on a condition of `GIVEN_ONCE` or `FRAMES` makes sense elsewhere; T and S have `_trs`'s bounds."""
NOT_TESTED = "nobody in an exact world here has limbs"


@dataclasses.dataclass(frozen=True)
class Condition:
    """A row: the numbers (None where it was not tested), their marks, and what the survey says."""

    name: str
    numbers: _trs.Trs | None
    marks: tuple[bool, bool, bool] | None
    survey: tuple[bool, bool, bool]
    why: str = ""

    @property
    def agrees(self) -> bool | None:
        """Whether all three marks are the survey's; None where it was not tested."""
        return None if self.marks is None else self.marks == self.survey

    @property
    def navigation(self) -> bool | None:
        """Whether it is a navigation mode: all three."""
        return None if self.marks is None else all(self.marks)


def edges(picture: Any) -> Any:
    """Where a picture (..., h, w) jumps by more than a fifth of its range, among neighbours to the right and below."""
    right = jnp.abs(jnp.diff(picture, axis=-1, append=picture[..., -1:]))
    below = jnp.abs(jnp.diff(picture, axis=-2, append=picture[..., -1:, :]))
    jump = jnp.maximum(right, below)
    return (jump > 0.2 * (picture.max((-2, -1), keepdims=True) - picture.min((-2, -1), keepdims=True))).astype(float)


def data(truth: Any, state: Any) -> dict[str, Any]:
    """What each condition says of one state, flat float32 arrays."""
    scene = truth.scene(state)
    views = minidrive.render(scene, truth.views)
    above = minidrive.raster(scene, 32, 40.0)
    layers = jnp.array([minidrive.LAYERS.index(name) for name in ("drivable", "lane")])
    ego, now = state.ego, state.actors
    to = now.position[:, :2] - ego[:2]
    c, s = jnp.cos(ego[2]), jnp.sin(ego[2])
    places = jnp.stack([to[:, 0] * c + to[:, 1] * s, to[:, 1] * c - to[:, 0] * s], -1)
    places = jnp.where(now.active[:, None], jnp.clip(places, -60, 60), 60.0)
    words = jnp.stack([state.weather.rain > 0.5, state.weather.darkness > 0.5]).astype(jnp.float32)
    light = views.rgb[0].mean(-1)
    found = {
        "HD map": (above[..., layers] > 0).astype(jnp.float32),
        "layout": places,
        "text description": words,
        "canny": edges(light),
        "depth": jnp.log(jnp.clip(views.depth[0], 1.0, 80.0)),
        "sketch": (edges(views.instance[0].astype(jnp.float32)) > 0).astype(jnp.float32),
    }
    return {name: value.astype(jnp.float32).ravel() for name, value in found.items()}


@partial(jax.jit, static_argnames="facts")
def _scenes(truth, keys, actions, facts):
    """Data (scenes, ways, steps, f) of rollouts, and (scenes, 2, moves, f) of moved scenes in two weathers."""

    def one(key, wet):
        state = truth.make(key)
        state = state._replace(weather=type(state.weather)(wet[0], wet[1]))

        def way(action):
            states = rollout(truth, state, action, key, record=("states",))[1].states
            return jax.vmap(partial(data, truth))(states)

        def moved(metres, weather):
            way = state.ego[2] + jnp.pi / 4
            askew = metres * jnp.stack([jnp.cos(way), jnp.sin(way)])
            there = state._replace(ego=state.ego.at[:2].add(askew), weather=type(state.weather)(*weather))
            return data(truth, there)

        metres = jnp.linspace(0.0, 4.0, MOVES)
        weathers = jnp.stack([wet, 1.0 - wet])
        shifted = jax.vmap(lambda weather: jax.vmap(lambda m: moved(m, weather))(metres))(weathers)
        return jax.vmap(way)(actions), shifted

    weather = jnp.stack([jnp.arange(len(keys)) % 2, jnp.arange(len(keys)) // 2 % 2], -1).astype(jnp.float32)
    return jax.vmap(one)(keys, weather)


def numbers(name: str, ways: np.ndarray, moved: np.ndarray) -> _trs.Trs:
    """T, R and S of a condition that is no input.

    Args:
        name: of `SURVEY`.
        ways: data (scenes, ways, steps, f).
        moved: data (scenes, 2, moves, f): the condition's, and the follower's.
    """
    scenes, count, steps = ways.shape[:3]
    if name in GIVEN_ONCE:
        ways = np.broadcast_to(ways[:, :1, :1], ways.shape)
    apart = lambda a, b: np.abs(a - b).mean((-2, -1))
    swapped = np.roll(ways, steps // 2, 2)
    pairs = [(a, b) for a in range(scenes) for b in range(scenes) if a != b]
    others = np.array([[apart(ways[b], ways[a, j][None]) for j in range(count)] for a, b in pairs])  # (pairs, j, k)
    typical = others.mean()
    if typical == 0:
        return _trs.Trs(float("nan"), float("nan"), float("nan"))
    time = apart(swapped, ways).mean() / typical
    # A text asks for weather and light, which every scene can have.
    least = 0.0 if name == "text description" else others.min(-1).mean()
    picked, true = [], []
    for scene in moved:
        fits = np.abs(scene[1][:, None] - scene[0][None]).mean(-1)  # (candidates, moves)
        # Where all candidates fit alike, nothing was said of the displacement.
        best = np.where(np.ptp(fits, axis=0) > 1e-9, fits.argmin(0), 0)
        picked += best.tolist()
        true += list(range(len(best)))
    constant = np.ptp(picked) == 0
    spatial = float("nan") if constant else float(np.corrcoef(picked, true)[0, 1])
    return _trs.Trs(float(time), float(1 - least / typical), spatial)


def table(truth: Any, key: Any, *, runs: int = 16) -> tuple[Condition, ...]:
    """All ten rows, on MiniDrive.

    Args:
        truth: of the kind "drive".
        key: of the scenes.
        runs: requests for each of the three kinds of inputs.

    Raises:
        ValueError: another kind of world.
    """
    if truth.name != "drive":
        raise ValueError(f"conditions: the table is computed on a world of the kind drive, found {truth.name}")
    facts = kinds.get("drive")
    wheel = jnp.array([[0.4, -0.4], [-0.4, 0.4], [0.4, 0.4], [0.0, 0.0]])
    actions = jnp.stack([jnp.full((WAYS, STEPS), 0.3), jnp.repeat(wheel, STEPS // 2, 1)], -1)
    ways, moved = _scenes(truth, jax.random.split(key, SCENES), actions, facts)
    rows = []
    for name in (*GIVEN_ONCE, *FRAMES):
        found = numbers(name, np.asarray(ways[name], np.float64), np.asarray(moved[name], np.float64))
        marks = (found.T >= _trs.T, found.R >= MAKES_SENSE, found.S >= _trs.S)
        rows.append(Condition(name, found, marks, SURVEY[name]))
    rows.append(Condition("motion pose", None, None, SURVEY["motion pose"], NOT_TESTED))
    subject = Subject(truth, truth, facts, recode, key, QUICK, True)
    states = _cleared(subject.starts(0, runs), clear=facts.clear)
    for part, name in enumerate(("trajectory", "action", "instruction")):
        found = _trs.measured(subject, name, states, runs, 1 + part)
        rows.append(Condition(name, found, found.marks, SURVEY[name]))
    return tuple(rows)


@partial(jax.jit, static_argnames="clear")
def _cleared(states, *, clear):
    return jax.vmap(clear)(states)


def show(rows: tuple[Condition, ...]) -> str:
    """The table in Markdown: numbers, marks, and the survey's marks where they differ."""
    mark = lambda found: "".join("✓" if one else "✗" for one in found)
    lines = ["| condition | T | R | S | computed | survey |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        if row.numbers is None or row.marks is None:
            lines.append(f"| {row.name} | | | | not tested: {row.why} | {mark(row.survey)} |")
            continue
        told = " | ".join(f"{value:.2f}" for value in row.numbers)
        lines.append(f"| {row.name} | {told} | {mark(row.marks)} | {mark(row.survey)} |")
    return "\n".join(lines)
