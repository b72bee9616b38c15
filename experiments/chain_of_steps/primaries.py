"""The seven primaries: their parts, and how each is read from the tables of one training seed.

Judging (seeds as the unit) is `vrjax.study.claims`; `claims.json` says which measure, gate and control a claim has.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from experiments.chain_of_steps import disturbed, doses, goals, memory, paths, trajectories
from experiments.chain_of_steps.config import ChainOfSteps
from experiments.chain_of_steps.measuring import One, Part
from vrjax.reasoning.instruments.arms import thirds

AT = 0  # of `ChainOfSteps.edited`: the step of sigma 0.75 stands first
WORLDS = {"maze": "reasoner", "maze_goals": "reasoner", "entrant": "entrant"}


def parts(study: ChainOfSteps) -> tuple[Part, ...]:
    """What the primaries need, and the readouts of every world that the page shows."""
    long: dict[str, Any] = {"steps": study.steps, "shift": study.shift}
    few: dict[str, Any] = {"steps": study.few_steps, "shift": study.shift}
    some: dict[str, Any] = {"steps": study.disturbed_steps, "shift": study.shift}
    noises, edited = {"noises": study.noises}, {"at": study.edited}

    def part(name: str, n: int, measure: Callable[..., Any], given: Any, *also: str, **more: Any) -> Part:
        who = WORLDS[name.partition("/")[0]]
        return Part(name=name, specialist=who, instances=n, measure=measure, given=given, also=also, **more)

    everybody, networks = ("null", "untrained", "causal"), ("untrained", "causal")
    readouts = [
        part(f"{world}/trajectories", study.trajectories, trajectories.measure, long, *everybody, **noises)
        for world in WORLDS
    ]
    return (
        *readouts,
        part("maze/paths", study.paths, paths.measure, long, *networks, **noises, held=study.beliefs),
        part("entrant/memory", study.memory, memory.measure, long | edited, "null", "untrained", noises=2),
        part("maze_goals/disturbed", study.disturbed, disturbed.measure, some, *everybody),
        part("maze/goals", study.swapped, goals.measure, few, *networks),
        part("maze/doses", study.chosen, doses.measure, few, **noises, split="val"),
        part("maze/ensembles", study.ensembles, doses.measure, few, *networks, **noises),
    )


def _correction(one: One, name: str = "right") -> np.ndarray:
    return paths.correction(one["maze/paths"][name])


def _mean(values: np.ndarray) -> float:
    """Of those that are defined; NaN if none is."""
    there = values[np.isfinite(values)]
    return float(there.mean()) if there.size else float("nan")


def _goals(one: One, condition: int) -> float:
    """Share of usable pairs whose answer a swap flipped."""
    table = one["maze/goals"]
    return _mean(table["flip"][table["usable"], condition])


def _gain(one: One, arm: str, over: str = doses.SINGLE) -> np.ndarray:
    solved = doses.solved(one["maze/ensembles"])
    return solved[arm] - solved[over]


MEASURES: Mapping[str, Callable[[One], np.ndarray]] = {
    "correction": _correction,
    "correction_over_believer": lambda one: _correction(one) - _correction(one, "believer_right"),
    "off_path": lambda one: paths.off_path(one["maze/paths"]),
    "memory_agreement": lambda one: memory.agreement(one["entrant/memory"], "emptied", AT),
    "memory_lost": lambda one: memory.lost(one["entrant/memory"], "emptied", AT),
    "step_over_frame": lambda one: disturbed.step_over_frame(one["maze_goals/disturbed"]),
    "step_over_frame_readable": lambda one: disturbed.step_over_frame(one["maze_goals/disturbed"], lost=False),
    "peak_over_first": lambda one: disturbed.peak(one["maze_goals/disturbed"], 0),
    "peak_over_last": lambda one: disturbed.peak(one["maze_goals/disturbed"], 2),
    "early_blocks": lambda one: goals.early_blocks(one["maze/goals"]),
    "ensemble_single": lambda one: _gain(one, one["dose"]),
    "ensemble_temperature": lambda one: _gain(one, one["dose"], doses.COOL),
}
"""Name of a measure -> its values of one seed, [instance] or [instance, noise], NaN where it is not defined. "dose" of
one seed's tables is the name of the ensemble's arm that was chosen on validation."""


def _first_third(one: One) -> float:
    curve = disturbed.turned(one["maze_goals/disturbed"])
    return _mean(curve[:, list(thirds(curve.shape[1])[0])])


CONTROLS: Mapping[str, tuple[str, Callable[[One], float]]] = {
    "planted correction: net": ("model", lambda one: float(_correction(one, "planted_right").mean())),
    "planted doubt: ink on the branch minus behind walls": (
        "model",
        lambda one: _mean(paths.planted(one["maze/paths"])),
    ),
    "donor's states in both ends: exit has the donor's colour": (
        "model",
        lambda one: _mean(memory.donated(one["entrant/memory"], "ends", AT)),
    ),
    "donor's hidden frames: exit has not its own colour": (
        "model",
        lambda one: _mean(memory.moved(one["entrant/memory"], "hidden", AT)),
    ),
    "noise at a frame: frame-causal reasoners minus reasoners": (
        "causal",
        lambda one: (
            disturbed.at_frame(one["maze_goals/disturbed"]) - disturbed.at_frame(one["model"]["maze_goals/disturbed"])
        ),
    ),
    "null model: turned in the first third": ("null", _first_third),
    "all blocks swapped: flipped": ("model", lambda one: _goals(one, 1)),
    "no block swapped: flipped": ("model", lambda one: _goals(one, 0)),
    "x0 mean at all steps minus single": ("model", lambda one: float(_gain(one, doses.ESTIMATES).mean())),
}
"""What a control or dose is called in `claims.json` -> whose tables it is read from ("model", "null", "untrained",
"causal"), and its number of one seed."""
