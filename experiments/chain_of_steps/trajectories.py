"""What the clean estimate says along the denoising steps: answers, exploration, ink, frames that settle, both doors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.flow import Record, grids, sample
from vrjax.reasoning.instruments import counts, layers, readout
from vrjax.study.subjects import FACTOR, Subject, Suite
from vrjax.study.tables import Bench, Tables
from vrjax.tasks import Entrant
from vrjax.tasks.core import COLOURS, INDEX, nearest


def measure(bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float) -> Tables:
    """Samples every instance from every noise and reads each step's clean estimate.

    Returns:
        Tables over [instance, seed, step]: `answer` (candidate shown, -1 none), `solved`, `effective` and
        `superposition` (see `readout.explore`); for mazes `ink_off` (cells of path colour off the solution, last
        frame); for the entrant those of `doors`. `settled` int8 [instance, seed, frame]: the step from which the frame
        reads the same; `score` [instance, seed] of the final video.
    """
    grid, velocity, task = grids.shifted(steps, shift=shift), subject.velocity, suite.task

    def one(weights: Any, row: Any) -> Any:
        v = velocity(weights, row)
        return jax.vmap(lambda x: sample(v, x, grid, record=Record(fields=("x0",))).x0)(row["noise"])

    rows = {k: suite.rows[k] for k in ("image", "text", "noise", "candidates", "prior")}
    x0 = bench.over(one, subject.weights, rows, f"{subject.name}: {task.name}, every step")
    palette = {colour: COLOURS[INDEX[colour]] for colour in task.colours}
    maze = task.name.startswith("maze")

    def read(_: None, row: Any) -> Any:
        return jax.vmap(lambda x0: _read(row, x0, palette, maze))(row["x0"])

    given = {k: suite.rows[k] for k in ("image", "solution", "candidates", "mask")} | {"x0": x0}
    out = bench.over(read, None, given, f"{subject.name}: {task.name}, read")
    answer = suite.answers(x0)
    # The last step of Euler lands on its own clean estimate, so the final video is the last estimate.
    video = x0[:, :, -1].repeat(FACTOR, axis=-3).repeat(FACTOR, axis=-2)
    score = [[task.score(c, v) for v in videos] for c, videos in zip(suite.clips, video, strict=True)]
    out |= doors(suite, x0) if isinstance(task, Entrant) else {}
    out |= {"answer": answer.astype(np.int8), "solved": suite.solved(answer), "score": np.array(score, np.float32)}
    return out | {"settled": settled(nearest(x0, task.colours))}


def _read(row: Any, x0: Any, palette: dict, maze: bool) -> dict[str, Any]:
    """The device-side readouts of one run."""
    solution = row["solution"]
    explored = readout.explore(x0, row["candidates"], row["mask"])
    out = {"effective": explored.effective, "superposition": explored.superposition}
    if maze:
        background, red = row["image"][0, ..., 1:], jnp.asarray(palette["red"])
        floor = jnp.square(background - jnp.asarray(palette["floor"])).sum(-1) < 1e-3
        out["ink_off"] = readout.off_solution_ink(x0[:, -1:], solution[-1:], background, red, floor[None])[:, 0]
    return out


def settled(rasters: np.ndarray) -> np.ndarray:
    """The step from which each frame reads the same to the end, every block of it.

    Args:
        rasters: [..., step, frame, h, w], palette indices.

    Returns:
        int8 [..., frame]; 0: from the first step on.
    """
    steps, frames = rasters.shape[-4:-2]
    flat = rasters.reshape(-1, steps, frames, rasters.shape[-2] * rasters.shape[-1])
    same = (flat == flat[:, -1:]).all(-1)  # [run, step, frame]
    return counts.commitment(np.moveaxis(same, 1, 2)).reshape(*rasters.shape[:-4], frames).astype(np.int8)


def doors(suite: Suite, x0: np.ndarray) -> Tables:
    """The entrant's two doors at every step, the entrance in frame 1 and the exit in the last frame.

    Args:
        suite: of the entrant.
        x0: clean estimates [instance, seed, step, t, h, w, c].

    Returns:
        `entrance`, `exit` int8 [instance, seed, step]: the nearest look, softly read (`Entrant.soft`); `there` bool
        [instance, seed, step, 2]: whether something stands in each door, that is, whether a look, or the blur of all
        of them, is nearer than the empty door.
    """
    task, found = suite.task, []
    assert isinstance(task, Entrant)
    for clip, runs in zip(suite.clips, np.asarray(x0, np.float32), strict=True):
        soft, layout = task.soft(clip, runs), clip.meta["layout"]
        films = np.stack([COLOURS[task.film(layout, look)] for look in (None, *task.looks)])
        films = np.concatenate([films, films[1:].mean(0, keepdims=True)])
        there = []
        for door, frame in zip(task.doors(layout), task.decisive, strict=True):
            away = (runs[..., None, frame, :, :, :] - films[:, frame])[..., door, :]
            there.append(np.square(away).sum((-1, -2)).argmin(-1) > 0)
        found.append((soft.entrance, soft.exit, np.stack(there, axis=-1)))
    entrance, leaving, there = (np.stack(each) for each in zip(*found, strict=True))
    return {"entrance": entrance.astype(np.int8), "exit": leaving.astype(np.int8), "there": there}


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
