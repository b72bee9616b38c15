"""`vrjax preview`: contact sheet of a task."""

import argparse
import pathlib

from vrjax.cli.common import numbers

NAME, SUMMARY = "preview", "contact sheet of a task"
TEXT = """\
Draws a contact sheet of a task: the film of the right answer, its prompt and its answer, clip by clip.

examples:
  vrjax preview maze
  vrjax preview tictactoe --split train --seeds 100-107 --out sheet.png
"""


def add(sub: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    sub.add_argument("task", help="name of a task: maze, tictactoe, ...")
    sub.add_argument("--split", default="test", help="train, val, test or one of the task's own (test)")
    sub.add_argument("--seeds", type=numbers, default=list(range(6)), help="which clips (0-5)")
    sub.add_argument("--out", type=pathlib.Path, help="the image (runs/preview/TASK-SPLIT.png)")


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from vrjax import tasks
    from vrjax.report import sheet

    task = tasks.get(args.task)
    out = args.out or pathlib.Path("runs") / "preview" / f"{args.task}-{args.split}.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.contact_sheet(task, args.split, args.seeds, out)
    print(f"{len(args.seeds)} {args.split} clips of {args.task}: {out}")
