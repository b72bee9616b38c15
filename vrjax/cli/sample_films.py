"""The videos of `vrjax sample --prompt`: what is not there yet is sampled and decoded, finished videos first."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from vrjax.cli.progress import Progress


class Job:
    """A run's folder and what belongs into it; goes on wherever an interrupted run stopped.

    Args:
        pipe: see `vrjax.models.pipeline`.
        settings: of the run.
        out: its folder.
        seeds: whose videos it holds.
        steps, fields: what is recorded.
        config: what decides the numbers.
        lossless: how finished videos are written, see `vrjax.data.mp4`.
    """

    def __init__(
        self,
        pipe: Any,
        settings: Any,
        out: pathlib.Path,
        seeds: Sequence[int],
        steps: Sequence[int],
        fields: Sequence[str],
        *,
        config: dict[str, Any],
        lossless: bool = False,
    ):
        self.pipe, self.settings, self.out, self.seeds, self.steps = pipe, settings, out, list(seeds), tuple(steps)
        self._lossless = lossless
        self._fields, self._config = tuple(fields) if steps else (), config

    def run(self, inputs: Callable[[], Any], together: int) -> None:
        """Makes what is missing: videos of seeds that are sampled already, seeds, videos of steps.

        Args:
            inputs: called for the run's `Inputs` if a seed must be sampled.
            together: seeds sampled at once.
        """
        from vrjax.models.pipeline import recorder as recorders

        sampled = [seed for seed in self.seeds if (self._folder(seed) / "index.json").exists()]
        todo = [seed for seed in self.seeds if seed not in sampled and not self._film(seed).exists()]
        with Progress(len(todo) * self.settings.steps) as line:
            recorder = recorders.Recorder(
                self.out / "trajectory",
                grid=self.settings.recipe.grid,
                steps=self.steps,
                fields=self._fields,
                shape=self.pipe.latent_shape(self.settings),
                on_step=line.step,
                about=self._made_of() if todo else None,
                say=line.say,
            )
            for seed in sampled:
                if not self._film(seed).exists():
                    line.say(f"seed {seed}: sampled already, not yet decoded")
                    self._finish(line, seed, recorders.read(self._folder(seed))["final"])
            if todo:
                size, what = recorder.bytes_per_seed / 2**30, ", ".join(self._fields) or "nothing"
                line.say(f"recording {what} of {len(self.steps)} steps: {size:.3g} GiB a seed")
                with line.phase("text encoder"):
                    given = inputs()
                stream = recorder.stream(self.pipe, self.settings, given, todo, together=together, phase=line.phase)
                for seed, _, final in stream:
                    self._finish(line, seed, final)
            for seed in [*sampled, *todo]:
                self._look(line, seed, recorders.read(self._folder(seed)))

    def _made_of(self) -> dict[str, Any]:
        """All that a run must share with one that it goes on with, beside the seeds that are computed together."""
        from vrjax.files import kept, writing

        config = {name: value for name, value in self._config.items() if name != "seeds"}
        code = kept.source("vrjax.models.pipeline.denoise")
        return {"config": config, "versions": writing.versions(), "device": writing.device(), "code": code}

    def _folder(self, seed: int) -> pathlib.Path:
        return self.out / "trajectory" / f"seed-{seed}"

    def _film(self, seed: int) -> pathlib.Path:
        return self.out / f"seed-{seed}.mp4"

    def _finish(self, line: Progress, seed: int, final: Any) -> None:
        """The finished video of a seed."""
        with line.phase(f"decoding seed {seed}"):
            self._write(self._film(seed), final, self._lossless)

    def _look(self, line: Progress, seed: int, kept: dict[str, Any]) -> None:
        """What the model believed at the recorded steps, where it is not there yet."""
        rows = {believed_file(self.out, seed, step): row for row, step in enumerate(self.steps)}
        rows = {file: row for file, row in rows.items() if not file.exists()}
        if not rows or believed(kept, 0) is None:
            return
        with line.phase(f"decoding steps of seed {seed}"):
            for file, row in rows.items():
                self._write(file, believed(kept, row))

    def _write(self, path: pathlib.Path, latent: Any, lossless: bool = False) -> None:
        from vrjax.data import mp4

        codec = mp4.LOSSLESS if lossless else mp4.PLAYED
        mp4.write(path, self.pipe.decode(latent), fps=self.settings.fps, codec=codec)


def believed_file(out: pathlib.Path, seed: int, step: int) -> pathlib.Path:
    """Where the video of a step lies."""
    return out / "x0" / f"seed-{seed}" / f"step-{step:03d}.mp4"


def believed(kept: dict[str, Any], row: int) -> Any:
    """The data estimate of a recorded row, or None where it was not kept."""
    if "x0" in kept["fields"]:
        return kept["x0"][row]
    if {"x", "v"} <= set(kept["fields"]):
        return kept["x"][row] - kept["sigma"][kept["steps"][row]].astype("f4") * kept["v"][row]
    return None


def report(out: pathlib.Path, config: dict[str, Any], sigmas: Any, seeds: list[int]) -> None:
    """report.html and results.json from the videos that are there; `sigmas` are the levels of all steps and 0."""
    import numpy as np

    from vrjax.data import mp4
    from vrjax.report import claims, html

    steps = [step for step in config["record"]["steps"] if believed_file(out, seeds[0], step).exists()]
    shown = steps or [len(sigmas) - 2]
    name = lambda seed, step: believed_file(out, seed, step) if steps else out / f"seed-{seed}.mp4"
    rows = [[smaller(mp4.decode(name(seed, step))[0]) for step in shown] for seed in seeds]
    case = html.Case(
        config["model"],
        config["prompt"],
        np.stack([np.stack(row) for row in rows]),
        steps=shown,
        sigma=sigmas[shown],
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
