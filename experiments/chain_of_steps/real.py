"""Chain-of-Steps' instruments on real weights: clips of a VBVR tree, sampled by a public Wan model.

    python -m experiments.chain_of_steps --model Wan2.2-I2V-A14B --bench VBVR-Bench --tasks O-39 --limit 1

| part | what is done |
| --- | --- |
| trajectory | the clean run: its estimate of every step, on disk as it is made, decoded at chosen steps |
| layers | in the same run: token energy of every block and latent frame at every step |
| noise | pure noise in all frames at one step; in one latent frame at every step; distances from the clean run |
| swaps | at the first step, one block's activations of another clip's run (stream, increment, attention) |
| ensemble | M seeds whose middle blocks are averaged in the first steps, one of them continued |

Videos lie as VBVR's evaluation kit expects them, one row per run: `videos/<run>/{split}/{task}/{00000}.mp4`; decoded
estimates in `steps/{split}/{task}/{00000}_steps/step_{000}.mp4`. What these runs show is described, not judged: the
powered study with its null models is that of the small model. The same command goes on after a kill.
"""

import argparse
import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from rich.console import Console

from experiments.chain_of_steps import real_page as page
from vrjax.bench import vbvr as bench
from vrjax.cli.common import NETWORKS, SAMPLING, SETTINGS
from vrjax.data import vbvr
from vrjax.files import kept
from vrjax.files.writing import atomic
from vrjax.reasoning.instruments.arms import thirds
from vrjax.reasoning.instruments.stepping import Experts, Stepper, divergence, spread, stack
from vrjax.study import benchmark
from vrjax.study.tables import running

PARTS = ("trajectory", "noise", "swaps", "ensemble")  # layers come with the trajectory
MODES = ("stream", "increment", "attention")
KIND = "chain_of_steps, real weights"


@dataclasses.dataclass(frozen=True)
class Options:
    """What is measured."""

    parts: tuple[str, ...] = PARTS
    seed: int = 0
    sites: int = 6
    """Steps, and latent frames, that are disturbed: spread evenly."""
    blocks: int = 5
    """Blocks that are swapped: spread evenly, the first and the last among them."""
    members: int = 3
    early: int = 1
    """Steps in which the ensemble is coupled."""
    decode: int = 8
    """Steps whose clean estimates are decoded."""


_PATH, _COUNT = {"type": pathlib.Path}, {"type": int}
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "real weights: instruments on a public Wan model instead of the small one": {
        "--model": _PATH | {"help": "a Wan model's folder; needs --bench"},
        "--bench": _PATH | {"help": "VBVR's tree: {split}/{task}/{00000}/"},
        "--tasks": {"nargs": "+", "help": "only these, by the beginning of the name: O-39 G-3"},
        "--limit": _COUNT | {"metavar": "N", "help": "at most N samples of a task"},
        "--parts": {"nargs": "+", "metavar": "PART", "help": f"of {', '.join(PARTS)} (all)"},
        "--sites": _COUNT | {"help": f"steps and frames that are disturbed ({Options.sites})"},
        "--blocks": _COUNT | {"help": f"blocks that are swapped ({Options.blocks})"},
        "--members": _COUNT | {"help": f"seeds of the ensemble ({Options.members})"},
        "--early": _COUNT | {"help": f"coupled steps ({Options.early})"},
        "--decode": _COUNT | {"help": f"steps that are decoded ({Options.decode})"},
        "--seed": _COUNT | {"default": 0, "help": "of the noise (0)"},
        "--name": {"help": "of the run folder (the model's)"},
        **{flag: SAMPLING[flag] for flag in ("--size", "--frames", "--steps", "--shift", "--guidance")},
        "--frames": SAMPLING["--frames"] | {"help": "of every video (as many as the true one has)"},
        **NETWORKS,
    }
}


@dataclasses.dataclass
class Course:
    """One run of one clip: where it starts, with what, and what happens before a step.

    `begin()` gives the states (n, t, h, w, c) at `start`, `edit(step, x)` changes them before a step, `special`
    takes the first step instead of the plain one. `keep` streams x and x0 of all steps to disk.
    """

    name: str
    start: int
    begin: Callable[[], np.ndarray]
    edit: Callable[[int, np.ndarray], np.ndarray] | None = None
    special: Callable[[int, np.ndarray], np.ndarray | None] | None = None
    keep: bool = False


class Specimen:
    """One sample of the tree with its runs on disk."""

    def __init__(self, sample: bench.Sample, folder: pathlib.Path, stepper: Stepper, inputs: Any, options: Options):
        self.sample, self.stepper, self.inputs, self.options = sample, stepper, inputs, options
        self.folder = folder / sample.split / sample.task / f"{sample.index:05d}"
        settings, pipe = stepper.settings, stepper.pipe
        self.noise = np.asarray(pipe.noise(settings, range(options.seed, options.seed + options.members)))
        self.shape = self.noise.shape[1:]

    # ------------------------------------------------------------------------------------------------------------ runs

    def runs(self, other: "Specimen | None") -> list[Course]:
        """All runs of this clip; the clean one first, as others start from its states."""
        options, steps, frames = self.options, self.stepper.grid.steps, self.shape[0]
        out = [Course("clean", 0, lambda: self.noise[:1], keep=True)]
        if "noise" in options.parts:
            for step in spread(options.sites, steps):
                out.append(Course(f"noise-step-{step:03d}", step, lambda s=step: self.drawn("step", s)[None]))
            for frame in spread(options.sites, frames):
                edit = lambda step, x, f=frame: self._frame_noise(step, x, f)
                out.append(Course(f"noise-frame-{frame:03d}", 0, lambda: self.noise[:1], edit=edit))
        if "swaps" in options.parts and other is not None:
            pair = stack(self.inputs, other.inputs)
            for mode in MODES:
                for block in spread(options.blocks, self.stepper.pipe.folder.cfg.layers):
                    swap = lambda step, x, m=mode, b=block: self._swap(pair, step, x, m, b)
                    out.append(Course(f"swap-{mode}-{block:02d}", 0, lambda: self.noise[:1], special=swap))
        if "ensemble" in options.parts:
            for i in range(1, options.members):
                out.append(Course(f"single-{i}", 0, lambda i=i: self.noise[i : i + 1]))
            out.append(Course("ensemble", 0, lambda: self.noise, special=self._couple))
        return out

    def drawn(self, *what: Any) -> np.ndarray:
        """A state of pure noise that depends on its name alone."""
        text = "/".join(map(str, (self.options.seed, self.sample.file, *what)))
        rng = np.random.default_rng(list(text.encode()))
        return rng.standard_normal(self.shape, np.float32)

    def _frame_noise(self, step: int, x: np.ndarray, frame: int) -> np.ndarray:
        x = x.copy()
        x[:, frame] = self.drawn("frame", frame, step)[frame]
        return x

    def _swap(self, pair: Any, step: int, x: np.ndarray, mode: str, block: int) -> np.ndarray | None:
        return self.stepper.swapped(x[0], pair, step, mode, block)["next"][:1] if step == 0 else None

    def _couple(self, step: int, x: np.ndarray) -> np.ndarray | None:
        if step >= self.options.early:
            return None
        layers = self.stepper.pipe.folder.cfg.layers
        blocks = thirds(layers)[1] or (layers // 2,)
        after = self.stepper.coupled(x, self.inputs, step, blocks)["next"]
        return after[:1] if step + 1 == self.options.early else after  # one of them is continued

    # --------------------------------------------------------------------------------------------------------- stepping

    def advance(self, run: Course, stage: tuple[int, int, int]) -> None:
        """Takes the steps of a run that belong to a stage, unless they are on disk already."""
        expert, first, last = stage
        begin = max(run.start, first)
        done = self.folder / run.name / f"to-{last}.npz"
        if begin >= last or done.is_file():
            return
        state = self.folder / run.name / f"to-{first}.npz"
        x = _load(state)["x"] if run.start < first else np.asarray(run.begin(), np.float32)
        rows: dict[str, list] = {"energy": [], "distance": []}
        kept = {name: self._film(run, name) for name in ("x", "x0")} if run.keep else {}
        clean = None if run.keep else np.load(self.folder / "clean" / "x0.npy", mmap_mode="r")
        for step in range(begin, last):
            if run.edit is not None:
                x = run.edit(step, x)
            special = run.special(step, x) if run.special is not None else None
            if special is not None:
                x = special
                rows["distance"].append([np.nan, np.nan])
                continue
            out = self.stepper.plain(x, self.inputs, step)
            if run.keep:
                kept["x"][step], kept["x0"][step] = x[0], out["x0"][0]
                rows["energy"].append(out["energy"][0])
            else:
                assert clean is not None
                rows["distance"].append(np.asarray(divergence(out["x0"][0], np.asarray(clean[step]))))
            x = out["next"]
        for film in kept.values():
            film.flush()
        with atomic(done) as scratch, open(scratch, "wb") as file:
            arrays: dict[str, Any] = {name: np.array(values) for name, values in rows.items() if values}
            np.savez(file, x=x, **arrays)

    def _film(self, run: Course, name: str) -> np.memmap:
        path = self.folder / run.name / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            return np.lib.format.open_memmap(path, mode="r+")
        shape = (self.stepper.grid.steps, *self.shape)
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)

    def final(self, run: str) -> np.ndarray:
        """The last state of a finished run, (t, h, w, c)."""
        return _load(self.folder / run / f"to-{self.stepper.grid.steps}.npz")["x"][0]

    def rows(self, run: str, name: str) -> np.ndarray:
        """Rows of all steps from the run's start."""
        parts = [
            _load(f) for _, _, last in self.stepper.stages if (f := self.folder / run / f"to-{last}.npz").is_file()
        ]
        return np.concatenate([part[name] for part in parts if name in part])

    def x0(self) -> np.ndarray:
        """The clean run's estimates, mapped from disk."""
        return np.load(self.folder / "clean" / "x0.npy", mmap_mode="r")


def _load(path: pathlib.Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


# ----------------------------------------------------------------------------------------------------------------- run


def memory_plan(pipe: Any, settings: Any, options: Options) -> str:
    """What the run needs of one device, by account, with one expert on it at a time."""
    from vrjax.plan import single
    from vrjax.plan.jobs import sampling

    pair = len(pipe.folder.networks) == 2
    guided = any(scale != 1 for scale in settings.guidance)
    together = options.members if "ensemble" in options.parts else 2 if "swaps" in options.parts else 1
    config = sampling.SampleConfig(
        name=f"{pipe.name}, instruments",
        model=dataclasses.replace(pipe.folder.cfg, param_dtype=pipe.dtype),
        latent=pipe.latent_shape(settings),
        seeds=together,
        steps=settings.steps,
        guidance=5.0 if guided else 1.0,
        boundary=settings.boundary if pair else None,
        record_steps=(),
        dtype=pipe.dtype,
    )
    stats = (jax.local_devices()[0].memory_stats() or {}) if jax.default_backend() != "cpu" else {}
    gib = round(stats["bytes_limit"] / single.USABLE / 2**30) if "bytes_limit" in stats else 80
    found = single.account(config, f"gpu:{gib}", record="disk", experts="one at a time" if pair else "both")
    return found.table()


def run(args: argparse.Namespace, console: Console) -> None:
    """Measures what is missing, decodes, and writes the run folder."""
    from vrjax.models import pipeline

    given: dict[str, Any] = {f.name: getattr(args, f.name) for f in dataclasses.fields(Options)}
    chosen: dict[str, Any] = {k: tuple(v) if k == "parts" else v for k, v in given.items() if v is not None}
    options = Options(**chosen)
    if small := [k for k in ("sites", "blocks", "members", "early", "decode") if getattr(options, k) < 1]:
        raise ValueError(f"--{small[0]} {getattr(options, small[0])}: expected at least 1")
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        raise ValueError(f"--parts: unknown {', '.join(unknown)}, expected some of {', '.join(PARTS)}")
    found = bench.read(args.bench, tasks=args.tasks, limit=args.limit)
    pipe = pipeline.open(args.model, dtype=args.dtype, loras=args.lora or ())
    folder = args.out / f"chain_of_steps-{args.name or pipe.name}"
    asked = {name: getattr(args, name, None) for name in SETTINGS if name != "frames"}
    chosen = {name: value for name, value in asked.items() if value is not None} | {"solver": "euler"}
    about = {
        "kind": KIND,
        **pipe.about,
        "options": dataclasses.asdict(options),
        "sampling": chosen | {"frames": args.frames},
        "samples": [sample.file for sample in found],
        "code": kept.source(__name__),
    }
    with running(folder, about, fresh=args.fresh, console=console, kind=KIND):
        look(pipe, found, folder, about, options, chosen | {"frames": args.frames}, console)


def look(
    pipe: Any, found: Sequence, folder: pathlib.Path, about: dict, options: Options, chosen: dict, console: Console
):
    """The run itself, in its folder."""
    experts = Experts(pipe)
    clips, steppers = prepare(pipe, experts, found, folder / "states", chosen, options)
    shown: set[Any] = set()
    for stepper in steppers:
        if stepper.settings.frames not in shown:
            console.print(memory_plan(pipe, stepper.settings, options), highlight=False)
            shown.add(stepper.settings.frames)
    partners = {id(clip): partner(clip, clips) for clip in clips}
    if "swaps" in options.parts and (alone := [c.sample.file for c in clips if partners[id(c)] is None]):
        console.print(f"no other clip of the same size to swap with: {', '.join(alone)}")
    measure(clips, partners, console)
    for stepper in steppers:
        stepper.use(None)
    experts.clear()  # the VAE needs the room
    console.print("decoding")
    page.decode(pipe, clips, partners, folder, options)
    page.write(folder, about, clips, partners, options, console)


def prepare(
    pipe: Any,
    experts: Experts,
    found: Sequence[bench.Sample],
    folder: pathlib.Path,
    chosen: dict,
    options: Options,
) -> tuple[list[Specimen], list[Stepper]]:
    """The clips with their text and picture conditions, and one stepper per setting; transformers are not loaded."""
    read = [next(iter(vbvr.read(sample.folder, max_frames=1))) for sample in found]
    steppers: dict[Any, Stepper] = {}
    clips = []
    for sample, clip in zip(found, read, strict=True):
        picture = benchmark.picture(clip)
        count = benchmark.frames(clip, pipe, chosen["frames"])
        settings = pipe.settings(picture=picture.shape[:2], **chosen | {"frames": count})
        stepper = steppers.setdefault(settings, Stepper(pipe, settings, experts))
        if not clips:  # all prompts at once: the text encoder is loaded once
            pipe.text([*dict.fromkeys(c.prompt for c in read), *([settings.negative] if settings.negative else [])])
        takes = pipe.folder.kind != "t2v"
        inputs = pipe.prepare(clip.prompt, settings, picture if takes else None)
        clips.append(Specimen(sample, folder, stepper, inputs, options))
    return clips, list(steppers.values())


def measure(clips: Sequence[Specimen], partners: dict[int, Any], console: Console) -> None:
    """All runs of all clips, stage by stage, so that each expert is loaded once."""
    for expert in sorted({e for clip in clips for e, _, _ in clip.stepper.stages}):
        for other in {id(c.stepper): c.stepper for c in clips}.values():
            other.use(None)
        for clip in clips:
            stages = [stage for stage in clip.stepper.stages if stage[0] == expert]
            for stage in stages:
                todo = clip.runs(partners[id(clip)])
                console.print(
                    f"expert {expert + 1}, {clip.sample.file}: {len(todo)} runs, steps {stage[1]}-{stage[2] - 1}"
                )
                clip.stepper.use(expert)
                for each in todo:
                    clip.advance(each, stage)


def partner(clip: Specimen, clips: Sequence[Specimen]) -> Specimen | None:
    """The next clip of the same latent size, of the same task if there is one."""
    after = [*clips[clips.index(clip) + 1 :], *clips[: clips.index(clip)]]
    fits = [c for c in after if c.shape == clip.shape and c.stepper is clip.stepper]
    return next((c for c in fits if c.sample.task == clip.sample.task), fits[0] if fits else None)
