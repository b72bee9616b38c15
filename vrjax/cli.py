"""`vrjax`: train, look at worlds, sample, evaluate, gather claims."""

import argparse
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import NoReturn

# Heavy imports (jax, flax, orbax) happen inside the commands: `vrjax --help` answers at once.

DESCRIPTION = """\
A laboratory for video reasoning: train a small video diffusion model on procedural worlds,
watch it think step by step, and measure what it solves.

  vrjax preview maze                          look at a world: clips, prompts, answers
  vrjax train configs/smoke.py                every part of training, in under a minute
  vrjax train configs/worlds.py               the multi-world model; killed? run it again
  vrjax eval runs/worlds/model --clips 200    solved-rate per world, with 95 % intervals

A run is a folder, runs/<name>/: config.json, metrics.jsonl, checkpoints/, results.json, model/.
`vrjax COMMAND --help` explains each command with examples.
"""

TRAIN = """\
Trains a config to its end, in runs/<name>/. The same command goes on with a killed run, bit for bit.

A config is a Python file with a function config() that returns a TrainConfig. Every field of it can be
set on the command line (`vrjax train configs/worlds.py --help` lists them).

examples:
  vrjax train configs/smoke.py
  vrjax train configs/worlds.py --name wide --model.dim 96 --optim.lr 2e-3
  vrjax train configs/worlds.py --name seed1 --seed 1 --root /data/runs
  vrjax train configs/worlds.py --name sharded --mesh data 2 fsdp 2 --accumulate 2
  vrjax train runs/wide/config.json --name again      the config of an earlier run
"""


class Help(argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of descriptions."""


def _train(args: argparse.Namespace) -> None:
    from vrjax.train import config as configs

    config = configs.load(args.config)
    if args.overrides:
        import tyro

        prog = f"vrjax train {args.config}"
        config = tyro.cli(configs.TrainConfig, default=config, args=args.overrides, prog=prog, description=TRAIN)
    from vrjax.train import loop

    try:
        loop.run(config, root=args.root, fresh=args.fresh)
    except loop.Stopped as stopped:
        print(stopped)
        raise SystemExit(130) from None


def build() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(prog="vrjax", description=DESCRIPTION, formatter_class=Help)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    train = commands.add_parser(
        "train", help="train a config, or go on with it", description=TRAIN, formatter_class=Help
    )
    train.add_argument("config", type=pathlib.Path, help="a .py file with config(), or a run's config.json")
    train.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs"), help="where run folders are (runs)")
    train.add_argument("--fresh", action="store_true", help="forget an earlier run of this name and start over")
    train.set_defaults(run=_train, takes_overrides=True)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a command line. Expected errors print one line and exit with status 2."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = build()
    args, rest = _parse(parser, argv)
    args.overrides = rest
    try:
        args.run(args)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except EXPECTED as error:
        if args.debug:
            raise
        _fail(error)


EXPECTED: tuple[type[Exception], ...] = (ValueError, OSError, ArithmeticError, ImportError)


def _parse(parser: argparse.ArgumentParser, argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    # `vrjax train CONFIG --help` is the help of the config's fields, not of the command.
    later_help = argv[:1] == ["train"] and len(argv) > 2 and not argv[1].startswith("-")
    asked = [a for a in argv[2:] if a in ("-h", "--help")] if later_help else []
    args, rest = parser.parse_known_args([a for a in argv if a not in asked] if asked else argv)
    rest += asked
    if rest and not getattr(args, "takes_overrides", False):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return args, rest


def _fail(error: BaseException) -> NoReturn:
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    print(f"vrjax: {' '.join(text.split()) or type(error).__name__}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()


__all__ = ["build", "main"]
