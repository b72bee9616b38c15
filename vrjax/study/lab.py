"""A model in one hand: with the tasks that it was trained on, or, for a folder of public weights, with a prompt.

lab = vrjax.load("worlds")                             # a shipped model, or a folder such as runs/wide/model
lab = vrjax.load("pick")                               # the shipped model that knows a task best
lab.tasks(), lab.sites()
run = lab.sample("maze", clip=7, seeds=4)              # every step of four seeds; as a cell's last line: the scrubber
run = lab.sample(tasks.get("maze").drawn(TEXT))        # any clip of a task
run.verdicts()[-1]                                     # {"seed": 3, "step": 19, "answer": ..., "solved": ..., ...}
pandas.DataFrame(run.records())                        # the same with every readout and every tap of one number
run.decode()                                           # their videos (4, t, h, w, 3)
run.save("maze7.npz"), study.Sampled.load("maze7.npz")

lab = vrjax.load("Wan2.1-T2V-1.3B-Diffusers")          # public weights: a prompt in the place of a task
run = lab.sample("a red ball rolls to the exit", seeds=2, frames=17, size=(240, 416), steps=20)
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vrjax import flow, tasks
from vrjax.files import kept, named
from vrjax.flow import words
from vrjax.models import family, pipeline
from vrjax.models import settings as settings_of
from vrjax.models.embedded import conditions, shipped
from vrjax.models.wan import folders
from vrjax.reasoning.instruments import readout
from vrjax.report import guesses, notebook, parts
from vrjax.tasks import Clip

NONE: Mapping[str, Callable] = {}
FIELDS = tuple(f.name for f in dataclasses.fields(flow.Trajectory) if not f.metadata.get("static") and f.name != "taps")
SHOWN = 8  # steps of a codec with weights that are decoded for the HTML view
COLUMNS = 64  # numbers of a tap that become columns of the records


def load(model: str | os.PathLike[str] = "worlds", *, download: Any = False, **options: Any) -> "Lab":
    """A model with what it can be asked.

    Args:
        model: name of a shipped one, name of a task (the shipped one that knows it best), or a folder: of a model that
            was trained here, or of public weights. These have ids on the hub, too ("Wan-AI/Wan2.1-T2V-1.3B-Diffusers").
        download: whether what the hub's cache lacks of an id is fetched, see `vrjax.files.hub.find`.
        **options: of `vrjax.models.pipeline.open`, such as `mesh` and `loras`.

    Raises:
        FileNotFoundError, ValueError: no such model, or a folder that holds none.
    """
    name = shipped.knowing(str(model)) if str(model) in tasks.names() else str(model)
    folder = shipped.path(name) if name in shipped.names() else folders.resolve(model, allow=download)
    if not folder.exists():
        known = named.unknown("model", str(model), (*shipped.names(), *shipped.taught()))
        raise FileNotFoundError(f"{known}, or a folder; no folder of that name is here")
    return Lab(pipeline.open(folder, **options))


class Lab:
    """A model and what it can be asked. See `load`."""

    def __init__(self, pipe: pipeline.Pipeline):
        self.pipe = pipe

    def __repr__(self) -> str:
        return f"Lab({self.pipe.name}: {', '.join(self.tasks()) or 'a prompt'})"

    def _repr_html_(self) -> str:
        return notebook.pipeline(self.pipe, [("asked", ", ".join(self.tasks()) or "a prompt")])

    def tasks(self) -> tuple[str, ...]:
        """The tasks it was trained on; none for public weights."""
        return self.pipe.folder.tasks if isinstance(self.pipe, pipeline.EmbeddedPipeline) else ()

    def sites(self) -> list[str]:
        """Where taps read and edits rewrite."""
        cfg = self.pipe.folder.cfg
        return family.of(cfg).sites(cfg)

    def sample(
        self,
        asked: str | Clip,
        *,
        clip: int = 0,
        split: str = "test",
        seeds: Any = 1,
        taps: Mapping[str, Callable] = NONE,
        edits: Mapping[str, Callable] = NONE,
        **options: Any,
    ) -> "Sampled":
        """Every step of one clip or prompt from several seeds, computed together.

        Args:
            asked: a task's name, or one of its clips; of public weights, the prompt.
            clip, split: which clip of the task.
            seeds: how many, or which.
            taps, edits: functions by site; inside them the axis "seed" is these seeds.
            **options: more of `Pipeline.sample`, such as `steps`, `shift`, `size`, `image`, `record`, `edit`.

        Raises:
            ValueError: an unknown task, split or site; values that do not fit. TypeError: an unknown option.
        """
        numbers, made = settings_of.seeds(seeds), None
        given: dict[str, Any] = {"seeds": numbers, "taps": taps, "edits": edits, **options}
        if not isinstance(self.pipe, pipeline.EmbeddedPipeline):
            if isinstance(asked, str) and asked in tasks.names():
                raise ValueError(f"{self.pipe.name} was trained on no task: expected a prompt, found {asked!r}")
        elif isinstance(asked, str):
            made = tasks.get(asked).make(clip, split)
        elif isinstance(asked, Clip):
            made = asked
        else:
            raise ValueError(f"expected a task or a clip of one, found a {type(asked).__name__}")
        trajectory = jax.device_get(self.pipe.sample(asked if made is None else made, **given))
        prompt = str(asked) if made is None else made.prompt
        where = str(self.pipe.folder.root)
        return Sampled(trajectory, made, prompt, numbers, trajectory.steps, where, getattr(made, "meta", {}), self.pipe)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Sampled:
    """A sampled clip or prompt.

    Attributes:
        trajectory: its steps, with a leading axis of seeds.
        clip: the clip; None for a prompt.
        prompt: what was asked.
        seeds: of the starting noise.
        steps: that were recorded.
        model: its folder.
        meta: of the clip: `world`, and `split` and `seed` where it is one of a split.
    """

    trajectory: flow.Trajectory
    clip: Clip | None
    prompt: str
    seeds: tuple[int, ...]
    steps: tuple[int, ...]
    model: str
    meta: Mapping[str, Any]
    _pipe: pipeline.Pipeline | None = None

    def __repr__(self) -> str:
        if self.clip is None:
            told = f"{self.prompt!r}, {len(self.seeds)} seeds, {len(self.steps)} steps"
            return f"Sampled({told}, latents {words.array(self.trajectory.final)})"
        task, clip = self._asked()
        right = sum(task.solved(clip, film) for film in self.decode())
        return f"Sampled({self.name}: {right} of {len(self.seeds)} seeds solved)"

    def _repr_html_(self) -> str:
        return notebook.case(self.case())

    @property
    def name(self) -> str:
        """Which clip, such as "maze test 7", or the prompt."""
        known = [str(self.meta[key]) for key in ("world", "split", "seed") if key in self.meta]
        return " ".join(known) or self.prompt

    @property
    def task(self) -> str:
        """The task's name.

        Raises:
            ValueError: a prompt has none.
        """
        return self._asked()[0].name

    def _asked(self) -> tuple[tasks.Task, Clip]:
        if self.clip is None:
            raise ValueError("a prompt has no verifier: verdicts and readouts are those of tasks' clips")
        return tasks.get(self.meta["world"]), self.clip

    @functools.cached_property
    def pipe(self) -> pipeline.Pipeline:
        """The model that made it; opened from its folder where this came from a file.

        Raises:
            FileNotFoundError: the folder is not there any more.
        """
        return pipeline.open(self.model) if self._pipe is None else self._pipe

    @property
    def _codec(self) -> Any:
        """Of blocks, which needs no model; else the model's."""
        return (
            conditions.blocks(len(self.clip.first_frame) // self.trajectory.final.shape[-3]) if self.clip else self.pipe
        )

    def decode(self, field: str = "final", *, seeds: Any = slice(None), steps: Any = slice(None)) -> np.ndarray:
        """Videos in [-1, 1]: the finished ones (seed, t, h, w, 3), or "x0" or "x" at recorded steps (seed, step, ...).

        `seeds` and `steps` choose positions on these axes. A codec with weights decodes one video after another.

        Raises:
            ValueError: the run has no such field.
        """
        latents = getattr(self.trajectory, field, None)
        if latents is None:
            raise ValueError(
                f"decode: the run kept no {field!r}, expected one of {', '.join(('final', *self._kept()))}"
            )
        latents = np.asarray(latents)[seeds]
        return np.asarray(self._codec.decode(latents if field == "final" else latents[:, steps]))

    def _kept(self) -> list[str]:
        return [name for name in ("x", "x0", "next") if getattr(self.trajectory, name) is not None]

    @property
    def sigma(self) -> np.ndarray:
        """Noise level of each recorded step."""
        levels = np.asarray(self.trajectory.sigma)
        return (levels[0] if levels.ndim == 2 else levels)[list(self.steps)]

    def case(self) -> parts.Case:
        """For the scrubber of a page: every step, where the codec is blocks; else some, decoded here."""
        kept = self._kept()
        if "x0" not in kept:
            raise ValueError("the run kept no x0 to show: Record(fields=('x0',)), or the default, does")
        order = np.argsort(self.steps)
        at = order if self.clip else order[notebook.thinned(len(order), SHOWN)]
        seeds = list(range(len(self.seeds)))[: None if self.clip else notebook.SEEDS]
        films = self.decode("x0", seeds=seeds, steps=at)
        common: dict[str, Any] = {
            "steps": [self.steps[i] for i in at],
            "sigma": self.sigma[at],
            "seeds": [f"seed {self.seeds[i]}" for i in seeds],
        }
        if self.clip is None:
            return parts.Case(self.prompt, self.prompt, films, **common)
        task, clip = self._asked()
        noisy = self.decode("x", steps=at) if "x" in kept else None
        more: dict[str, Any] = {"truth": clip.video, "noisy": noisy, "world": task.name}
        more |= {"solved": [task.solved(clip, film) for film in self.decode()]}
        more |= {"guesses": guesses.judged(task, clip, films)}
        return parts.Case(self.name, self.prompt, films, **common, **more)

    def verdicts(self) -> list[dict[str, Any]]:
        """What the task's verifier says of the clean estimate of every recorded step and seed: `seed`, `step`, `sigma`,
        `answer` (the label of the candidate that the last frame shows, or None), `solved` and `score`.

        Raises:
            ValueError: of a prompt, or of a run that kept no x0.
        """
        (task, clip), out = self._asked(), []
        for seed, films in zip(self.seeds, self.decode("x0"), strict=True):
            for step, sigma, film in zip(self.steps, self.sigma, films, strict=True):
                told = {"answer": task.read(clip, film[-1])["answer"], "solved": task.solved(clip, film)}
                row = {"seed": seed, "step": step, "sigma": float(sigma)}
                out.append(row | told | {"score": task.score(clip, film)})
        return out

    def records(self) -> list[dict[str, Any]]:
        """Verdicts with what else is known of every recorded step and seed, one row each, as `pandas.DataFrame` takes
        them: the readouts `effective`, `superposition`, `residual` and `leader` (see `readout.explore`) against the
        task's candidates, `log_prob`, and every tap of up to 64 numbers a step, such as `block.*[3]`.

        Raises:
            ValueError: as `verdicts`.
        """
        rows, (task, clip) = self.verdicts(), self._asked()
        labels = task.labels(clip, pad=False)
        films = np.stack(task.candidates(clip, pad=False))
        held = readout.explore(jnp.asarray(self.trajectory.x0), jnp.asarray(self._codec.encode(films)))
        columns = {name: np.asarray(getattr(held, name)) for name in ("effective", "superposition", "residual")}
        columns["leader"] = np.array(labels, object)[np.asarray(held.leader)]
        if self.trajectory.log_prob is not None:
            columns["log_prob"] = np.asarray(self.trajectory.log_prob)
        for keys, value in jax.tree_util.tree_flatten_with_path(self.trajectory.taps)[0]:
            name, value = "/".join(str(key.key) for key in keys), np.asarray(value)
            if value[0, 0].size > COLUMNS:
                continue
            for index in np.ndindex(value.shape[2:]):
                columns[name + (f"[{', '.join(map(str, index))}]" if index else "")] = value[(..., *index)]
        flat = {name: value.reshape(-1, *value.shape[2:]).tolist() for name, value in columns.items()}
        return [row | {name: value[i] for name, value in flat.items()} for i, row in enumerate(rows)]

    def save(self, path: str | os.PathLike[str]) -> pathlib.Path:
        """Writes all arrays into one `.npz`, whole or not at all. Taps must be arrays, or dicts of them."""
        path = pathlib.Path(path)
        arrays = {name: value for name in FIELDS if (value := getattr(self.trajectory, name)) is not None}
        for keys, value in jax.tree_util.tree_flatten_with_path(self.trajectory.taps)[0]:
            arrays["taps/" + "/".join(str(key.key) for key in keys)] = value
        about = {name: getattr(self, name) for name in ("prompt", "seeds", "steps", "model", "meta")}
        if self.clip is not None:
            arrays["video"] = self.clip.video
            about["answer"] = self.clip.answer
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
            video, answer, clip = arrays.pop("video", None), about.pop("answer", ""), None
            if video is not None:
                clip = Clip(video, video[0], about["prompt"], answer, about["meta"])
            about |= {name: tuple(about[name]) for name in ("seeds", "steps")}
            fields: dict[str, Any] = {**arrays, "taps": taps}
            return cls(flow.Trajectory(**fields), clip, **about)
        except (KeyError, TypeError):
            raise ValueError(f"{path}: no sampled clip") from None
