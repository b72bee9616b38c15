"""`vrjax sample --causal`: videos of a causal model, whose frames are written and can be seen as they come."""

import argparse
import dataclasses
import itertools
import json
import pathlib
from collections.abc import Iterator
from typing import Any

from vrjax.cli.common import offered

NOT = (
    *("lora", "lora_without_image", "guidance", "negative", "solver", "grid", "steps", "preset", "together", "mesh"),
    *("last_image", "record_fields"),
)
"""Options of `vrjax sample --prompt` that a causal model has no use for."""
_MADE = ("seed-*.mp4", "trajectory", "frames", "x0", "results.json", "report.html", "live.html")


def run(args: argparse.Namespace) -> None:
    """Makes what is missing of the videos, a page that plays along, and a report of what was believed at each step."""
    from vrjax import files
    from vrjax.cli import sample_films
    from vrjax.cli.progress import Progress
    from vrjax.files import writing
    from vrjax.models import pipeline
    from vrjax.report import live

    if args.model is None:
        raise ValueError("sample: --causal needs --model, the folder of a public text-to-video model, for text and VAE")
    if args.record not in (None, "all", "none"):
        raise ValueError(f"--record: found {args.record!r}, expected all or none with --causal, whose steps are few")
    first = args.seed or 0
    seeds = list(range(first, first + (args.seeds or 1)))
    if not 0 <= first < 2**31 - len(seeds):
        raise ValueError(f"--seed: found {first}, expected 0 to 2**31 less the number of videos")
    opened: dict[str, Any] = {"dtype": args.dtype, "cache": False if args.no_cache else None}
    opened |= {"download": offered(args.download), "like": args.like or "self_forcing"}
    pipe: Any = pipeline.open(args.model, causal=args.causal, **opened)
    settings = pipe.settings(frames=args.frames, size=args.size, fps=args.fps, guidance=1.0)
    asked = {"steps": args.steps_list, "shift": args.shift, "window": args.window, "sink": args.sink}
    how = pipe.sampled(settings, pictures=args.image is not None, **asked)
    job = Job(pipe, settings, how, args)
    record = {"steps": [] if args.record == "none" else list(range(job.steps))}
    content = lambda path: path and [str(path), files.fingerprint(path)[:16]]
    about = {"size": list(settings.size), "frames": settings.frames, "fps": settings.fps, "stream": how}
    config = {**pipe.about, "folder": str(pipe.folder.root), "prompt": args.prompt, "image": content(args.image)}
    config = json.loads(json.dumps(config | about)) | {"record": record, "seeds": seeds}
    if args.lossless:
        config["video"] = "lossless"
    words = writing.slug(args.prompt)[:40].strip("_") or "video"
    out = args.out or pathlib.Path("runs") / f"sample-{args.causal.stem}-{words}"
    with writing.Run(out, config, kind="sample causal", fresh=args.fresh, may_change=("seeds",), made=_MADE) as held:
        for note in held.notes:
            print(f"{out}: {note}")
        h, w = settings.size
        chunks = f"chunks of {how['chunk']} latent frames, {job.steps} steps each"
        print(f"{pipe.name}: {len(seeds)} x {settings.frames} frames, {h}x{w}; {chunks}; {pipe.dtype}")
        page = live.write(out, f"{pipe.name}: {args.prompt:.200}", seeds, frames=settings.frames, fps=settings.fps)
        print(f"frames as they come: {page}")
        with Progress(len(seeds) * job.chunks) as line:
            for seed in seeds:
                job.video(out, seed, line, believed=bool(record["steps"]))
        sample_films.report(out, config, job.sigmas, seeds)
    print(f"{out / 'report.html'}")


@dataclasses.dataclass
class Job:
    """Videos of one prompt.

    Attributes:
        pipe: see `vrjax.models.pipeline.CausalPipeline`.
        settings, how: of the run, and options of `causal.stream`.
        args: of the command.
    """

    pipe: Any
    settings: Any
    how: dict[str, Any]
    args: argparse.Namespace

    def __post_init__(self):
        from vrjax.flow import grids
        from vrjax.models.causal import partition

        lists = [times for name in ("first_steps", "steps") if (times := self.how[name]) is not None]
        grid = grids.self_forcing(max(lists, key=len), self.how["shift"], warp=self.how["warp"])
        self.steps, self.sigmas = grid.steps, grid.sigmas
        lengths = partition(self.pipe.latent_shape(self.settings)[0], self.how["chunk"], self.how.get("first"))
        self.chunks = len(lengths) - (self.args.image is not None)

    def video(self, out: pathlib.Path, seed: int, line: Any, *, believed: bool) -> None:
        """One seed's: chunks that are not there yet, the film, and what was believed at each step."""
        import numpy as np

        from vrjax.cli import sample_films
        from vrjax.data import mp4
        from vrjax.report import live

        folder = out / "trajectory" / f"seed-{seed}"
        kept = list(_kept(folder))
        for i in range(len(kept)):
            line.step(seed, i)
        if len(kept) < self.chunks:
            done = np.concatenate([chunk["latents"] for chunk in kept]) if kept else None
            if kept:
                line.say(f"seed {seed}: {len(kept)} of {self.chunks} chunks are there")
            kept = [*kept, *self._made(out, folder, seed, done, len(kept), line)]
        codec = mp4.LOSSLESS if self.args.lossless else mp4.PLAYED
        film = out / f"seed-{seed}.mp4"
        if not film.exists():
            from vrjax import files

            frames = [files.read_image(live.frame(out, seed, n)) for n in range(self.settings.frames)]
            mp4.encode(film, np.stack(frames), fps=self.settings.fps, codec=codec)
        for step in range(self.steps) if believed else ():
            file = sample_films.believed_file(out, seed, step)
            if not file.exists():
                with line.phase(f"decoding step {step} of seed {seed}"):
                    mp4.write(file, self.pipe.decode(self._believed(kept, step)), fps=self.settings.fps)

    def _made(
        self, out: pathlib.Path, folder: pathlib.Path, seed: int, done: Any, at: int, line: Any
    ) -> Iterator[dict[str, Any]]:
        """Chunks as they come: first their frames, then what says that they are there."""
        import numpy as np

        from vrjax.files import pixels, writing
        from vrjax.report import live

        args, settings = self.args, self.settings
        given = {"seed": seed, "image": args.image, "frames": settings.frames, "size": settings.size, "done": done}
        with line.phase("text encoder"):
            parts = self.pipe.stream(args.prompt, **given, **self.how)
        for i, part in enumerate(parts, at):
            for n, frame in enumerate(pixels.to_uint8(part.frames), part.start):
                writing.chunks(live.frame(out, seed, n), [pixels.png(frame)])
            run = part.chunk.trajectory
            rows = {"latents": run.final, "x0": run.x0, "sigma": run.sigma, "time": run.time, "start": part.chunk.start}
            rows = {name: np.asarray(value) for name, value in rows.items()}
            with writing.atomic(folder / f"chunk-{i:04d}.npz") as scratch:
                np.savez(scratch, allow_pickle=False, **rows)
            line.step(seed, i)
            yield rows

    def _believed(self, kept: list[dict[str, Any]], step: int) -> Any:
        """The data estimates of a step, counted from the longest list's first: a chunk of fewer steps begins later."""
        import numpy as np

        rows = [chunk["x0"][max(step - self.steps + len(chunk["x0"]), 0)] for chunk in kept]
        if self.args.image is not None:
            rows.insert(0, np.asarray(self.pipe.picture(self.args.image, self.settings)))
        return np.concatenate(rows)


def _kept(folder: pathlib.Path) -> Iterator[dict[str, Any]]:
    """Chunks that are there, from the first to the first that is not."""
    import numpy as np

    for i in itertools.count():
        file = folder / f"chunk-{i:04d}.npz"
        if not file.exists():
            return
        with np.load(file, allow_pickle=False) as held:
            yield {name: held[name] for name in held}
