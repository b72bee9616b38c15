"""Which blocks read the question: on one maze with two goals, the tokens of the goals' cells are swapped at all steps.

A clip's *other* has the same walls and start and another goal. Both are run from the same noise, in step; in one of
them the residual stream at the two goals' cells (all frames) is replaced by the other's, after chosen blocks. Where the
answer becomes the other's path, those tokens carried the question at that depth. Swapping at the first steps only says
little (the later ones read the true picture): here every step is swapped.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.chain_of_steps.paths import drawable, every_path
from vrjax.flow import Record, grids, sample
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


def measure(bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float) -> Tables:
    """Runs with no block swapped, with all, and with each alone; noise 0.

    Returns:
        `flip` [N, condition]: the forced choice among all paths is the way to the other's goal; `kept` [N, condition]:
        it is still the own; conditions: none, all (and the tokens that enter block 0), block 0, 1, ...; `usable` [N]:
        both plain runs choose their own path. Clips without another goal are left out; `instance` [N] numbers the rest.
    """
    task, grid, blocks, model = suite.task, grids.shifted(steps, shift=shift), subject.layers, subject.velocity
    if not isinstance(task, Maze) or not blocks:
        raise ValueError(f"goals: expected a network and clips of the maze, found {subject.name} and {task.name}")
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
    # what is swapped: the tokens as they enter the first block, then after each block
    masks = np.eye(1 + blocks, dtype=bool)
    masks = np.concatenate([np.zeros((1, 1 + blocks), bool), np.ones((1, 1 + blocks), bool), masks[1:]])

    def one(weights: Any, row: Any) -> Any:
        base = lambda edits: model(weights, row, {}, edits)
        seen = model(weights, row | {"image": row["other_image"]}, layers.recorder(("embed", *layers.STREAM)), {})

        def run(swapped: jax.Array) -> jax.Array:
            def both(x: jax.Array, level: Any) -> jax.Array:
                theirs = seen(x[1], level)
                put = lambda h, new, here: jnp.where(here & row["objects"][:, None], new.astype(h.dtype), h)
                after = indexed(lambda h, k: put(h, theirs.taps["block.*"][k], swapped[1 + k]))
                edits = {"embed": lambda h: put(h, theirs.taps["embed"], swapped[0]), "block.*": after}
                return jnp.stack([base(edits)(x[0], level).v, theirs.v])

            start = jnp.stack([row["noise"][0]] * 2)
            final = sample(both, start, grid, record=Record(steps=())).final
            distance = readout.squared_distances(final, row["films"])
            return jnp.where(row["mask"], distance, jnp.inf).argmin(-1)

        return perturb.sweep(run, jnp.asarray(masks), how="map")

    rows = {k: suite.rows[k] for k in ("image", "text", "noise")}
    rows |= {"other_image": np.stack(images), "objects": np.stack(tokens), "films": films.films, "mask": films.mask}
    choice = bench.over(one, subject.weights, rows, f"{subject.name}: {task.name}, goals swapped")
    mine, other = np.array(own)[:, None], np.array(theirs)[:, None]
    plain = (choice[:, 0] == np.stack([own, theirs], axis=1)).all(1)
    flips = {"flip": choice[..., 0] == other, "kept": choice[..., 0] == mine}
    return {**flips, "usable": plain, "instance": np.array(chosen)}


def early_blocks(table: Tables) -> np.ndarray:
    """Answers flipped by a swap after block 1 or 2 alone minus after 3, 4 or 5 alone; NaN for unusable pairs."""
    flip = table["flip"][:, 2:].astype(float)
    return np.where(table["usable"], flip[:, 1:3].mean(1) - flip[:, 3:6].mean(1), np.nan)
