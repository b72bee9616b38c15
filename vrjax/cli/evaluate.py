"""`vrjax eval`: solved-rate of a model, world by world."""

import argparse
import pathlib
import sys

from vrjax.cli.common import model_folder, positive

NAME, SUMMARY = "eval", "solved-rate of a model, world by world"
TEXT = """\
Solved-rate of a model on held-out clips: it samples one video per clip and each world's exact verifier judges it.
`solved` asks for the right last frame, `score` also for the frames before it. Intervals are Wilson's, 95 %.

examples:
  vrjax eval                                          the shipped model, test split, worlds it was trained on
  vrjax eval --model runs/worlds/model --worlds maze --clips 400
  vrjax eval --splits all --json rates.json           every held-out and out-of-distribution split
"""


def add(sub: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    sub.add_argument("--model", type=pathlib.Path, help="model folder (the shipped one)")
    sub.add_argument("--worlds", nargs="+", help="which worlds (those it was trained on)")
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

    path = model_folder(args.model)
    pipe = EmbeddedPipeline(path)
    names = args.worlds or pipe.folder.tasks or tasks.names()
    held_out = {name: [s for s in tasks.get(name).splits if s != "train"] for name in names}
    options = {"steps": args.steps, "shift": args.shift, "group": args.group, "seed": args.seed}
    judge = Evaluator(lambda dit: dit, pipe.folder.cfg, factor=pipe.folder.codec.factor, **options)
    rows, found = [], []
    for name in names:
        for split in held_out[name] if args.splits == ["all"] else args.splits:
            rate = judge.rates(pipe.dit, [name], split, args.clips)[name]
            found.append({"world": name, "split": split, **rate})
            interval = f"{rate['solved']:.1%} [{rate['low']:.1%}, {rate['high']:.1%}]"
            rows.append([name, split, interval, f"{rate['score']:.3f}", str(rate["n"])])
            print(f"{name} {split}: {interval}", file=sys.stderr)
    if args.json:
        sampler = {"solver": "euler", "steps": args.steps, "shift": args.shift, "seed": args.seed}
        writing.json(args.json, {"model": str(path), "sampler": sampler, "rates": found})
    Console().print(tables.rich(("world", "split", "solved [95 %]", "score", "n"), rows, "", colours={}))
