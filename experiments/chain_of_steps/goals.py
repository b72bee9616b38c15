"""Which blocks read the question: on one maze with two goals, the tokens of the goals' cells are swapped at all steps.

A clip's *other* has the same walls and start and another goal. Both are run from the same noise, in step; in one of
them the residual stream at the two goals' cells (all frames) is replaced by the other's, after chosen blocks. Where the
answer becomes the other's path, those tokens carried the question at that depth. Swapping at the first steps only says
little (the later ones read the true picture): here every step is swapped.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.chain_of_steps.paths import drawable, every_path
from vrjax.flow import Grid, Record, Velocity, grids, sample
from vrjax.models.embedded.conditions import first_frame
from vrjax.models.wan import indexed
from vrjax.reasoning.instruments import layers, perturb, readout
from vrjax.study.subjects import Subject, Suite
from vrjax.study.tables import Bench, Tables
from vrjax.tasks.core import COLOURS
from vrjax.tasks.maze import Maze, paths_from


def other_goal(task: Maze, layout: dict[str, Any]) -> tuple[int, int] | None:
    """Another goal of the same maze, within the task's lengths, neither on the way to the first nor behind it: of those
    the one whose path shares fewest cells with the first (then the first in reading order); None if there is none."""
    paths = paths_from(layout["maze"], tuple(layout["start"]))
    goal = tuple(layout["goals"][0])
    allowed = [c for c, p in paths.items() if task.shortest <= len(p) - 1 <= (task.longest or 0)]
    allowed = [c for c in allowed if c not in paths[goal] and goal not in paths[c]]
    return min(allowed, key=lambda c: (len(set(paths[c]) & set(paths[goal])), c), default=None)


class Pairs(NamedTuple):
    """Clips beside their others.

    Attributes:
        suite: the clips that have another goal.
        instance: their numbers among the clips given.
        rows: what the compiled programs need of each: conditions, noise, `other_image`, `objects` (the tokens of both
            goals' cells, all frames), `films` and `mask` of every path.
        own, theirs: [N] number of the way to the own and to the other's goal among the films.
    """

    suite: Suite
    instance: np.ndarray
    rows: dict[str, Any]
    own: np.ndarray
    theirs: np.ndarray


def pairs(suite: Suite) -> Pairs:
    """The clips of a suite of mazes that have another goal, with what is other."""
    task = suite.task
    assert isinstance(task, Maze)
    found = {i: other_goal(task, clip.meta["layout"]) for i, clip in enumerate(suite.clips)}
    others = {i: goal for i, goal in found.items() if goal is not None}
    chosen = list(others)
    suite = suite.only(chosen)
    films, images, tokens, own, theirs = every_path(suite), [], [], [], []
    for clip, goal in zip(suite.clips, others.values(), strict=True):
        layout = clip.meta["layout"]
        frames, n = layout["frames"], len(layout["maze"])
        scene = task.film(layout | {"goals": [list(goal)]}, None)[0]
        images.append(first_frame(COLOURS[scene], frames))
        cells = np.zeros((frames, n, n), bool)
        for y, x in (layout["goals"][0], goal):
            cells[:, y, x] = True
        tokens.append(cells.ravel())
        order = list(drawable(layout))
        own.append(order.index(tuple(layout["goals"][0])))
        theirs.append(order.index(goal))
    rows = {k: suite.rows[k] for k in ("image", "text", "noise")}
    rows |= {"other_image": np.stack(images), "objects": np.stack(tokens), "films": films.films, "mask": films.mask}
    return Pairs(suite, np.array(chosen), rows, np.array(own), np.array(theirs))


def swapped(
    velocity: Callable[..., Velocity], weights: Any, row: Any, grid: Grid, mode: str = "tokens"
) -> Callable[[Any], Any]:
    """Runs one clip and its other in step from one noise, and puts the other's activations into the clip's run.

    Args:
        velocity: of a `Subject`.
        row: of `Pairs.rows`.
        mode: "tokens" (the stream at `objects`), "stream" (all of it) or "increment" (what the blocks add).

    Returns:
        `run(where)` -> the forced choice among all paths; `where` bool [step, 1 + blocks]: when, and after which block
        (first: the tokens that enter block 0, which have no increment).
    """
    sites = layers.INCREMENTS if mode == "increment" else ("embed", *layers.STREAM)
    base = lambda edits: velocity(weights, row, {}, edits)
    seen = velocity(weights, row | {"image": row["other_image"]}, layers.recorder(sites), {})
    marked = row["objects"][:, None] if mode == "tokens" else True
    sigmas = jnp.asarray(grid.sigmas[:-1], jnp.float32)
    put = lambda h, new, here: jnp.where(here & marked, new.astype(h.dtype), h)

    def run(where: jax.Array) -> jax.Array:
        def both(x: jax.Array, level: Any) -> jax.Array:
            theirs, now = seen(x[1], level), where[jnp.argmin(jnp.abs(sigmas - level.sigma))]
            after = lambda site: indexed(lambda h, k: put(h, theirs.taps[site][k], now[1 + k]))
            edits = {site: after(site) for site in sites if site != "embed"}
            if "embed" in sites:
                edits["embed"] = lambda h: put(h, theirs.taps["embed"], now[0])
            return jnp.stack([base(edits)(x[0], level).v, theirs.v])

        start = jnp.stack([row["noise"][0]] * 2)
        final = sample(both, start, grid, record=Record(steps=())).final
        distance = readout.squared_distances(final, row["films"])
        return jnp.where(row["mask"], distance, jnp.inf).argmin(-1)

    return run


def conditions(blocks: int) -> np.ndarray:
    """What is swapped, bool [condition, 1 + blocks]: nothing, everything, after block 0 alone, block 1 alone, ..."""
    alone = np.eye(1 + blocks, dtype=bool)[1:]
    return np.concatenate([np.zeros((1, 1 + blocks), bool), np.ones((1, 1 + blocks), bool), alone])


def measure(bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float) -> Tables:
    """Runs with no block swapped, with all, and with each alone, at every step; noise 0.

    Returns:
        `flip` [N, condition]: the forced choice among all paths is the way to the other's goal; `kept` [N, condition]:
        it is still the own; conditions: none, all (and the tokens that enter block 0), block 0, 1, ...; `usable` [N]:
        both plain runs choose their own path. Clips without another goal are left out; `instance` [N] numbers the rest.
    """
    task, grid, blocks = suite.task, grids.shifted(steps, shift=shift), subject.layers
    if not isinstance(task, Maze) or not blocks:
        raise ValueError(f"goals: expected a network and clips of the maze, found {subject.name} and {task.name}")
    model = subject.velocity
    here, masks = pairs(suite), np.repeat(conditions(blocks)[:, None], steps, axis=1)

    def one(weights: Any, row: Any) -> Any:
        return perturb.sweep(swapped(model, weights, row, grid), jnp.asarray(masks), how="map")

    choice = bench.over(one, subject.weights, here.rows, f"{subject.name}: {task.name}, goals swapped")
    plain = (choice[:, 0] == np.stack([here.own, here.theirs], axis=1)).all(1)
    flips = {"flip": choice[..., 0] == here.theirs[:, None], "kept": choice[..., 0] == here.own[:, None]}
    return {**flips, "usable": plain, "instance": here.instance}


def early_blocks(table: Tables) -> np.ndarray:
    """Answers flipped by a swap after block 1 or 2 alone minus after 3, 4 or 5 alone; NaN for unusable pairs."""
    flip = table["flip"][:, 2:].astype(float)
    return np.where(table["usable"], flip[:, 1:3].mean(1) - flip[:, 3:6].mean(1), np.nan)
