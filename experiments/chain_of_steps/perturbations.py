"""Noise at a step, at a frame, at random cells; level-matched re-noising; transplants; propagation maps."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.flow import Record, grids, sample
from vrjax.reasoning.instruments import cells, cka, perturb
from vrjax.study.subjects import Subject, Suite
from vrjax.study.tables import Bench, Tables

CLEAN = Record(fields=("x", "v", "x0"))


def sites(steps: int, frames: int, every: int, scored: tuple[int, ...] = (-1,)) -> tuple[dict[str, np.ndarray], int]:
    """The stack of tables of cells, one per condition, and the common dose.

    Conditions (the scored frames are excluded from all but `step`, which is the paper's protocol):
        `step`: all frames at one step, every `every`-th step. `frame`: one frame at all steps.
        `step_equal`: all frames but the scored ones, at one step: their number is the dose. `frame_minus`: one frame
        at as many spread steps, the same dose: the pair that is compared.
    Random cells of the same dose and the same levels as `frame_minus` are drawn per instance (`shuffled`).
    """
    whole = cells.allowed(steps, frames)
    window = cells.allowed(steps, frames, exclude_frames=scored)
    free = np.flatnonzero(window.any(0)).tolist()
    chosen, dose = np.arange(0, steps, every), len(free)
    spread = cells.spread_steps(dose, window) if dose <= steps else tuple(range(steps))
    stack = {
        "step": np.stack([cells.at_step(int(s), whole) for s in chosen]),
        "frame": np.stack([cells.at_frame(f, window) for f in free]),
        "step_equal": np.stack([cells.at_step(int(s), window) for s in chosen]),
        "frame_minus": np.stack([cells.at_frame(f, window, at=spread) for f in free]),
    }
    return stack, dose


def measure(bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float, every: int) -> Tables:
    """Every disturbance on every instance, noise 0, one program for all tables of cells and one for re-noising.

    Returns:
        `clean_answer`, `clean_solved` [N]; for each condition of `sites`, of `shuffled` and of `renoise`
        (level-matched, per step) `<condition>_answer` [N, site] and `_solved`; `cka` [N, inject step, later state]
        of `step` noise; `steps` and `dose`.
    """
    grid, model = grids.shifted(steps, shift=shift), subject.velocity
    frames = suite.rows["solution"].shape[1]
    stack, dose = sites(steps, frames, every, suite.task.decisive)
    names, counts = list(stack), [len(v) for v in stack.values()]
    tables = jnp.asarray(np.concatenate(list(stack.values())))
    window = cells.allowed(steps, frames, exclude_frames=suite.task.decisive)
    chosen = jnp.arange(0, steps, every)

    def one(weights: Any, row: Any) -> dict[str, Any]:
        velocity = model(weights, row)
        noise = row["noise"][0]
        clean = sample(velocity, noise, grid, record=CLEAN)
        base, shuffle = jax.random.split(row["key"])
        shuffled = jax.vmap(lambda k, c: cells.shuffle_frames(k, c, window))(
            jax.random.split(shuffle, counts[3]), tables[-counts[3] :]
        )

        def disturbed(cell, known=True):
            # Up to its first cell a disturbed run is the clean one: there the record answers instead of the network.
            here = perturb.replay(velocity, clean, grid, jnp.argmax(cell.any(1))) if known else velocity
            traj = sample(here, noise, grid, key=base, edit=perturb.replace(cell), record=Record(fields=("x",)))
            gone = cka.divergence(traj.x, clean.x, rows="positions")
            return traj.final, gone.cka

        def renoised(cell):
            here = perturb.replay(velocity, clean, grid, jnp.argmax(cell.any(1)))
            edit = perturb.renoise(cell, grid, clean.x0)
            return sample(here, noise, grid, key=base, edit=edit, record=Record(steps=())).final

        last, far = perturb.sweep(disturbed, tables, how="map")
        mixed = perturb.sweep(lambda cell: disturbed(cell, known=False)[0], shuffled, how="map")
        again = perturb.sweep(renoised, tables[: counts[0]], how="map")
        return {
            "clean": clean.final,
            "last": jnp.concatenate([last, mixed]),
            "renoise": again,
            "cka": far[: counts[0]],
        }

    rows = {k: suite.rows[k] for k in ("image", "text", "noise", "candidates", "prior", "key")}
    out = bench.over(one, subject.weights, rows, f"{subject.name}: {suite.task.name}, disturbed")
    result: Tables = {"cka": out["cka"], "steps": np.asarray(chosen), "dose": np.array(dose)}
    clean = suite.answers(out["clean"][:, None])[:, 0]
    result |= {"clean_answer": clean, "clean_solved": suite.solved(clean[:, None])[:, 0]}
    split = np.cumsum([*counts, counts[3]])[:-1]
    parts = dict(zip([*names, "shuffled"], np.split(suite.answers(out["last"]), split, axis=1), strict=True))
    parts["renoise"] = suite.answers(out["renoise"])
    for name, answer in parts.items():
        result |= {f"{name}_answer": answer, f"{name}_solved": suite.solved(answer)}
    return result


def transplants(bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float, every: int) -> Tables:
    """The state of a succeeding run put into a failing run of the same instance, step by step.

    Instances are those with a failing and a succeeding seed among their noises. The donor's state at step s replaces
    the recipient's; deterministic sampling then repeats the donor exactly, so the interesting number is the *half*
    transplant: only the frames after the first half, or only the last frame, of the donor's state.

    Returns:
        `solved` [n, mode, site], modes "all", "late half", "last frame"; `reverse_solved` the same with roles swapped;
        `instance` [n]; `steps` [site], and `of`, how many the run has. n may be 0.
    """
    grid, model = grids.shifted(steps, shift=shift), subject.velocity
    frames = suite.rows["solution"].shape[1]
    chosen = np.arange(0, steps, every)
    modes = [range(frames), range((frames + 1) // 2, frames), range(frames - 1, frames)]
    tables = np.zeros((len(modes), len(chosen), steps, frames), bool)
    for m, mode in enumerate(modes):
        for i, s in enumerate(chosen):
            tables[m, i, s, list(mode)] = True

    def plain(weights: Any, row: Any) -> Any:
        velocity = model(weights, row)
        return jax.vmap(lambda x: sample(velocity, x, grid, record=Record(steps=())).final)(row["noise"])

    solved = suite.solved(suite.answers(bench.over(plain, subject.weights, suite.rows, f"{subject.name}: pairs")))
    mixed = np.flatnonzero(solved.any(1) & ~solved.all(1))
    shape = (0, len(modes), len(chosen))
    result: Tables = {"instance": mixed, "steps": chosen, "of": np.array(steps)}
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
