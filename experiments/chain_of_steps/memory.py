"""What is remembered of an object that no condition describes: readouts of both doors, and edits of some frames.

Agreement of the two doors alone is no test of a mechanism: whoever learned the joint law has it, an exact posterior
over all looks too. So the entry is taken away in the middle of sampling: if the exit still decides what is drawn at the
entry again, both ends agree in a *new* choice and the own colour is lost; independent ends would agree by chance.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from vrjax.flow import Record, grids, sample
from vrjax.reasoning.instruments import perturb
from vrjax.study.subjects import Subject, Suite
from vrjax.study.tables import Bench, Tables
from vrjax.tasks import Entrant
from vrjax.tasks.entrant import Ends, stages

CLEAN = Record(fields=("x", "v", "x0"))
DONATED = ("entry", "exit", "hidden", "ends")  # groups of frames whose states are another run's
EDITS = ("emptied", *DONATED)


def groups(frames: int) -> dict[str, list[int]]:
    """The frames of each group that is edited."""
    hidden, out = stages(frames)
    entry, leaving = list(range(1, hidden)), list(range(out, frames))
    return {
        "emptied": entry,
        "entry": entry,
        "exit": leaving,
        "hidden": list(range(hidden, out)),
        "ends": entry + leaving,
    }


def measure(
    bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float, at: Sequence[int] = (10,)
) -> Tables:
    """Two clean runs of every clip, and runs from the first noise with one group of frames edited at one step.

    `emptied`: the entry's frames become the first frame, re-noised to the level of the step. The other `EDITS`: the
    frames of that group become those of the run from the second noise.

    Args:
        suite: of the entrant, with at least two noises.
        at: steps at which to edit, each in runs of its own.

    Returns:
        Looks read at both doors (numbers in `Entrant.looks`, -1 unreadable), each as `<run>_entrance` and `<run>_exit`:
        `clean`, `donor` [N] exact, `<edit>` [N, at] exact; `<edit>_ink` and `clean_ink` the lenient inks; `soft` and
        `lenient` [N, S] of the first run's clean estimates. `solved` [N, 2] of the two clean runs; `colours` [K], the
        ink of each look; `at`.
    """
    task = suite.task
    if not isinstance(task, Entrant):
        raise ValueError(f"memory: expected clips of the entrant, found {task.name}")
    grid, frames = grids.shifted(steps, shift=shift), suite.rows["solution"].shape[1]
    cells = {name: np.zeros((len(at), steps, frames), bool) for name in EDITS}
    for name, chosen in groups(frames).items():
        for i, step in enumerate(at):
            cells[name][i, step, chosen] = True
    model, donated = subject.velocity, jnp.asarray(np.concatenate([cells[name] for name in DONATED]))

    def one(weights: Any, row: Any) -> Any:
        velocity, noise = model(weights, row), row["noise"]
        clean, donor = (sample(velocity, noise[i], grid, record=CLEAN) for i in (0, 1))
        scene = jnp.broadcast_to(row["image"][0, ..., 1:], clean.x0.shape)

        def run(cell: Any, edit: Any) -> Any:
            here = perturb.replay(velocity, clean, grid, jnp.argmax(cell.any(1)))
            return sample(here, noise[0], grid, key=row["key"], edit=edit(cell), record=Record(steps=())).final

        empty = lambda cell: run(cell, lambda c: perturb.renoise(c, grid, scene))
        donate = lambda cell: run(cell, lambda c: perturb.transplant(c, donor.x))
        emptied = perturb.sweep(empty, jnp.asarray(cells["emptied"]), how="map")
        others = perturb.sweep(donate, donated, how="map")
        return {"x0": clean.x0, "donor": donor.final, "edited": jnp.concatenate([emptied, others])}

    rows = {k: suite.rows[k] for k in ("image", "text", "noise", "candidates", "prior", "key")}
    out = bench.over(one, subject.weights, rows, f"{subject.name}: {task.name}, memory")
    edited = out["edited"].reshape(len(suite.clips), len(EDITS), len(at), *out["edited"].shape[2:])
    found: dict[str, list[Ends]] = {}
    for clip, x0, donor, runs in zip(suite.clips, out["x0"], out["donor"], edited, strict=True):
        seen = {"clean": task.exact(clip, x0[-1]), "donor": task.exact(clip, donor)}
        seen |= {"clean_ink": task.lenient(clip, x0[-1])}
        seen |= {"soft": task.soft(clip, x0), "lenient": task.lenient(clip, x0)}
        for name, finals in zip(EDITS, runs, strict=True):
            seen |= {name: task.exact(clip, finals), f"{name}_ink": task.lenient(clip, finals)}
        for name, ends in seen.items():
            found.setdefault(name, []).append(ends)
    tables: Tables = {"at": np.array(at), "colours": np.arange(len(task.looks)) // task.shapes}
    for name, ends in found.items():
        tables[f"{name}_entrance"] = np.array([e.entrance for e in ends])
        tables[f"{name}_exit"] = np.array([e.exit for e in ends])
    whole = lambda name: (tables[f"{name}_entrance"] == tables[f"{name}_exit"]) & (tables[f"{name}_exit"] >= 0)
    return tables | {"solved": np.stack([whole("clean"), whole("donor")], axis=1)}


# ---------------------------------------------------------------------------------------------------------- statistics


def ink(table: Tables, name: str) -> np.ndarray:
    """Colours of a run's looks, -1 unreadable."""
    looks = table[name]
    return np.where(looks >= 0, table["colours"][looks], -1)


def pairs(table: Tables) -> np.ndarray:
    """Clips whose two clean runs are both solved and of different colours: those on which a donor can be told apart."""
    return table["solved"].all(1) & (ink(table, "clean_exit") != ink(table, "donor_exit"))


def agreement(table: Tables, edit: str, at: int, kept: np.ndarray | None = None) -> np.ndarray:
    """Whether both doors have one colour after an edit, minus the chance of it: the share of the other clips' entries
    that have the exit's colour. Per clip; NaN where an end is unreadable, or the clip is not among `kept` (by default
    those whose clean run is solved)."""
    enters, leaves = (ink(table, f"{edit}_{end}")[:, at] for end in Ends._fields)
    kept = table["solved"][:, 0] if kept is None else kept
    usable = kept & (enters >= 0) & (leaves >= 0)
    same = np.asarray((enters[:, None] == leaves[None]) & usable[:, None] & usable[None])  # [entry of, exit of]
    chance = (same.sum(0) - np.diag(same)) / max(usable.sum() - 1, 1)
    return np.where(usable, np.diag(same) - chance, np.nan)


def same_colour(table: Tables, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Of a reading at every step, [N, S] each: whether both doors have one colour (0 or 1, unreadable: 0), and the
    chance of it, the share of the other clips' entries that have the exit's colour. NaN in the second with one clip."""
    enters, leaves = (ink(table, f"{name}_{end}") for end in Ends._fields)
    same = (enters[:, None] == leaves[None]) & (enters[:, None] >= 0) & (leaves[None] >= 0)  # [entry of, exit of, S]
    own, others = np.einsum("iis->is", same).astype(float), len(same) - 1
    return own, (same.sum(0) - own) / others if others else np.full(own.shape, np.nan)


def lost(table: Tables, edit: str, at: int) -> np.ndarray:
    """Whether the colour at the exit is another one than in the undisturbed run. Per clip; NaN as in `agreement`."""
    enters, leaves = (ink(table, f"{edit}_{end}")[:, at] for end in Ends._fields)
    usable = table["solved"][:, 0] & (enters >= 0) & (leaves >= 0)
    return np.where(usable, leaves != ink(table, "clean_exit"), np.nan)


def donated(table: Tables, edit: str, at: int) -> np.ndarray:
    """Whether the exit has the donor's colour after its states were put in. Per clip of `pairs`; unreadable: no."""
    same = ink(table, f"{edit}_exit")[:, at] == ink(table, "donor_exit")
    return np.where(pairs(table), same, np.nan)


def moved(table: Tables, edit: str, at: int) -> np.ndarray:
    """Whether the exit has another colour than its own, or none that can be read, after a donor's states were put in.
    Per clip of `pairs`."""
    return np.where(pairs(table), ink(table, f"{edit}_exit")[:, at] != ink(table, "clean_exit"), np.nan)


def unreadable(table: Tables, edit: str, at: int) -> float:
    """Share of the clips with a solved clean run of which an end cannot be read after an edit."""
    ends = np.stack([table[f"{edit}_{end}"][:, at] for end in Ends._fields])
    kept = np.flatnonzero(table["solved"][:, 0])
    return float((ends[:, kept] < 0).any(0).mean()) if len(kept) else float("nan")
