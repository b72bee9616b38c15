"""The models of the study: trained pairs, or the shipped one; and their controls."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from experiments.chain_of_steps import training
from experiments.chain_of_steps.config import ChainOfSteps
from experiments.chain_of_steps.measuring import Model
from vrjax import files
from vrjax.models import wan
from vrjax.models.embedded import shipped
from vrjax.study.subjects import Subject
from vrjax.train import config as configs
from vrjax.train import loop
from vrjax.train.config import TrainConfig

NAMES = ("reasoner", "entrant")


def recipes(study: ChainOfSteps) -> dict[str, TrainConfig]:
    """The training config of each specialist that the study trains, the causal control among them."""
    if not study.training:
        return {}
    out = {name: configs.load(training.FOLDER / f"{name}.py") for name in NAMES}
    plain = out["reasoner"]
    return out | {"causal": training.block_causal(plain)}


def pair(study: ChainOfSteps, root: pathlib.Path, seed: int | None) -> tuple[dict[str, Model], dict[str, float]]:
    """The reasoner and the entrant of a training seed, trained now where they are not; the shipped ones for None.

    Returns:
        The models, and their solved-rates on the validation clips of training, by world.

    Raises:
        ValueError: a run folder holds something else.
    """
    if seed is None:
        there = {name: name if name in shipped.names() else shipped.knowing("maze") for name in NAMES}
        return {name: _model(shipped.path(folder), name) for name, folder in there.items()}, {}
    models: dict[str, Model] = {}
    rates: dict[str, float] = {}
    for name in NAMES:
        models[name], solved = _trained(recipes(study)[name], root, seed)
        rates |= {world: float(found["solved"]) for world, found in solved.items()}
    return models, rates


def causal(study: ChainOfSteps, root: pathlib.Path, seed: int, *, wait: bool) -> dict[str, Model]:
    """The frame-causal reasoner of a training seed; with `wait`, trained now where it is not, else nothing."""
    recipe = recipes(study)["causal"]
    if not wait and not (root / f"{recipe.name}-{seed}" / "results.json").exists():
        return {}
    found = _trained(recipe, root, seed)[0]
    return {"reasoner": dataclasses.replace(found, subject=dataclasses.replace(found.subject, kind="control"))}


def _trained(recipe: TrainConfig, root: pathlib.Path, seed: int) -> tuple[Model, Mapping[str, Any]]:
    folder = root / f"{recipe.name}-{seed}"
    try:
        found = training.train(recipe, [seed], root)[seed]
    except loop.Stopped as stopped:
        raise KeyboardInterrupt from stopped
    if (steps := found.get("steps")) != recipe.steps:
        raise ValueError(f"{folder}: trained for {steps} updates, expected {recipe.steps}; move it away")
    return _model(folder / "model", folder.name), found["solved"]


def _model(folder: pathlib.Path, name: str) -> Model:
    subject = Subject(name, wan.load_dit(folder))
    return Model(subject, files.fingerprint(folder), subject.weights.cfg)
