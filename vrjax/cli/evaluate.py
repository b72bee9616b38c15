"""`vrjax eval`: solved-rate of a model, world by world."""

import argparse
import pathlib
import sys
from collections.abc import Sequence

from vrjax.cli.common import add_model, model_folder, positive

NAME, SUMMARY = "eval", "solved-rate of a model, world by world"
TEXT = """\
Solved-rate of a model on held-out clips: it samples one video per clip and each world's exact verifier judges it.
`solved` asks for the right last frame, `score` also for the frames before it. Intervals are Wilson's, 95 %.

examples:
  vrjax eval                                          every world, each by the shipped model that knows it best
  vrjax eval --model worlds --clips 200               a shipped model by its name
  vrjax eval --model runs/worlds/model --worlds maze --clips 400
  vrjax eval --splits all --json rates.json           every held-out and out-of-distribution split
"""


def add(sub: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_model(sub, "model folder, shipped name or id on the Hugging Face hub (the one that knows a world best)")
    sub.add_argument("--worlds", nargs="+", help="which worlds (those that the model was trained on)")
    sub.add_argument("--splits", nargs="+", default=["test"], help="which splits, or all but train: `all` (test)")
    sub.add_argument("--clips", type=positive, default=100, help="clips per world and split (100)")
    sub.add_argument("--steps", type=positive, default=20, help="Euler steps (20)")
    sub.add_argument("--shift", type=float, default=3.0, help="shift of the noise grid (3)")
    sub.add_argument("--seed", type=int, default=0, help="of the initial noise (0)")
    sub.add_argument("--group", type=positive, default=16, help="clips sampled at once (16)")
    sub.add_argument("--json", type=pathlib.Path, help="also write the numbers here")


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from rich.console import Console

    from vrjax import tasks
    from vrjax.files import writing
    from vrjax.models.pipeline import EmbeddedPipeline
    from vrjax.report import tables
    from vrjax.train.evaluate import Evaluator

    options = {"steps": args.steps, "shift": args.shift, "group": args.group, "seed": args.seed}
    rows, found = [], []
    for path, names in asked(args.model, args.worlds, args.download).items():
        pipe = EmbeddedPipeline(path)
        judge = Evaluator(lambda dit: dit, pipe.folder.cfg, factor=pipe.folder.codec.factor, **options)
        for name in names:
            held_out = [s for s in tasks.get(name).splits if s != "train"]
            for split in held_out if args.splits == ["all"] else args.splits:
                rate = judge.rates(pipe.dit, [name], split, args.clips)[name]
                found.append({"world": name, "split": split, "model": pipe.folder.name, **rate})
                interval = f"{rate['solved']:.1%} [{rate['low']:.1%}, {rate['high']:.1%}]"
                rows.append([name, split, pipe.folder.name, interval, f"{rate['score']:.3f}", str(rate["n"])])
                print(f"{name} {split}, {pipe.folder.name}: {interval}", file=sys.stderr)
    if args.json:
        sampler = {"solver": "euler", "steps": args.steps, "shift": args.shift, "seed": args.seed}
        writing.json(args.json, {"sampler": sampler, "rates": found})
    Console().print(tables.rich(("world", "split", "model", "solved [95 %]", "score", "n"), rows, "", colours={}))


def asked(
    model: pathlib.Path | None, worlds: Sequence[str] | None, download: bool = False
) -> dict[pathlib.Path, list[str]]:
    """The worlds that each model's folder is judged on."""
    from vrjax import tasks
    from vrjax.models.embedded import folders, shipped

    if model is not None:
        path = model_folder(model, download=download)
        return {path: list(worlds or folders.find(path).tasks or tasks.names())}
    out: dict[pathlib.Path, list[str]] = {}
    for name in worlds or shipped.taught():
        out.setdefault(model_folder(None, tasks.get(name).name), []).append(name)
    return out
