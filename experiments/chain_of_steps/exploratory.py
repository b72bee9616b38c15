"""The exploratory list: what is measured beside the primaries, how each number is read, and the tables of all of it.

Claims on these are registered in `claims.json` with the role "exploratory". What the review withdrew stays away: CKA
without its last third, faded ink without a placebo, a ghost on a screen that the first frame shows, swaps of the first
step alone without their dose.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.chain_of_steps import (
    ensembles,
    layers,
    lengths,
    listings,
    perturbations,
    readings,
    swaps,
)
from experiments.chain_of_steps.config import ChainOfSteps
from experiments.chain_of_steps.measuring import One, Part


def parts(study: ChainOfSteps) -> tuple[Part, ...]:
    """What is measured of every training seed beside `primaries.parts`: nothing, where no instances are explored."""
    if not study.explored:
        return ()
    networks, causal = ("untrained", "causal"), ("causal",)
    mazes: dict[str, Any] = {"specialist": "reasoner", "instances": study.explored}
    few: dict[str, Any] = {**mazes, "given": {"steps": study.few_steps, "shift": study.shift}}
    long: dict[str, Any] = {**mazes, "noises": study.noises, "also": networks}
    full: dict[str, Any] = {**long, "given": {"steps": study.steps, "shift": study.shift}}
    steps: dict[str, Any] = {**long, "measure": lengths.measure, "given": {"shift": study.shift}}
    noise: dict[str, Any] = {**mazes, "given": {"steps": study.disturbed_steps, "shift": study.shift}}
    pairs: dict[str, Any] = {**few, "instances": study.explored_swaps}
    rivals: dict[str, Any] = {**few, "instances": study.ensembles, "noises": study.noises}
    # A pilot looks at validation clips only; mazes of other sizes and lengths count as test.
    splits: tuple[str, ...] = ("long", "large") if study.split == "test" else ()
    return (
        Part(name="maze/lengths", **steps),
        *(Part(name=f"maze/{there}", split=there, **steps) for there in splits),
        Part(name="maze/frames", measure=lengths.fewer, **full),
        Part(name="maze/transplants", measure=perturbations.transplants, noises=study.noises, also=causal, **noise),
        Part(name="maze_goals/perturbations", measure=perturbations.measure, also=("null", "causal"), **noise),
        Part(name="maze/energy", measure=layers.energy, also=networks, **few),
        Part(name="maze/ablation", measure=layers.ablation, also=networks, **few),
        Part(name="maze/probes", measure=layers.probed, also=causal, **few),
        Part(name="maze/swaps", measure=swaps.measure, also=causal, **pairs),
        Part(name="maze/rivals", measure=ensembles.measure, also=causal, **rivals),
    )


MEASURES: dict[str, Callable[[One], np.ndarray]] = {
    "prevalence": readings.held,
    "superposition": readings.superposition,
    "fades": readings.fades,
    "perception": readings.perception,
    "together": readings.together,
    "over_cells": readings.over_cells,
    "saved": readings.saved,
    "renoised": readings.renoised,
    "fewer_frames": readings.fewer_frames,
    "steps_for_length": readings.steps_for_length,
    "foreground": readings.foreground,
    "first_step": readings.first_step,
    "ablated": readings.ablated,
    "answer_gain": readings.answer_gain,
    "over_majority": readings.over_majority,
    "noise_free": readings.noise_free,
}


def _flipped(one: One, dose: int, condition: int) -> float:
    """Share of the usable pairs flipped by a swap of the stream."""
    table = one["maze/swaps"]
    flipped = table["stream_flip"][table["usable"], dose, condition]
    return float(flipped.mean()) if len(flipped) else float("nan")


def _repeated(one: One) -> float:
    """Share solved by a failing run that is given a succeeding run's whole state: it must repeat its donor."""
    solved = one["maze/transplants"]["solved"][:, 0]
    return float(solved.mean()) if len(solved) else float("nan")


CONTROLS: dict[str, tuple[str, Callable[[One], float]]] = {
    "all blocks swapped in all steps: flipped": ("model", lambda one: _flipped(one, -1, 1)),
    "a succeeding run's whole state: solved": ("model", _repeated),
}


def tables(study: Any, measured: Any) -> dict[str, list[dict[str, Any]]]:
    """Every table of which something was measured, by its title."""
    found = {title: make(measured) for title, make in listings.TITLES.items()}
    return {title: rows for title, rows in found.items() if rows}
