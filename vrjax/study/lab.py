"""A model and what it was trained on, in one hand.

lab = vrjax.load("worlds")                             # a shipped model, or a folder such as runs/wide/model
lab = vrjax.load("pick")                               # the shipped model that knows a task best
lab.tasks(), lab.sites()
run = lab.sample("maze", clip=7, seeds=4)              # every step of four seeds
run.verdicts()[-1]                                     # {"seed": 3, "step": 19, "answer": ..., "solved": ..., ...}
run.decode()                                           # their videos (4, t, h, w, 3)
run.save("maze7.npz"), study.Sampled.load("maze7.npz")
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from vrjax import flow, tasks
from vrjax.files import kept
from vrjax.models import family, pipeline
from vrjax.models.embedded import conditions, shipped

NONE: Mapping[str, Callable] = {}
FIELDS = tuple(f.name for f in dataclasses.fields(flow.Trajectory) if not f.metadata.get("static") and f.name != "taps")


def load(model: str | os.PathLike[str] = "worlds", **options: Any) -> "Lab":
    """A model that was trained on tasks, with its tasks.

    Args:
        model: name of a shipped one, name of a task (the shipped one that knows it best), or the folder of one that
            was trained here.
        **options: of `vrjax.models.pipeline.open`, such as `mesh`.

    Raises:
        FileNotFoundError, ValueError: no such model, or one that was not trained on tasks.
    """
    name = shipped.knowing(str(model)) if str(model) in tasks.names() else str(model)
    folder = shipped.path(name) if name in shipped.names() else pathlib.Path(model)
    if not folder.exists():
        raise FileNotFoundError(f"no model {model}: expected a folder, a task, or one of {', '.join(shipped.names())}")
    pipe = pipeline.open(folder, **options)
    if not isinstance(pipe, pipeline.EmbeddedPipeline):
        raise ValueError(f"{folder} was not trained on tasks; open it with vrjax.models.pipeline.open")
    return Lab(pipe)


class Lab:
    """A model and what it was trained on. See `load`."""

    def __init__(self, pipe: pipeline.EmbeddedPipeline):
        self.pipe = pipe

    def __repr__(self) -> str:
        return f"Lab({self.pipe.name}: {', '.join(self.tasks())})"

    def tasks(self) -> tuple[str, ...]:
        """The tasks it was trained on."""
        return self.pipe.folder.tasks

    def sites(self) -> list[str]:
        """Where taps read and edits rewrite."""
        cfg = self.pipe.folder.cfg
        return family.of(cfg).sites(cfg)

    def sample(
        self,
        task: str,
        *,
        clip: int = 0,
        split: str = "test",
        seeds: int | Sequence[int] = 1,
        steps: int = 20,
        taps: Mapping[str, Callable] = NONE,
        edits: Mapping[str, Callable] = NONE,
        **options: Any,
    ) -> "Sampled":
        """Every step of one clip from several seeds, computed together.

        Args:
            task: its name.
            clip, split: which clip.
            seeds: how many, or which.
            steps: of the noise grid.
            taps, edits: functions by site; inside them the axis "seed" is these seeds.
            **options: more of `Pipeline.sample`, such as `shift`, `solver`, `record`, `edit`.

        Raises:
            ValueError: an unknown task, split, site or option.
        """
        numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
        made = tasks.get(task).make(clip, split)
        given: dict[str, Any] = {"seeds": numbers, "steps": steps, "taps": taps, "edits": edits}
        trajectory = jax.device_get(self.pipe.sample(made, **given, **options))
        factor = self.pipe.folder.codec.space_factor
        return Sampled(trajectory, made, task, clip, split, numbers, trajectory.steps, factor)


@dataclasses.dataclass(frozen=True, repr=False)
class Sampled:
    """A sampled clip.

    Attributes:
        trajectory: its steps, with a leading axis of seeds.
        clip: the clip.
        task, number, split: which clip that is.
        seeds: of the starting noise.
        steps: that were recorded.
        factor: side of the codec's blocks.
    """

    trajectory: flow.Trajectory
    clip: tasks.Clip
    task: str
    number: int
    split: str
    seeds: tuple[int, ...]
    steps: tuple[int, ...]
    factor: int

    def __repr__(self) -> str:
        right = sum(tasks.get(self.task).solved(self.clip, film) for film in self.decode())
        return f"Sampled({self.task} {self.split} {self.number}: {right} of {len(self.seeds)} seeds solved)"

    def decode(self, field: str = "final") -> np.ndarray:
        """Videos in [-1, 1]: the finished ones, or those of "x0" or "x" at every recorded step."""
        return np.asarray(conditions.blocks(self.factor).decode(np.asarray(getattr(self.trajectory, field))))

    def verdicts(self) -> list[dict[str, Any]]:
        """What the task's verifier says of the clean estimate of every recorded step and seed: `seed`, `step`, `answer`
        (the label of the candidate that the last frame shows, or None), `solved` and `score`."""
        task, out = tasks.get(self.task), []
        for seed, films in zip(self.seeds, self.decode("x0"), strict=True):
            for step, film in zip(self.steps, films, strict=True):
                told = {"answer": task.read(self.clip, film[-1])["answer"], "solved": task.solved(self.clip, film)}
                out.append({"seed": seed, "step": step, **told, "score": task.score(self.clip, film)})
        return out

    def save(self, path: str | os.PathLike[str]) -> pathlib.Path:
        """Writes all arrays into one `.npz`, whole or not at all. Taps must be arrays, or dicts of them."""
        path = pathlib.Path(path)
        arrays = {name: value for name in FIELDS if (value := getattr(self.trajectory, name)) is not None}
        for keys, value in jax.tree_util.tree_flatten_with_path(self.trajectory.taps)[0]:
            arrays["taps/" + "/".join(str(key.key) for key in keys)] = value
        about = {name: getattr(self, name) for name in ("task", "number", "split", "seeds", "steps", "factor")}
        kept.arrays(path, about, lambda: arrays)
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Sampled":
        """What `save` wrote.

        Raises:
            FileNotFoundError: none there. ValueError: torn, or not written by `save`.
        """
        arrays, about = kept.read(path)
        taps: dict[str, Any] = {}
        for name in [name for name in arrays if name.startswith("taps/")]:
            *inner, last = name.split("/")[1:]
            here = taps
            for key in inner:
                here = here.setdefault(key, {})
            here[last] = arrays.pop(name)
        try:
            clip = tasks.get(about["task"]).make(about["number"], about["split"])
            given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in about.items()}
            fields: dict[str, Any] = {**arrays, "taps": taps}
            return cls(flow.Trajectory(**fields), clip, **given)
        except (KeyError, TypeError):
            raise ValueError(f"{path}: no sampled clip") from None
