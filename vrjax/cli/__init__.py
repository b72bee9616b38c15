"""`vrjax`: train, look at tasks, sample, evaluate, plan for pods, gather claims.

| file | command |
| --- | --- |
| `preview`, with `preview_motion` | look at a task: clips, prompts, answers; at motion files in 3-D |
| `sample`, with `sample_films`, `sample_causal`, `sample_world`, `sample_motion` | videos, motions, all their steps |
| `encode`, `losers` | data for training and for preferences |
| `train`, `align`, `learn` | training; on preferences; of world models |
| `evaluate` | solved-rate, task by task |
| `play` | drive two worlds side by side |
| `plan` | what a run needs of a pod |
| `convert` | public weights from layout to layout |
| `claims` | what was found |
| `usual` | the short help of a config |
| `common`, `progress`, `memory` | what commands share: kinds of arguments, errors as one line; the bar; memory needed |
"""

import argparse
import io
import logging
import os
import sys
from collections.abc import Sequence

from vrjax.cli import align, claims, convert, encode, evaluate, learn, losers, plan, play, preview, sample, train
from vrjax.cli.common import check, explained, fail

# Heavy imports (jax, flax, orbax) happen inside the commands: `vrjax --help` answers at once.

# A command is a module with NAME, SUMMARY, TEXT (its help), `add(parser)` and `run(args)`; in the order of the help.
COMMANDS = (preview, sample, encode, train, losers, align, learn, evaluate, play, plan, convert, claims)

DESCRIPTION = """\
A laboratory for video reasoning: train a small video diffusion model on procedural worlds,
watch it think step by step, and measure what it solves.

  vrjax preview maze                      look at a world: clips, prompts, answers
  vrjax preview walk.npy walk.bvh         look at motions in 3-D, side by side
  vrjax sample maze                       sample it with the shipped model; open report.html and scrub the steps
  vrjax train configs/chain_of_steps/smoke.py            every part of training, in under a minute
  vrjax train configs/chain_of_steps/worlds.py           the multi-world model; killed? run it again
  vrjax learn configs/world_model/push.py a world model; plan through it, or play it
  vrjax eval --model runs/worlds/model    solved-rate per world, with 95 % intervals
  vrjax play drive                        drive a world by hand, beside another one; replays bit for bit
  vrjax plan configs/pods/wan_14b_lora.py what a run needs of a TPU pod, found without one
  vrjax convert SRC DST --layout wan      public weights in another layout, bit for bit
  vrjax claims runs/*                     what was found: every claim of every run, beside its null

A run is a folder, runs/<name>/: config.json, metrics.jsonl, checkpoints/, model/, results.json, report.html.
`vrjax COMMAND --help` explains each command with examples; --verbose says what is chosen, --debug shows tracebacks.
"""


class Help(argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of descriptions."""


def build() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(prog="vrjax", description=DESCRIPTION, formatter_class=Help)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument("--verbose", action="store_true", help="say what is chosen, e.g. the attention kernels")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in COMMANDS:
        sub = commands.add_parser(
            module.NAME, help=module.SUMMARY, description=module.TEXT, formatter_class=Help, allow_abbrev=False
        )
        sub.set_defaults(run=module.run)
        module.add(sub)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a command line. Expected errors print one line and exit with status 2."""
    for stream in (sys.stdout, sys.stderr):  # a terminal or a log in ASCII must not end a run
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if os.name == "nt":
        fail(OSError("vrjax runs on Linux and macOS; on Windows use it inside WSL (wsl --install)"))
    argv = list(sys.argv[1:] if argv is None else argv)
    debug, verbose = "--debug" in argv, "--verbose" in argv  # wherever they stand
    if verbose:
        logging.basicConfig(format="%(message)s")
        logging.getLogger("vrjax").setLevel(logging.INFO)
    parser = build()
    args, rest = _parse(parser, [a for a in argv if a not in ("--debug", "--verbose")])
    args.overrides, args.debug = rest, debug
    try:
        check(args)
        args.run(args)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("vrjax: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        if debug or explained(error) is None:
            raise
        fail(error)


def _parse(parser: argparse.ArgumentParser, argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    known = [module.NAME for module in COMMANDS]
    if (asked_for := next((word for word in argv if not word.startswith("-")), known[0])) not in known:
        from vrjax.files import named

        fail(ValueError(named.unknown("command", asked_for, known)))
    # `vrjax train CONFIG --help` is the help of the config's fields, not of the command.
    later_help = argv[:1] in (["train"], ["align"]) and len(argv) > 2 and not argv[1].startswith("-")
    asked = [a for a in argv[2:] if a in ("-h", "--help", "--help-all")] if later_help else []
    args, rest = parser.parse_known_args([a for a in argv if a not in asked] if asked else argv)
    rest += asked
    if rest and not getattr(args, "takes_overrides", False):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return args, rest
