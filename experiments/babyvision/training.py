"""The specialists of a seed, each a run folder of its own that a killed study goes on in.

    trained = training.Trained(study, here.folder / "models", seed)
    dit = trained.model("draw_maze")                             # trained on the first call, read ever after
    dit = trained.model("draw_maze", names.PREFERRED)

A specialist learns one subtype from nothing, by the recipe. From it two trainings of equally many updates go on:
`longer` as before, and `preferred` by direct preference optimisation, of right drawings against the specialist's own
where these are not right. A skill that goes on `from` another one's weights has a twin that began from nothing.
"""

import dataclasses
import importlib
import pathlib
from typing import Any

from experiments.babyvision import names
from experiments.babyvision.config import BabyVision
from vrjax.align import loop as preferring
from vrjax.align.config import AlignConfig, Preference, Reference, Rollout
from vrjax.models import family
from vrjax.study import marks
from vrjax.train import loop
from vrjax.train.config import Objective, Optim, TrainConfig

WARMUP = 20
LOWEST = 0.3
"""Noise level of preferences."""
ROLLOUT = 8
"""Denoising steps of a specialist's own drawings."""


def specialist(study: BabyVision, task: str, seed: int) -> TrainConfig:
    """A skill from nothing."""
    recipe = importlib.import_module(f"configs.babyvision.{study.trainings.recipe}").config()
    batch = recipe.data.batch if study.trainings.batch is None else study.trainings.batch
    data = dataclasses.replace(recipe.data, mix={task: 1.0}, batch=batch)
    validate = dataclasses.replace(recipe.validate, every=0, final_clips=0)
    steps = study.skill(task).updates
    name = folder_of(seed, task, names.SPECIALIST)
    return dataclasses.replace(recipe, name=name, seed=seed, data=data, validate=validate, steps=steps)


def folder_of(seed: int, task: str, which: str) -> str:
    """The name of a training's run folder."""
    return names.part(seed, task, which.replace(" ", "-"))


def config_of(study: BabyVision, task: str, which: str, seed: int, root: pathlib.Path) -> TrainConfig:
    """The run of a training by its name.

    Raises:
        ValueError: there is none of that name.
    """
    begun, trainings = specialist(study, task, seed), study.trainings
    if which == names.SPECIALIST:
        return begun
    model = lambda skill: str(root / folder_of(seed, skill, names.SPECIALIST) / "model")
    further: dict[str, Any] = {"name": folder_of(seed, task, which), "steps": trainings.extra}
    if which == names.SCRATCH:
        return dataclasses.replace(begun, **further)
    if which.startswith(names.transferred("")):
        return dataclasses.replace(begun, **further, start=model(which.removeprefix(names.transferred(""))))
    further |= {"start": model(task), "seed": fresh(seed)}
    further["optim"] = Optim(kind="adamw", lr=trainings.lr, warmup=WARMUP)
    if which == names.LONGER:
        return dataclasses.replace(begun, **further)
    if which != names.PREFERRED:
        raise ValueError(f"babyvision: no training is called {which!r}")
    # Errors of velocities are not weighted here; at low levels, where they are the picture's over sigma, is no pair.
    further["objective"] = Objective(shift=begun.objective.shift, drop=begun.objective.drop)
    fields = {f.name: getattr(begun, f.name) for f in dataclasses.fields(TrainConfig)} | further
    return AlignConfig(
        **fields,
        preference=Preference(loss="reg_dpo", beta=trainings.beta, anchor=1.0, low=LOWEST),
        reference=Reference(kind="frozen"),
        rollout=Rollout(source="base", steps=ROLLOUT, shift=study.drawings.shift, closest=trainings.closest),
    )


def fresh(seed: int) -> int:
    """The seed of puzzles that no specialist has seen."""
    return 1_000_000 + seed


@dataclasses.dataclass
class Trained:
    """Networks of a seed by name.

    Attributes:
        study: sizes of the run.
        root: where run folders are.
        seed: of training.
    """

    study: BabyVision
    root: pathlib.Path
    seed: int
    _there: dict[tuple[str, str], Any] = dataclasses.field(default_factory=dict, init=False, repr=False)

    def model(self, task: str, which: str = names.SPECIALIST) -> Any:
        """The network called so: trained to its end, gone on with, or read. Raises as `config_of`."""
        if (task, which) not in self._there:
            folder = self.folder(task, which)
            config = config_of(self.study, task, which, self.seed, self.root)
            if not (folder / "results.json").is_file():
                if config.start is not None:
                    begun = which.removeprefix(names.transferred("")) if "from " in which else task
                    self.model(begun)
                if isinstance(config, AlignConfig):
                    preferring.run(config, root=self.root)
                else:
                    loop.run(config, root=self.root)
            self._there[task, which] = family.of(config.model).load(folder / "model")
        return self._there[task, which]

    def folder(self, task: str, which: str) -> pathlib.Path:
        """The run folder of a training."""
        return self.root / folder_of(self.seed, task, which)

    def mark(self, task: str, *which: str) -> dict[str, str]:
        """Fingerprints of networks, for tables that are kept of them; see `vrjax.study.marks`."""
        file = self.root / f"{names.part(self.seed, task, 'marks')}.json"
        return marks.of(
            file, {name: self.folder(task, name) / "model" for name in which}, lambda n: self.model(task, n)
        )
