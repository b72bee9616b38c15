"""VBVR-Bench with any model of ours: videos as its evaluation kit expects them, the kit's scores, four control rows.

    python -m experiments.vbvr --bench VBVR-Bench --model Wan2.2-I2V-A14B --evalkit VBVR-EvalKit
    python -m experiments.vbvr --bench VBVR-Bench --model Wan2.2 --lora high=a.safetensors --lora low=b.safetensors
    python -m experiments.vbvr --bench worlds-bench --worlds          the shipped small model, on a tree of our worlds

Writes `runs/<name>/`: `videos/<row>/{split}/{task}/{00000}.mp4`, H.264 without loss at the true videos' size, for the
model, for ground truth, frozen first and frozen final frame, and for ground truth made as small as the model's videos;
`scores/` (the kit's own files); `results.json` and the table. The kit is run unchanged, in its own environment; its
entry point, commit and versions stand in the table's note. The same command goes on after a kill.
"""

import argparse
import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rich.console import Console

from vrjax.bench import vbvr as bench
from vrjax.cli.common import NETWORKS, SAMPLING, SETTINGS
from vrjax.data import vbvr
from vrjax.files.writing import atomic
from vrjax.report import claims, tables
from vrjax.study import benchmark, command
from vrjax.study.tables import running

Make = Callable[[Any], np.ndarray]
"""A benchmark's clip -> a video (t, h, w, 3) in [-1, 1]."""
Size = Callable[[Any], tuple[int, int]]
"""A benchmark's clip -> (h, w) of its video."""


def public(args: argparse.Namespace, found: Sequence[bench.Sample]) -> tuple[str, Make, Size, dict[str, Any]]:
    """A public Wan model: its name, how it makes a video, of which size, and what decides the numbers."""
    from vrjax import flow
    from vrjax.models import pipeline

    pipe = pipeline.open(args.model, dtype=args.dtype, loras=args.lora or ())
    asked = {name: getattr(args, name, None) for name in SETTINGS if name != "frames"}
    chosen = {name: value for name, value in asked.items() if value is not None}
    # All prompts at once: the text encoder is loaded once, and its rows are kept on disk.
    prompts = [(sample.folder / "prompt.txt").read_text("utf-8").strip() for sample in found]
    size = args.size or pipe.defaults.size
    negative = pipe.settings(picture=None, frames=1, **(chosen | {"size": size})).negative
    pipe.text([*dict.fromkeys(prompts), *([] if negative is None else [negative])])

    def make(clip: Any) -> np.ndarray:
        count = benchmark.frames(clip, pipe, args.frames)
        run = {"image": benchmark.picture(clip), "frames": count, "seeds": [args.seed], **chosen}
        video = pipe.decode(np.asarray(pipe.sample(clip.prompt, record=flow.Record(steps=()), **run).final))[0]
        return video[: args.frames or clip.meta["vbvr"]["frames"] or None]

    def size_of(clip: Any) -> tuple[int, int]:
        sides = clip.first_frame.shape[:2]
        return pipe.settings(picture=sides, frames=benchmark.frames(clip, pipe, args.frames), **chosen).size

    about = pipe.about | {"frames": args.frames, "options": chosen, "defaults": dataclasses.asdict(pipe.defaults)}
    return args.name or pipe.name, make, size_of, about


def worlds(args: argparse.Namespace, found: Sequence[bench.Sample]) -> tuple[str, Make, Size, dict[str, Any]]:
    """An embedded model, for trees that `vbvr.write` made of procedural worlds."""
    from vrjax import files, flow
    from vrjax.models.embedded import shipped
    from vrjax.models.pipeline import EmbeddedPipeline

    path = args.model or shipped.path("worlds")
    pipe, record = EmbeddedPipeline(path), flow.Record(steps=())
    chosen = {name: getattr(args, name) or getattr(pipe.defaults, name) for name in ("steps", "shift")}

    def size_of(clip: Any) -> tuple[int, int]:
        meta = clip.meta["vbvr"]
        upscale = meta["metadata"].get("parameters", {}).get("upscale")
        if not isinstance(upscale, int) or "world" not in clip.meta:
            raise ValueError(f"{meta['folder']}: not a clip of a procedural world, which --worlds needs")
        h, w = meta["size"]
        return h // upscale, w // upscale

    def make(clip: Any) -> np.ndarray:
        meta = clip.meta["vbvr"]
        (clip,) = vbvr.read(meta["folder"], size=size_of(clip))
        name = f"{args.seed}/{meta['task']}/{meta['index']}"
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
        given = {"image": clip.first_frame, "frames": meta["frames"], "seeds": [seed]}
        return pipe.decode(pipe.sample(clip.prompt, **given, record=record, **chosen).final)[0]

    about = {"model": str(path.name), "weights": files.fingerprint(path), **chosen}
    return args.name or "worlds", make, size_of, about


# ----------------------------------------------------------------------------------------------------------------- run


def run(args: argparse.Namespace, console: Console) -> None:
    """Videos, control rows, scores, table."""
    found = bench.read(args.bench, tasks=args.tasks, limit=args.limit)
    if args.evalkit is not None:
        bench.kit_of(args.evalkit, args.evalkit_python)  # a wrong kit is said before hours of sampling
    row, make, size_of, about = (worlds if args.worlds else public)(args, found)
    beside = [*bench.CONTROLS, bench.THROUGH]
    if row in beside or row.startswith(("checkpoint-", ".")) or pathlib.PurePath(row).name != row:
        raise ValueError(f"--name {row!r}: expected a plain folder name that is not one of {', '.join(beside)}")
    folder = args.out / f"vbvr-{row}"
    about |= {"kind": "vbvr", "row": row, "seed": args.seed, "samples": [s.file for s in found]}
    videos = folder / "videos"
    with running(folder, about, kind="vbvr", fresh=args.fresh, console=console) as here:
        progress = here.progress
        task = progress.add_task(row, total=len(found))
        for sample in found:
            progress.update(task, description=f"{row}: {sample.task[:30]} {sample.index}")
            if not (videos / row / sample.file).is_file():
                (clip,) = vbvr.read(sample.folder, max_frames=1)  # `frames` still counts them all
                where: dict[str, Any] = {} if args.worlds else {"size": tuple(clip.meta["vbvr"]["size"])}
                vbvr.write_prediction(videos / row, sample.split, sample.task, sample.index, make(clip), **where)
            progress.advance(task)
        bench.controls(progress.track(found, description="control rows"), videos)
        alike: dict[str, Any] = {"upscale": None} if args.worlds else {}
        there = progress.track(found, description="the truth at the model's size")
        bench.through(there, videos, size_of, frames=args.frames, **alike)
    console.print(f"{len(found)} videos in {videos / row}, control rows beside them")
    if args.evalkit is None:
        console.print("no scores: run it again with --evalkit PATH (github.com/Video-Reason/VBVR-EvalKit)")
        return
    rows = [row, *beside]
    scored = bench.evaluate(
        args.evalkit, videos, args.bench, folder / "scores", rows=rows, python=args.evalkit_python, say=console.print
    )
    write(folder, about, scored, found, console)


def write(folder: pathlib.Path, about: dict[str, Any], scored: bench.Evaluation, found: Any, console: Console) -> None:
    """results.json and the table, with what the kit did not score."""
    lines = bench.summary(scored.scores)
    kit = scored.kit
    note = (
        f"Evaluation kit {kit['entry']} (task-specific score), commit {kit['commit']}, numpy "
        f"{kit['environment']['numpy']}, OpenCV {kit['environment']['cv2']}. Intervals: 95 %, tasks, samples redrawn."
    )
    unscored = len(found) - lines[0]["n"]
    if unscored:
        names = {(s.split, s.task, s.index) for s in scored.scores[about["row"]]}
        split = bench.SPLIT_NAMES
        tasks = sorted({s.task for s in found if (split[s.split], s.task, s.index) not in names})
        note += f" The kit has no evaluator for {unscored} videos: {', '.join(tasks)}."
    errors = [
        {"row": row, "task": s.task, "index": s.index, "error": s.error}
        for row, scores in scored.scores.items()
        for s in scores
        if s.error is not None
    ]
    if errors:
        note += f" {len(errors)} videos were scored 0 because their evaluator failed (results.json lists them)."
    details = {**about, "kit": kit, "rows": lines, "errors": errors, "note": note}
    claims.write(folder / "results.json", [], details=details)
    head, body = bench.cells(lines)
    with atomic(folder / "table.md") as scratch:
        scratch.write_text(tables.markdown(head, body, note) + "\n", encoding="utf-8")
    console.print(tables.rich(head, body, note, colours={}))
    console.print(f"{folder / 'results.json'}, {folder / 'table.md'}")


_PATH, _COUNT = {"type": pathlib.Path}, {"type": int}
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "what is sampled and scored": {
        "--bench": _PATH | {"required": True, "help": "the benchmark's data: {split}/{task}/{00000}/"},
        "--model": _PATH | {"help": "a public Wan model's folder (with --worlds: an embedded one)"},
        "--worlds": {"action": "store_true", "help": "an embedded model on a tree of procedural worlds"},
        "--evalkit": _PATH | {"help": "a clone of VBVR-EvalKit"},
        "--evalkit-python": _PATH | {"help": "its interpreter (EVALKIT/.venv/bin/python)"},
        "--tasks": {"nargs": "+", "metavar": "TASK", "help": "only these, by the beginning of the name: O-39 G-3"},
        "--limit": _COUNT | {"metavar": "N", "help": "at most N samples of a task"},
        "--seed": _COUNT | {"default": 0, "help": "of the starting noise (0)"},
        "--name": {"help": "of the row and the run folder (the model's)"},
    },
    "sampling (by default as the model's authors publish it)": {
        **{flag: SAMPLING[flag] for flag in ("--size", "--frames", "--steps", "--shift", "--solver", "--guidance")},
        "--frames": SAMPLING["--frames"] | {"help": "of every video (as many as the true one has)"},
        **NETWORKS,
    },
}


def job(study: None, options: argparse.Namespace, console: Console) -> None:
    """What was asked for, checked."""
    if options.model is None and not options.worlds:
        raise ValueError("give --model DIR, or --worlds for the shipped small model")
    if options.limit is not None and options.limit < 1:
        raise ValueError(f"--limit {options.limit}: expected at least 1")
    run(options, console)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    return command.main("vbvr", __doc__, job, argv, options=OPTIONS)
