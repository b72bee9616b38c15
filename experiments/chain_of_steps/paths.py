"""Mazes with one path: which of *all* paths an estimate is nearest to (forced choice), and what is drawn off the path.

An exact reading calls a blurred early estimate unreadable, and what becomes readable looks like a correction. A forced
choice among every path that the drawing rule allows has no such door. Its null is the *calibrated believer*: an exact
posterior over all paths whose prior is the network's own first estimate, made calibrated on validation clips. It
changes its mind as the noise decides, and gains nothing by it: it ends at a path drawn from its belief, whose expected
score is at most that of the path it believed in most. (Read as the path of most weight in the nearest mixture, which is
what an exact posterior believes in most. The single nearest film, in the table as well, is not: of a blurred estimate
short paths are nearest, whatever it holds.)
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.flow import Phase, Record, grids, sample
from vrjax.reasoning.instruments import null, readout
from vrjax.reasoning.instruments.arms import thirds
from vrjax.study.subjects import Subject, Suite
from vrjax.study.tables import Bench, Tables
from vrjax.tasks.core import COLOURS, INDEX
from vrjax.tasks.maze import neighbours, paths_from

DISTANCES = (1, 2, 3)  # grid steps from the solution at which branch and placebo are compared
BETAS = np.geomspace(1e-2, 1e3, 101)  # among which a believer's sharpness is chosen
PLANTED = 0.5  # wrong path of the positive control: at this place among the wrong ones


class Films(NamedTuple):
    """Every path of each clip's maze, as films.

    Attributes:
        films: float32 [N, K, t, h, w, c] latents; mazes with fewer paths repeat their last one.
        mask: bool [N, K], paths that are there.
        right: bool [N, K], paths that end in a goal.
    """

    films: np.ndarray
    mask: np.ndarray
    right: np.ndarray


def drawable(layout: dict[str, Any]) -> dict[Any, Any]:
    """The paths from the start to every other cell that the film is long enough for, by end, in reading order."""
    reach = layout["speed"] * (layout["frames"] - 1)
    paths = paths_from(layout["maze"], tuple(layout["start"]))
    return {end: path for end, path in sorted(paths.items()) if 1 <= len(path) - 1 <= reach}


def every_path(suite: Suite) -> Films:
    """The films of `drawable` of every clip, in its order."""
    rows = []
    for clip in suite.clips:
        layout = clip.meta["layout"]
        paths, goals = drawable(layout), [tuple(goal) for goal in layout["goals"]]
        rows.append(([suite.task.film(layout, path) for path in paths.values()], [end in goals for end in paths]))
    most = max(len(films) for films, _ in rows)
    fill = lambda items, value: [*items, *[value] * (most - len(items))]
    films = np.stack([np.stack(fill(films, films[-1])) for films, _ in rows])
    mask = np.array([fill([True] * len(films), False) for films, _ in rows])
    return Films(COLOURS[films], mask, np.array([fill(right, False) for _, right in rows]))


def measure(bench: Bench, subject: Subject, suite: Suite, *, held: Suite, steps: int, shift: float) -> Tables:
    """Reads every estimate of every run, beside a believer whose sharpness is calibrated on validation clips.

    Args:
        held: the validation clips, of the same task.

    Returns:
        What `read` gives, without the weights; and the believer's `beta`.
    """
    how: dict[str, Any] = {"steps": steps, "shift": shift}
    beta = calibrate(read(bench, subject, held, beta=1.0, **how))
    found = read(bench, subject, suite, beta=beta, **how)
    return {name: value for name, value in found.items() if name != "weight"} | {"beta": np.array(beta)}


def read(bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float, beta: float) -> Tables:
    """Samples every instance from every noise and reads every clean estimate.

    Args:
        beta: sharpness of the believer.

    Returns:
        `choice` int8 [N, M, S], the path with the largest weight in the mixture of all paths that is nearest to the
        estimate, and `second`, the second largest weight; `nearest` int8, the single nearest path; `right` and
        `nearest_right` bool, whether it is the solution; `believer_right`, `believer_second`, of the believer;
        `weight` [N, M, K] of the first estimate, and `mask`, `truth` [N, K]. `branch_ink`, `placebo_ink` float16
        [N, M, S]: path colour, 0 to 1, in the last frame on the cells of `regions`, mean over the distances that have
        both, NaN where none has. Of the positive controls: `planted_right` of a run that is led to a wrong path in the
        first third of its steps and to the right one after; `doubt_branch_ink`, `doubt_placebo_ink` of an exact
        posterior that holds the solution and a way into a wrong branch (`doubted`), equally likely.
    """
    grid = grids.shifted(steps, shift=shift)
    every = every_path(suite)
    red = jnp.asarray(COLOURS[INDEX["red"]])
    wrong = np.argsort(every.right | ~every.mask, axis=1, kind="stable")  # wrong ones first
    place = (PLANTED * (every.mask & ~every.right).sum(1)).astype(int)
    aside = np.take_along_axis(wrong, place[:, None], 1)[:, 0]
    doubt = np.array([doubted(clip.meta["layout"]) for clip in suite.clips])
    zones = np.array([regions(clip.meta["layout"]) for clip in suite.clips])  # [N, 2, D, n, n]
    first, velocity = len(thirds(steps)[0]), subject.velocity

    def one(weights: Any, row: Any) -> Any:
        films, mask, model = row["films"], row["mask"], velocity(weights, row)
        alone, goal = lambda k: jnp.eye(films.shape[0])[k], row["right"].argmax()
        holds = lambda x0: readout.mixture_weights(x0, films, mask)
        second = lambda held: jax.lax.top_k(held, 2)[0][..., 1]
        cells = row["zones"].sum((-1, -2), keepdims=True)  # [2, D, 1, 1]
        both = (cells > 0).all(0)
        share = jnp.where(both, row["zones"] / jnp.maximum(cells, 1), 0).sum(1) / both.sum()  # NaN without any

        def drawn(x0: Any) -> Any:
            ink = readout.ink(x0[:, -1:], row["image"][0, ..., 1:], red)[:, 0, ::2, ::2]
            return jnp.einsum("syx,zyx->zs", ink, share)

        def run(noise: Any) -> Any:
            seen = lambda velocity: sample(velocity, noise, grid, record=Record(fields=("x0",))).x0
            x0 = seen(model)
            held = holds(x0)
            nearest = jnp.where(mask, readout.squared_distances(x0, films), jnp.inf).argmin(-1)
            branch, placebo = drawn(x0)  # each [S]
            out = {"choice": held.argmax(-1), "nearest": nearest, "second": second(held), "weight": held[0]}
            belief = holds(seen(null.velocity(films, believed(held[0], mask, row["beta"]))))
            led = Phase(first, null.velocity(films, alone(row["aside"])))
            planted = holds(seen((led, Phase(steps, null.velocity(films, alone(goal))))))
            torn = drawn(seen(null.velocity(films, (alone(goal) + alone(row["doubt"])) / 2)))
            out |= {"believer": belief.argmax(-1), "believer_second": second(belief), "planted": planted.argmax(-1)}
            ink = {
                "branch_ink": branch,
                "placebo_ink": placebo,
                "doubt_branch_ink": torn[0],
                "doubt_placebo_ink": torn[1],
            }
            return out | ink

        return jax.vmap(run)(row["noise"])

    rows = {k: suite.rows[k] for k in ("image", "text", "noise", "candidates", "prior")}
    rows |= {"films": every.films, "mask": every.mask, "right": every.right, "aside": aside, "doubt": doubt}
    rows |= {"zones": zones.astype(np.float32), "beta": np.full(len(zones), beta, np.float32)}
    out = bench.over(one, subject.weights, rows, f"{subject.name}: {suite.task.name}, all paths")
    right = lambda choice: np.take_along_axis(every.right, choice.reshape(len(choice), -1), 1).reshape(choice.shape)
    found = {
        "right" if k == "choice" else f"{k}_right": right(out[k]) for k in ("choice", "nearest", "believer", "planted")
    }
    found |= {k: out[k].astype(np.int8) for k in ("choice", "nearest")} | {"weight": out["weight"]}
    small = ("second", "believer_second", "branch_ink", "placebo_ink", "doubt_branch_ink", "doubt_placebo_ink")
    return found | {k: out[k].astype(np.float16) for k in small} | {"mask": every.mask, "truth": every.right}


def believed(weight: Any, mask: Any, beta: Any) -> Any:
    """What a believer of sharpness beta holds of each path: proportional to exp(beta weight)."""
    return jax.nn.softmax(jnp.where(mask, beta * weight, -jnp.inf))


def calibrate(table: Tables) -> float:
    """The sharpness under which the solutions of a table's (validation) clips were most likely, over its noises."""
    weight, mask, truth = (jnp.asarray(table[k]) for k in ("weight", "mask", "truth"))
    likely = lambda beta: jnp.where(truth[:, None], believed(weight, mask[:, None], beta), 0.0).sum(-1)
    return float(BETAS[np.argmax([float(jnp.log(likely(beta)).mean()) for beta in BETAS])])


def correction(right: np.ndarray) -> np.ndarray:
    """+1 where the forced choice [..., S] is wrong at the first step and right at the last, -1 the other way."""
    return right[..., -1].astype(float) - right[..., 0]


# --------------------------------------------------------------------------------------------------- what is drawn off


def branches(layout: dict[str, Any]) -> dict[Any, tuple[int, int]]:
    """Every cell off the solution: its steps from it by open passages, and the depth of the branch that it is on."""
    maze, start, goal = layout["maze"], tuple(layout["start"]), tuple(layout["goals"][0])
    ways, solution = neighbours(maze), paths_from(maze, start)[goal]
    away = {cell: (0, cell) for cell in solution}  # steps from the solution, and the branch's first cell
    queue = list(solution)
    for here in queue:
        for cell in ways[here]:
            if cell not in away:
                steps, root = away[here]
                away[cell] = steps + 1, cell if steps == 0 else root
                queue.append(cell)
    depth: dict[Any, int] = {}
    for steps, root in away.values():
        depth[root] = max(depth.get(root, 0), steps)
    return {cell: (steps, depth[root]) for cell, (steps, root) in away.items() if steps}


def doubted(layout: dict[str, Any]) -> int:
    """Which of `drawable` leaves the solution for three cells of a branch that is at least so deep: the first in
    reading order, or the way to the first cell off the solution where there is no such branch."""
    off, ends = branches(layout), list(drawable(layout))
    wrong = [k for k, end in enumerate(ends) if end in off]
    return next((k for k in wrong if off[ends[k]][0] == 3), wrong[0])


def regions(layout: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Cells off the solution, by grid distance from it: `(branch, placebo)`, bool [distance, n, n].

    Branch: cells at most 3 steps from the solution by open passages, on a branch that is at least 3 cells deep.
    Placebo: floor that is as near on the grid and more than 3 steps away by open passages: what separates it is walls.
    """
    n, solution = len(layout["maze"]), paths_from(layout["maze"], tuple(layout["start"]))[tuple(layout["goals"][0])]
    near = lambda c: min(abs(c[0] - y) + abs(c[1] - x) for y, x in solution)
    branch, placebo = (np.zeros((len(DISTANCES), n, n), bool) for _ in range(2))
    for cell, (steps, depth) in branches(layout).items():
        if near(cell) not in DISTANCES:
            continue
        if steps <= 3 and depth >= 3:
            branch[DISTANCES.index(near(cell))][cell] = True
        elif steps > 3:
            placebo[DISTANCES.index(near(cell))][cell] = True
    return branch, placebo


def off_path(table: Tables) -> np.ndarray:
    """Ink on wrong branches minus ink on the placebo at equal distance, mean over the first third of the steps and over
    the runs whose forced choice is the solution at all of them (a wrong answer that is drawn alone is not several). Of
    each clip, float [N]; NaN where there is no such run, or no distance that has both regions."""
    apart = early(table["branch_ink"]) - early(table["placebo_ink"])
    solution = table["right"][:, :, list(thirds(table["right"].shape[2])[0])].all(-1)
    there = solution & np.isfinite(apart)
    mean = np.where(there, apart, 0).sum(1) / np.maximum(there.sum(1), 1)
    return np.where(there.any(1), mean, np.nan)


def early(ink: np.ndarray) -> np.ndarray:
    """Mean over the first third of the steps, the last axis."""
    return ink[..., list(thirds(ink.shape[-1])[0])].astype(float).mean(-1)


def planted(table: Tables) -> np.ndarray:
    """The same difference of an exact posterior that holds the solution and a way into a wrong branch: [N, M]."""
    return early(table["doubt_branch_ink"]) - early(table["doubt_placebo_ink"])
