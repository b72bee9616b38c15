"""`vrjax claims`: table of what was found."""

import argparse
import pathlib

NAME, SUMMARY = "claims", "table of what was found"
TEXT = """\
Gathers the claims of runs: the paper's statement, the estimate with its 95 % interval, and the verdict. With --wide
also training seeds and test instances, the same statistic under the null model, and the p-value, for a terminal of 160
columns or more. A quick run has no verdicts. A claim
that was registered, but that the results do not hold, is shown as missing; what was not tested stands below with the
reason. Beside the numbers of a quick run stands what the committed full run found, where there is one.

With --markdown every run has a table of its own with all columns: role, statistic, smallest effect, the estimate of
each seed, and the share of variance between seeds. A paper's folder counts as a run: its committed results, or, where
there are none yet, all that it registers as missing.

examples:
  vrjax claims runs/*
  vrjax claims experiments/realdpo --wide
  vrjax claims runs/chain_of_steps --markdown > claims.md
  vrjax claims experiments/{chain_of_steps,realdpo,vchain} --markdown
"""


def add(sub: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    sub.add_argument("runs", nargs="+", type=pathlib.Path, help="run folders, papers' folders or results files")
    sub.add_argument("--wide", action="store_true", help="one table of all runs with more columns")
    sub.add_argument("--markdown", action="store_true", help="for a README")


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from rich.console import Console

    from vrjax.report import claims, tables

    found = claims.gather(args.runs)
    if args.markdown:
        told = lambda rows: claims.table(rows) if rows else "no claims\n"
        print("\n".join(f"## {tables.escape(run)}\n\n{told(rows)}" for run, rows in found.items()))
    else:
        Console().print(claims.table(found, "rich") if args.wide else claims.brief(found))
