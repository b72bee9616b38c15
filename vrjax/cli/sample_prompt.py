"""`vrjax sample --prompt`: a public model's videos, what it believed on the way, and a report; in a run folder."""

import argparse
import dataclasses
import hashlib
import json
import pathlib
import re
import sys
import threading
import time
from typing import Any

from vrjax.cli.common import axes, cores_for, numbers

RECORDED = 8  # steps kept where none are named, first and last among them
_MADE = ("seed-*.mp4", "trajectory", "x0", "results.json", "report.html")
_MAY_CHANGE = ("seeds", "mesh")  # a run may go on with more seeds, or elsewhere, equal up to rounding


def run(args: argparse.Namespace) -> None:
    """Samples what is not yet there, then writes the report."""
    from vrjax import files, parallel
    from vrjax.files import runs
    from vrjax.models import pipeline

    if args.model is None:
        raise ValueError("sample: --prompt needs --model, the folder of a public Wan model")
    mesh = axes(args.mesh or [])
    cores_for(mesh)
    first = args.seed or 0
    seeds = list(range(first, first + (args.seeds or 1)))
    if not 0 <= first < 2**31 - len(seeds):
        raise ValueError(f"--seed: found {first}, expected 0 to 2**31 less the number of videos")
    pipe = pipeline.open(
        args.model,
        dtype=args.dtype,
        loras=args.lora or (),
        cache=False if args.no_cache else None,
        mesh=parallel.mesh(mesh) if mesh else None,
    )
    settings, steps, fields = _settings(args, pipe)
    pictures = [None if path is None else files.read_image(path) for path in (args.image, args.last_image)]
    pipe.check(args.image is not None, args.last_image is not None, settings.frames)
    config = _config(args, pipe, settings, seeds, steps, fields) | {"mesh": mesh}
    out = args.out or pathlib.Path("runs") / f"sample-{pipe.name}-{_slug(args.prompt)}"
    opened = runs.Run(out, config, kind="sample", fresh=bool(args.fresh), may_change=_MAY_CHANGE, made=_MADE)
    with opened:
        for note in opened.notes:
            print(f"{out}: {note}")
        todo = [seed for seed in seeds if not (out / f"seed-{seed}.mp4").exists()]
        done = len(seeds) - len(todo)
        print(_summary(pipe, settings, len(seeds)) + (f"; {done} of {len(seeds)} seeds are there" if done else ""))
        if todo:
            inputs = pipe.prepare(args.prompt, settings, *pictures)
            _sample(pipe, settings, inputs, todo, args.together or _divided(pipe.mesh), steps, fields, out)
        _report(out, config, settings, seeds)
    print(f"{out / 'report.html'}")


def _divided(mesh: Any) -> int:
    """Over how many groups of devices the mesh divides seeds."""
    return 1 if mesh is None else mesh.shape["seed"]


def _settings(args: argparse.Namespace, pipe: Any) -> tuple[Any, tuple[int, ...], tuple[str, ...]]:
    """The run's settings, and which steps and fields of it are kept."""
    from vrjax import files
    from vrjax.models.pipeline.recorder import FIELDS
    from vrjax.models.wan import defaults

    options = {name: getattr(args, name) for name in ("size", "frames", "fps", "steps", "solver", "grid", "guidance")}
    options |= {"shift": args.shift, "negative": args.negative, "times": args.steps_list}
    if args.preset is not None:
        if args.preset not in defaults.PRESETS:
            raise ValueError(f"--preset: unknown {args.preset!r}, expected one of {', '.join(defaults.PRESETS)}")
        if args.steps_list is not None:
            raise ValueError("--preset and --steps-list: give one of them")
        preset = defaults.PRESETS[args.preset]
        options["times"] = preset.times
        options["shift"] = preset.shift if args.shift is None else args.shift
        options["solver"] = args.solver or preset.solver
    picture = None
    if args.image is not None and args.size is None:
        picture = files.read_image(args.image).shape[:2]
    settings = pipe.settings(picture=picture, **options)
    fields = tuple(args.record_fields or ("x0",))
    if unknown := [name for name in fields if name not in FIELDS]:
        raise ValueError(f"--record-fields: unknown {', '.join(unknown)}, expected any of {', '.join(FIELDS)}")
    return settings, recorded(args.record, settings.steps), fields


def recorded(text: str | None, count: int) -> tuple[int, ...]:
    """The steps that `--record` means in a run of `count` steps.

    Raises:
        ValueError: a step that the run does not have, or text that is no list of steps.
    """
    if text is None:
        last, kept = count - 1, min(count, RECORDED)
        return tuple(sorted({round(i * last / max(kept - 1, 1)) for i in range(kept)}))
    if text in ("all", "none"):
        return tuple(range(count)) if text == "all" else ()
    try:
        steps = sorted(numbers(text))
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"--record: {error}") from None
    if steps[-1] >= count:
        raise ValueError(f"--record: step {steps[-1]}, the run has steps 0 to {count - 1}")
    return tuple(steps)


def _config(args: Any, pipe: Any, settings: Any, seeds: list[int], steps: Any, fields: Any) -> dict[str, Any]:
    """What decides the numbers of a run, in JSON."""
    from vrjax import files

    content = lambda path: [str(path), files.fingerprint(path)[:16]]
    return {
        **pipe.about,
        "folder": str(pipe.folder.root),
        "prompt": args.prompt,
        "image": args.image and content(args.image),
        "last_image": args.last_image and content(args.last_image),
        **json.loads(json.dumps(dataclasses.asdict(settings))),
        "record": {"steps": list(steps), "fields": list(fields)},
        "seeds": seeds,
    }


def _sample(pipe: Any, settings: Any, inputs: Any, seeds: list[int], together: int, steps: Any, fields: Any, out: Any):
    """Writes each seed when its group is done."""
    from vrjax.models.pipeline import recorder as recorders
    from vrjax.report import video

    line = Progress(len(seeds) * settings.steps)
    recorder = recorders.Recorder(
        out / "trajectory",
        grid=settings.recipe.grid,
        steps=steps,
        fields=fields if steps else (),
        shape=pipe.latent_shape(settings),
        on_step=line.step,
    )
    size = recorder.bytes_per_seed / 2**30
    print(f"recording {', '.join(recorder.fields) or 'nothing'} of {len(steps)} steps: {size:.3g} GiB a seed")
    with line:
        for seed, folder, final in pipe.stream(settings, inputs, seeds, recorder, together=together):
            kept = recorders.read(folder)
            for row, step in enumerate(steps):
                if (x0 := believed(kept, row)) is not None:
                    file = out / "x0" / f"seed-{seed}" / f"step-{step:03d}.mp4"
                    video.save(file, pipe.decode(x0), fps=settings.fps)
            video.save(out / f"seed-{seed}.mp4", pipe.decode(final), fps=settings.fps)  # last: a seed is done


def believed(kept: dict[str, Any], row: int) -> Any:
    """The data estimate of a recorded row, or None where it was not kept."""
    if "x0" in kept["fields"]:
        return kept["x0"][row]
    if {"x", "v"} <= set(kept["fields"]):
        return kept["x"][row] - kept["sigma"][kept["steps"][row]].astype("f4") * kept["v"][row]
    return None


def _report(out: pathlib.Path, config: dict[str, Any], settings: Any, seeds: list[int]) -> None:
    """report.html and results.json from the videos that are there."""
    import numpy as np

    from vrjax.report import claims, html, video

    steps = [
        step
        for step in config["record"]["steps"]
        if (out / "x0" / f"seed-{seeds[0]}" / f"step-{step:03d}.mp4").exists()
    ]
    shown = steps or [settings.steps - 1]
    name = lambda seed, step: out / "x0" / f"seed-{seed}" / f"step-{step:03d}.mp4"
    rows = [
        [smaller(video.load(name(seed, step) if steps else out / f"seed-{seed}.mp4")) for step in shown]
        for seed in seeds
    ]
    case = html.Case(
        config["model"],
        config["prompt"],
        np.stack([np.stack(row) for row in rows]),
        steps=shown,
        sigma=settings.recipe.grid.sigmas[shown],
        seeds=[f"seed {seed}" for seed in seeds],
        note="" if steps else "Only the finished video was kept: --record names steps.",
    )
    claims.write(out / "results.json", [], details={"kind": "sample", **config})
    intro = "What the model believed the finished video to be, at the recorded steps of denoising."
    page = html.Page(
        f"{config['model']}: {config['prompt']:.80}", intro=intro, scrubbers=[html.Scrubber([case])], config=config
    )
    html.write(out, page)


def smaller(frames: Any, side: int = 208, count: int = 25) -> Any:
    """A video for the page: at most `count` frames, spread evenly, with at most `side` pixels a side, as 8-bit."""
    import numpy as np
    from PIL import Image

    from vrjax.report.parts import pixels

    frames = pixels(frames[np.unique(np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int))])
    factor = side / max(frames.shape[1:3])
    if factor >= 1:
        return frames
    size = round(frames.shape[2] * factor), round(frames.shape[1] * factor)
    return np.stack([np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BOX)) for frame in frames])


def _summary(pipe: Any, settings: Any, seeds: int) -> str:
    h, w = settings.size
    scales = ", ".join(f"{scale:g}" for scale in settings.guidance)
    pair = f", {settings.recipe.high_steps} of them by the high-noise expert" if settings.boundary is not None else ""
    return (
        f"{pipe.name}: {seeds} video{'s' * (seeds > 1)} of {settings.frames} frames, {h}x{w}; {settings.steps} "
        f"{settings.solver} steps on {settings.grid}, shift {settings.shift:g}{pair}; guidance {scales}; {pipe.dtype}"
    )


def _slug(text: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")
    return words or hashlib.sha256(text.encode()).hexdigest()[:8]


class Progress:
    """Steps done by all seeds: a live line on a terminal, a plain line now and then elsewhere."""

    EVERY = 20.0  # seconds between plain lines

    def __init__(self, total: int):
        self._total, self._seen = total, set()
        self._lock, self._live, self._printed = threading.Lock(), None, time.monotonic()

    def __enter__(self) -> "Progress":
        if sys.stdout.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._live = Progress(*columns)
            self._task = self._live.add_task("loading and compiling", total=self._total)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def step(self, seed: int, step: int) -> None:
        """One step of one seed is done."""
        with self._lock:
            self._seen.add((seed, step))
            done, now = len(self._seen), time.monotonic()
            if self._live is not None:
                self._live.update(self._task, completed=done, description=f"seed {seed}")
            elif now - self._printed >= self.EVERY:
                self._printed = now
                print(f"step {done}/{self._total}", flush=True)
