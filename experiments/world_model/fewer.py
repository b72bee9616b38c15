"""MiniDrive in fewer denoising steps: a world asked in sixteen, in two and in one, and what was distilled from it.

    python -m experiments.world_model.fewer runs/world-drive-1/world runs/world-drive-student/world
    python -m experiments.world_model.fewer runs/world-drive-1/world runs/world-drive-student/world --write  # fewer.md

Fresh drives of the exact world are driven again from their first frames on, with what was done in them; the distance
between the poses of both cars is the error. A distilled world has the levels that it was distilled at, and no others.
"""

import functools
import sys
from typing import Any

import jax

from experiments.world_model import beside
from experiments.world_model.asking import asked
from vrjax.world.learned import library, strays
from vrjax.world.learned.world import Learned

STEPS = (16, 2, 1)
"""Denoising steps of a frame."""
AFTER = (1, 5, 10)
"""Steps of a drive, 0.1 s each."""
STANDS, READ = "a car that stands", "the film itself, read"


def films(w: Learned, count: int, key: Any) -> library.Films:
    """Fresh drives, of one frame more than the last of `AFTER`."""
    home: Any = w.spec.home
    draw = jax.jit(lambda keys: jax.lax.map(lambda key: library.film(home, key, AFTER[-1] + 1), keys))
    return draw(jax.random.split(key, count))


def arms(w: Learned) -> dict[str, Learned]:
    """A world as often as it can be asked, none at a level below the lowest of those that it is asked at by default."""
    if w.spec.solver == "renoise":
        return {f"distilled, {w.spec.steps} steps": w}
    return {f"{count} step{'s' * (count > 1)}": asked(w, steps=count, least=None) for count in STEPS}


def told(w: Learned, drives: library.Films, key: Any) -> dict[str, dict[str, float]]:
    """By arm, mean distances in m and between headings in degrees, over drives."""
    columns = lambda found, name: {
        f"{what} {after}": float(getattr(found, f"{name}{what}")[after - 1])
        for what in ("metres", "degrees")
        for after in AFTER
    }
    out: dict[str, dict[str, float]] = {}
    for arm, one in arms(w).items():
        found = strays.measured(one, drives, key, steps=AFTER[-1])
        out[arm] = columns(found, "")
        beneath = {STANDS: columns(found, "frozen_"), READ: columns(found, "read_")}
    return out | beneath


def measured(w: Learned, count: int, key: Any) -> dict[str, dict[str, float]]:
    """See `told`.

    Raises:
        ValueError: a world of something else than MiniDrive, or without an odometer.
    """
    if w.spec.world != "drive" or w.odometer is None:
        kind = f"{w.name} was learned from {w.spec.world}"
        raise ValueError(f"fewer: {kind}, expected a world that was learned from drive, with an odometer")
    drawn, chance = jax.random.split(key)
    return told(w, films(w, count, drawn), chance)


SAYS = beside.Beside(
    name="fewer",
    text=__doc__,
    title="MiniDrive in fewer denoising steps",
    said="{count} fresh drives, driven again in the learned world from their first frames on: the mean distance "
    "between the poses of the two cars.",
    columns={
        **{f"metres {after}": f"m after {after} step{'s' * (after > 1)}" for after in AFTER},
        **{f"degrees {after}": f"degrees after {after}" for after in AFTER},
    },
    measure=measured,
    count=128,
    key=4244,
    arm="asked in",
)
main = functools.partial(beside.main, SAYS)

if __name__ == "__main__":
    sys.exit(main())
