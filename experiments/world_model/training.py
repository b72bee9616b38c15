"""The worlds of a seed, each a run folder of its own that a killed study goes on in.

    trained = training.Trained(study, here.folder / "worlds", seed)
    w = trained.world(names.PLAIN)                           # trained on the first call, read ever after
    w = trained.world(names.further(names.PLAIN, names.SELF_FORCED))

Two worlds are trained from nothing, each by its recipe: `plain` and `slippery`. From each of them two trainings of
equally many updates go on: `longer` as before (teacher forcing), and `self-forced` on its own rollouts, by distribution
matching with the world itself as the teacher; they see the same films. The regressor goes on from the slippery world
without noise: it learns the mean frame. What goes on keeps its base's squares and reader.
"""

import dataclasses
import importlib
import json
import pathlib

import numpy as np

from experiments.world_model import names
from experiments.world_model.config import Trainings, WorldModel
from vrjax.files import writing
from vrjax.train.config import Optim
from vrjax.world.learned import distill, files, train
from vrjax.world.learned.distill import DistillConfig
from vrjax.world.learned.train import WorldConfig
from vrjax.world.learned.world import Learned

BASES = (names.PLAIN, names.SLIPPERY)
WARMUP = 20
MARKS = "marks"


def folder_of(seed: int, which: str) -> str:
    """The name of a training's run folder."""
    return names.part(seed, which.replace(", ", "-"))


def recipe_of(trainings: Trainings, base: str) -> WorldConfig:
    """How a base is trained: its recipe, with what is put in the place of numbers there."""
    name, least = trainings.of(base)
    found = importlib.import_module(f"configs.world_model.{name}").config()
    shift, low = found.objective.shift, found.objective.low
    lowest = shift * low / (1 + (shift - 1) * low)
    if least < lowest - 0.005:
        raise ValueError(f"world_model: lowest={least} of {base}, expected {lowest:.3f}, its recipe's, or more")
    batch = found.data if trainings.batch is None else dataclasses.replace(found.data, batch=trainings.batch)
    spec = dataclasses.replace(found.spec, steps=trainings.steps)
    instead = {"steps": trainings.updates, "reading": trainings.reading}
    given = {name: value for name, value in instead.items() if value is not None}
    return dataclasses.replace(found, data=batch, spec=spec, **given)


def config_of(trainings: Trainings, seed: int, base: str) -> WorldConfig:
    """Of a base of a seed: its recipe, with another seed, these odds of staying, and for so long."""
    recipe = recipe_of(trainings, base)
    options = dict(recipe.spec.options) | ({"stay": trainings.stay} if base == names.SLIPPERY else {})
    spec = dataclasses.replace(recipe.spec, options=tuple(options.items()))
    shorter = trainings.slippery if base == names.SLIPPERY else None
    steps = recipe.steps if shorter is None else shorter
    return dataclasses.replace(recipe, name=folder_of(seed, base), seed=seed, spec=spec, steps=steps, measured=0)


def longer(trainings: Trainings, seed: int, base: str, root: pathlib.Path) -> WorldConfig:
    """Teacher forcing that goes on from a base, with fresh films."""
    begun = config_of(trainings, seed, base)
    return dataclasses.replace(
        begun,
        name=folder_of(seed, names.further(base, names.LONGER)),
        start=str(root / begun.name / "world" / files.NETWORK),
        seed=fresh(seed),
        steps=trainings.extra,
        optim=Optim(kind="adamw", lr=trainings.lr, warmup=WARMUP),
    )


def regressor(trainings: Trainings, seed: int, root: pathlib.Path) -> WorldConfig:
    """The slippery world, from now on taught to answer at once."""
    begun = longer(trainings, seed, names.SLIPPERY, root)
    spec = dataclasses.replace(begun.spec, steps=1, regression=True, solver="euler", context=0.0)
    name = folder_of(seed, names.OF_REGRESSOR)
    return dataclasses.replace(begun, name=name, steps=trainings.regressor, spec=spec, context=0.0)


def self_forced(trainings: Trainings, seed: int, base: str, root: pathlib.Path) -> DistillConfig:
    """Self-forcing of a base, in as many denoising steps as it is asked in."""
    begun = config_of(trainings, seed, base)
    optim = Optim(kind="adamw", lr=trainings.forced_lr, b1=0.0, b2=0.99, warmup=WARMUP, weight_decay=0.0)
    return DistillConfig(
        name=folder_of(seed, names.further(base, names.SELF_FORCED)),
        model=begun.model,
        world=str(root / begun.name / "world"),
        few=begun.spec.steps,
        shift=begun.spec.shift,
        frames=begun.frames,
        seed=fresh(seed),
        steps=trainings.extra,
        data=begun.data,
        checkpoint=begun.checkpoint,
        dtype=begun.dtype,
        optim=optim,
        critic_lr=trainings.forced_lr,
        critic_steps=trainings.critic_steps,
        measured=0,
    )


def fresh(seed: int) -> int:
    """The seed of films that no base has seen."""
    return 1_000_000 + seed


@dataclasses.dataclass
class Trained:
    """Worlds of a seed by name.

    Attributes:
        study: sizes of the run.
        root: where run folders are.
        seed: of training.
    """

    study: WorldModel
    root: pathlib.Path
    seed: int
    _there: dict[str, Learned] = dataclasses.field(default_factory=dict, init=False, repr=False)

    def world(self, which: str) -> Learned:
        """The world called so: trained to its end, gone on with, or read.

        Raises:
            ValueError: there is none of that name.
        """
        if which not in self._there:
            self._there[which] = self._made(which)
        return self._there[which]

    def _made(self, which: str) -> Learned:
        trainings, (base, _, how) = self.study.trainings, which.partition(", ")
        if base not in BASES or how not in ("", *names.FURTHER, names.REGRESSOR):
            raise ValueError(f"world_model: no training is called {which!r}")
        if not how:
            return train.run(config_of(trainings, self.seed, base), root=self.root)
        self.world(base)
        if how == names.SELF_FORCED:
            return distill.run(self_forced(trainings, self.seed, base, self.root), root=self.root)
        if how == names.REGRESSOR:
            return train.run(regressor(trainings, self.seed, self.root), root=self.root)
        return train.run(longer(trainings, self.seed, base, self.root), root=self.root)

    def mark(self, *which: str) -> dict[str, int]:
        """Numbers made of the weights of worlds, for tables that are kept of them. They are kept too, one file a seed:
        tables that were measured elsewhere are brought here with it, and no world is trained again for them."""
        return {name: self._mark(name) for name in which}

    def _mark(self, which: str) -> int:
        file = self.root / f"{names.part(self.seed, MARKS)}.json"
        told = json.loads(file.read_text("utf-8")) if file.is_file() else {}
        here = self.root / folder_of(self.seed, which) / "world" / files.ABOUT
        if which not in told or here.is_file():
            found = int(self.world(which).mark)
            if told.get(which) != found:
                writing.json(file, told | {which: found})
            return found
        return told[which]


def curve(folder: pathlib.Path) -> np.ndarray:
    """The error of a training's updates over that of answering zero, as its rows tell it; float32."""
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    return np.array([row["relative"] for row in map(json.loads, lines) if "relative" in row], np.float32)
