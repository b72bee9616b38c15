"""`vrjax claims`: table of what was found."""

import argparse
import pathlib

NAME, SUMMARY = "claims", "table of what was found"
TEXT = """\
Gathers the claims of runs into one table: the paper's statement, the estimate with its 95 % interval, training seeds
and test instances, the same statistic under the null model, p-value and verdict. A quick run has no verdicts. A claim
that was registered, but that the results do not hold, is shown as missing; what was not tested stands below with the
reason. With --markdown the table has every column: role, statistic, smallest effect, the estimate of each seed, and
the share of variance between seeds.

examples:
  vrjax claims runs/*
  vrjax claims runs/chain_of_steps --markdown > claims.md
"""


def add(sub: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    sub.add_argument("runs", nargs="+", type=pathlib.Path, help="run folders or results files")
    sub.add_argument("--markdown", action="store_true", help="for a README")


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from rich.console import Console

    from vrjax.report import claims

    found = claims.gather(args.runs)
    if args.markdown:
        print(claims.table(found))
    else:
        Console().print(claims.table(found, "rich"))
