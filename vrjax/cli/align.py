"""`vrjax align`: train on preferences, or go on with it."""

import argparse
import pathlib

from vrjax.cli.common import overridden

NAME, SUMMARY = "align", "train on preferences, or go on with it"
TEXT = """\
Trains on preferences: real clips against a model's own samples (RealDPO and its family), in runs/<name>/. The same
command goes on with a killed run, bit for bit. Its config() returns an AlignConfig.

examples:
  vrjax align configs/realdpo/smoke.py
  vrjax align configs/realdpo/smoke.py --name anchored --preference.loss dpop --preference.anchor 10
"""


def add(sub: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    sub.add_argument("config", type=pathlib.Path, help="a .py file with config(), or a run's config.json")
    sub.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs"), help="where run folders are (runs)")
    sub.add_argument("--fresh", action="store_true", help="forget an earlier run of this name and start over")
    sub.set_defaults(takes_overrides=True)


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from vrjax.align import loop
    from vrjax.align.config import AlignConfig
    from vrjax.parallel.memory import reuse_host_memory

    config = loop.load(args.config)
    if args.overrides:
        prog = f"vrjax align {args.config}"
        config = overridden(AlignConfig, config, args.overrides, prog=prog, description=TEXT)
    reuse_host_memory()
    try:
        loop.run(config, root=args.root, fresh=args.fresh)
    except loop.Stopped as stopped:
        print(stopped)
        raise SystemExit(130) from None
