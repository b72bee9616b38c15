"""Noise at a step and at random cells, how far it reaches along the run, and states of another run put in."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.flow import Record, grids, sample
from vrjax.reasoning.instruments import cells, cka, perturb
from vrjax.study.subjects import Subject, Suite
from vrjax.study.tables import Bench, Tables

CLEAN = Record(fields=("x", "v", "x0"))


def sites(steps: int, frames: int, scored: tuple[int, ...] = (-1,)) -> dict[str, np.ndarray]:
    """Tables of cells [site, step, frame] of each condition.

    `step`: all frames at one step, the paper's protocol. `step_equal`: all frames but the scored ones, at one step:
    their number is the dose. `frame_minus`: one of those frames at as many spread steps, the same dose.
    """
    whole = cells.allowed(steps, frames)
    window = cells.allowed(steps, frames, exclude_frames=scored)
    free = np.flatnonzero(window.any(0)).tolist()
    spread = cells.spread_steps(len(free), window) if len(free) <= steps else tuple(range(steps))
    return {
        "step": np.stack([cells.at_step(s, whole) for s in range(steps)]),
        "step_equal": np.stack([cells.at_step(s, window) for s in range(steps)]),
        "frame_minus": np.stack([cells.at_frame(f, window, at=spread) for f in free]),
    }


def measure(bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float) -> Tables:
    """Noise at a step, and as many cells of it at random, on every instance; noise 0, one program.

    Returns:
        `clean` int8 [N], the answer of the undisturbed run (-1: none can be read); of the disturbed ones `step` and
        `step_equal` [N, S], see `sites`, and `shuffled` [N, F - 1]: the steps of `frame_minus`, at each another frame
        at random. `far` float32 [N, S]: 1 - CKA (rows: places) of the states after `step` to those of the undisturbed
        run, mean over all later ones.
    """
    grid, frames, model = grids.shifted(steps, shift=shift), suite.rows["solution"].shape[1], subject.velocity
    stack = {name: jnp.asarray(table) for name, table in sites(steps, frames, suite.task.decisive).items()}
    window = cells.allowed(steps, frames, exclude_frames=suite.task.decisive)

    def one(weights: Any, row: Any) -> dict[str, Any]:
        velocity, noise = model(weights, row), row["noise"][0]
        clean = sample(velocity, noise, grid, record=CLEAN)
        base, shuffle = jax.random.split(row["key"])
        spread = stack["frame_minus"]
        keys = jax.random.split(shuffle, len(spread))
        shuffled = jax.vmap(lambda k, c: cells.shuffle_frames(k, c, window))(keys, spread)

        def run(cell: Any) -> Any:
            # Up to its first cell a disturbed run is the clean one: there the record answers instead of the network.
            here = perturb.replay(velocity, clean, grid, jnp.argmax(cell.any(1)))
            edit = perturb.replace(cell)
            traj = sample(here, noise, grid, key=base, edit=edit, record=Record(fields=("x",)))
            return traj.final, jnp.nan_to_num(cka.divergence(traj.x, clean.x, rows="positions").cka)

        every = jnp.concatenate([stack["step"], stack["step_equal"], shuffled])
        final, far = perturb.sweep(run, every, how="map")
        reach = cka.sensitivity(far[:steps], jnp.arange(steps))
        return {"final": jnp.concatenate([clean.final[None], final]), "far": reach}

    rows = {k: suite.rows[k] for k in ("image", "text", "noise", "candidates", "prior", "key")}
    out = bench.over(one, subject.weights, rows, f"{subject.name}: {suite.task.name}, noise at steps and cells")
    answers = np.split(suite.answers(out["final"]).astype(np.int8), np.cumsum([1, steps, steps]), axis=1)
    found = dict(zip(("clean", "step", "step_equal", "shuffled"), answers, strict=True))
    return found | {"clean": answers[0][:, 0], "far": out["far"].astype(np.float32)}


def transplants(bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float) -> Tables:
    """The state of a succeeding run put into a failing run of the same instance, step by step.

    Instances are those with a failing and a succeeding seed among their noises. The donor's state at step s replaces
    the recipient's; deterministic sampling then repeats the donor exactly, so the interesting number is the *half*
    transplant: only the frames after the first half, or only the last frame, of the donor's state.

    Returns:
        `solved` [n, mode, site], modes "all", "late half", "last frame"; `reverse_solved` the same with roles swapped;
        `instance` [n]. A site is a step. n may be 0.
    """
    grid, model = grids.shifted(steps, shift=shift), subject.velocity
    frames = suite.rows["solution"].shape[1]
    modes = [range(frames), range((frames + 1) // 2, frames), range(frames - 1, frames)]
    tables = np.zeros((len(modes), steps, steps, frames), bool)
    for m, mode in enumerate(modes):
        for s in range(steps):
            tables[m, s, s, list(mode)] = True

    def plain(weights: Any, row: Any) -> Any:
        velocity = model(weights, row)
        return jax.vmap(lambda x: sample(velocity, x, grid, record=Record(steps=())).final)(row["noise"])

    solved = suite.solved(suite.answers(bench.over(plain, subject.weights, suite.rows, f"{subject.name}: pairs")))
    mixed = np.flatnonzero(solved.any(1) & ~solved.all(1))
    shape = (0, len(modes), steps)
    result: Tables = {"instance": mixed}
    if not len(mixed):
        return result | {"solved": np.zeros(shape, bool), "reverse_solved": np.zeros(shape, bool)}
    good, bad = solved[mixed].argmax(1), (~solved[mixed]).argmax(1)
    rows = {k: v[mixed] for k, v in suite.rows.items() if k not in ("noise", "key")}
    rows["good"], rows["bad"] = suite.rows["noise"][mixed, good], suite.rows["noise"][mixed, bad]

    def swapped(weights: Any, row: Any) -> Any:
        velocity = model(weights, row)

        def into(recipient, donor):
            states = sample(velocity, donor, grid, record=Record(fields=("x",))).x
            own = sample(velocity, recipient, grid, record=CLEAN)

            def run(c):
                here = perturb.replay(velocity, own, grid, jnp.argmax(c.any(1)))
                edit = perturb.transplant(c, states)
                return sample(here, recipient, grid, edit=edit, record=Record(steps=())).final

            return perturb.sweep(run, jnp.asarray(tables.reshape(-1, steps, frames)), how="map")

        return {"good": into(row["bad"], row["good"]), "bad": into(row["good"], row["bad"])}

    out = bench.over(swapped, subject.weights, rows, f"{subject.name}: transplants")
    here = Suite(suite.task, tuple(suite.clips[i] for i in mixed), rows, suite.films[mixed])
    read = lambda a: here.solved(here.answers(a)).reshape(len(mixed), *shape[1:])
    return result | {"solved": read(out["good"]), "reverse_solved": read(out["bad"])}
