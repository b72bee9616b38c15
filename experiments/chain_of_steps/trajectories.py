"""What the clean estimate says along the denoising steps: answers, exploration, ink, contents, memory."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.flow import Record, grids, sample
from vrjax.reasoning.instruments import layers, readout
from vrjax.study.subjects import FACTOR, Subject, Suite
from vrjax.study.tables import Bench, Tables
from vrjax.tasks.core import COLOURS, INDEX


def measure(bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float) -> Tables:
    """Samples every instance from every noise and reads each step's clean estimate.

    Returns:
        Tables over [instance, seed, step]: `answer` (candidate shown, -1 none), `solved`, `effective`
        and `superposition` (see `readout.explore`), `still` and `moving` (`readout.still_and_moving`); for mazes
        `ink_off` (cells of path colour off the solution, last frame); for the occluder `ghost` (`readout.memory` while
        hidden); `score` [instance, seed] of the final video.
    """
    grid, velocity, task = grids.shifted(steps, shift=shift), subject.velocity, suite.task

    def one(weights: Any, row: Any) -> Any:
        v = velocity(weights, row)
        return jax.vmap(lambda x: sample(v, x, grid, record=Record(fields=("x0",))).x0)(row["noise"])

    rows = {k: suite.rows[k] for k in ("image", "text", "noise", "candidates", "prior")}
    x0 = bench.over(one, subject.weights, rows, f"{subject.name}: {task.name}, every step")
    palette = {colour: COLOURS[INDEX[colour]] for colour in task.colours}
    maze, occluder = task.name.startswith("maze"), task.name == "occluder"

    def read(blank: Any, row: Any) -> Any:
        return jax.vmap(lambda x0: _read(row, x0, blank, palette, maze, occluder))(row["x0"])

    given = {k: suite.rows[k] for k in ("image", "solution", "candidates", "mask")} | {"x0": x0}
    given |= _hidden(suite) if occluder else {}
    blank = jnp.asarray(suite.rows["solution"][:, 0].mean(0))
    out = bench.over(read, blank, given, f"{subject.name}: {task.name}, read")
    answer = suite.answers(x0)
    # The last step of Euler lands on its own clean estimate, so the final video is the last estimate.
    video = x0[:, :, -1].repeat(FACTOR, axis=-3).repeat(FACTOR, axis=-2)
    score = [[task.score(c, v) for v in videos] for c, videos in zip(suite.clips, video, strict=True)]
    return out | {"answer": answer, "solved": suite.solved(answer), "score": np.array(score)}


def _read(row: Any, x0: Any, blank: Any, palette: dict, maze: bool, occluder: bool) -> dict[str, Any]:
    """The device-side readouts of one run."""
    solution = row["solution"]
    explored = readout.explore(x0, row["candidates"], row["mask"])
    content = readout.still_and_moving(x0, solution, blank)
    out = {"effective": explored.effective, "superposition": explored.superposition}
    out |= {"still": content.still, "moving": content.moving}
    if maze:
        background, red = row["image"][0, ..., 1:], jnp.asarray(palette["red"])
        floor = jnp.square(background - jnp.asarray(palette["floor"])).sum(-1) < 1e-3
        out["ink_off"] = readout.off_solution_ink(x0[:, -1:], solution[-1:], background, red, floor[None])[:, 0]
    if occluder:
        out["ghost"] = readout.memory(x0, row["ghost"], solution, row["hidden"]).coefficient
    return out


def _hidden(suite: Suite) -> dict[str, np.ndarray]:
    """What is out of sight, per clip: the film with the hidden object drawn in front of the screen (`ghost`), and the
    cells and frames in which it is wholly hidden (`hidden`)."""
    ghosts, hidden = [], []
    for clip, solution in zip(suite.clips, suite.rows["solution"], strict=True):
        symbols = suite.task.symbols(clip)
        where = (symbols["agent"] * symbols["hidden"]).astype(bool).repeat(2, axis=1).repeat(2, axis=2)
        ghosts.append(np.where(where[..., None], COLOURS[INDEX[clip.meta["layout"]["colour"]]], solution))
        hidden.append(where)
    return {"ghost": np.stack(ghosts).astype(np.float32), "hidden": np.stack(hidden)}


def showcase(bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float) -> Tables:
    """Whole clean estimates and layer energies of a few clips, for looking at: `x0` [n, seed, S, t, h, w, 3], `energy`
    [n, seed, S, block, frame]."""
    grid = grids.shifted(steps, shift=shift)
    frames = suite.rows["solution"].shape[1]
    model, energy = subject.velocity, layers.energy(frames) if subject.layers else None

    def one(weights: Any, row: Any) -> Any:
        def run(noise):
            taps = {"block.*": energy} if energy else {}
            traj = sample(model(weights, row, taps), noise, grid, record=Record(fields=("x0",)))
            return {"x0": traj.x0} | ({"energy": traj.taps["block.*"]} if energy else {})

        return jax.vmap(run)(row["noise"])

    rows = {k: suite.rows[k] for k in ("image", "text", "noise")}
    return bench.over(one, subject.weights, rows, f"{subject.name}: {suite.task.name}, to look at")
