"""What the clean estimate says along the denoising steps: answers, exploration, ink, contents, memory."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.flow import Record, grids, sample
from vrjax.reasoning.instruments import readout
from vrjax.study.clips import Suite
from vrjax.study.subjects import Subject
from vrjax.study.tables import Bench, Tables
from vrjax.tasks.core import COLOURS, INDEX


def measure(bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float) -> Tables:
    """Samples every instance from every noise and reads each step's clean estimate.

    Returns:
        Tables over [instance, seed, step]: `answer` (candidate shown by the last frame, -1 none), `solved`,
        `effective` and
        `superposition` and `residual` (see `readout.explore`), `still` and `moving` (`readout.still_and_moving`);
        for mazes `ink_off` and `ink_on` (cells of path colour off and on the solution, last frame); for the occluder
        `ghost` and `back` (`readout.memory` while hidden and on return); `score` [instance, seed] of the final video;
        `frames_commit` [instance, seed, frame]: the step from which a frame of the estimate never changes its reading.
    """
    grid = grids.shifted(steps, shift=shift)
    world = suite.world.name

    def one(weights: Any, row: Any) -> Any:
        velocity = subject.velocity(weights, row)
        return jax.vmap(lambda x: sample(velocity, x, grid, record=Record(fields=("x0",))).x0)(row["noise"])

    rows = {k: suite.rows[k] for k in ("image", "text", "noise", "candidates", "prior")}
    key = ("trajectories", subject.velocity, suite.rows["candidates"].shape[1], steps, shift)
    x0 = bench.over(one, subject.weights, rows, f"{subject.name}: {world}, every step", key)
    read = readings(suite, steps)
    given = {k: suite.rows[k] for k in ("image", "solution", "candidates", "mask")} | {"x0": x0}
    given |= _hidden(suite) if world == "occluder" else {}
    out = bench.over(
        lambda _, row: read(row), None, given, f"{subject.name}: {world}, read", ("readings", world, steps)
    )
    answer = suite.answers(x0[:, :, :, -1])
    # The last step of Euler lands on its own clean estimate, so the final video is the last estimate.
    video = x0[:, :, -1].repeat(4, axis=-3).repeat(4, axis=-2)
    score = [[suite.world.score(c, v) for v in videos] for c, videos in zip(suite.clips, video, strict=True)]
    return out | {"answer": answer, "solved": suite.solved(answer), "score": np.array(score)}


def readings(suite: Suite, steps: int) -> Callable[[Any], dict[str, Any]]:
    """The device-side readouts of one instance, over all its seeds."""
    world, palette = suite.world.name, jnp.asarray(COLOURS[[INDEX[c] for c in suite.world.colours]])
    blank = jnp.asarray(suite.rows["solution"][:, 0].mean(0))

    def of_seed(row: Any, x0: Any) -> dict[str, Any]:
        solution = row["solution"]
        explored = readout.explore(x0, row["candidates"], row["mask"])
        content = readout.still_and_moving(x0, solution, blank)
        reading = jnp.square(x0[..., None, :] - palette).sum(-1).argmin(-1)  # [S, t, h, w] palette index
        same = (reading == reading[-1:]).all((-2, -1))
        out = {
            "effective": explored.effective,
            "superposition": explored.superposition,
            "residual": explored.residual,
            "still": content.still,
            "moving": content.moving,
            "frames_commit": jnp.where(same, 0, jnp.arange(1, steps + 1)[:, None]).max(0),
        }
        if world.startswith("maze"):
            background, red = row["image"][0, ..., 1:], palette[suite.world.colours.index("red")]
            floor = jnp.square(background - palette[suite.world.colours.index("floor")]).sum(-1) < 1e-3
            drawn = readout.ink(x0[:, -1:], background, red)[:, 0] * floor
            truth = readout.ink(solution[-1:], background, red)[0] > 0.5
            out["ink_on"], out["ink_off"] = (drawn * truth).sum((-2, -1)), (drawn * ~truth).sum((-2, -1))
        if world == "occluder":
            out["ghost"] = readout.memory(x0, row["ghost"], solution, row["hidden"]).coefficient
            out["back"] = readout.memory(x0, solution, row["gone"], row["returned"]).coefficient
        return out

    return lambda row: jax.vmap(lambda x0: of_seed(row, x0))(row["x0"])


def _hidden(suite: Suite) -> dict[str, np.ndarray]:
    """Where and what is out of sight, per clip: the film with the hidden object drawn in front of the screen
    (`ghost`), the
    cells and frames in which it is wholly hidden (`hidden`), the film in which it never returns (`gone`) and the
    cells in which it returns (`returned`)."""
    ghosts, hidden, gone = [], [], []
    for clip, films, solution in zip(suite.clips, suite.rows["candidates"], suite.rows["solution"], strict=True):
        symbols = suite.world.symbols(clip)
        where = (symbols["agent"] * symbols["hidden"]).astype(bool).repeat(2, axis=1).repeat(2, axis=2)
        colour = COLOURS[INDEX[clip.meta["layout"]["colour"]]]
        ghosts.append(np.where(where[..., None], colour, solution))
        hidden.append(where)
        gone.append(films[[label.endswith("never comes out") for label in suite.world.labels(clip)].index(True)])
    ghost, absent = np.stack(ghosts).astype(np.float32), np.stack(gone)
    returned = (np.abs(suite.rows["solution"] - absent) > 1e-6).any(-1)
    return {"ghost": ghost, "hidden": np.stack(hidden), "gone": absent, "returned": returned}
