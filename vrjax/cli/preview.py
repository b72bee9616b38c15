"""`vrjax preview`: contact sheet of a task or of puzzles, or a page of motions."""

import argparse
import pathlib

from vrjax.cli.common import numbers

NAME, SUMMARY = "preview", "contact sheet of a task or of puzzles, or motion files in 3-D"
TEXT = """\
Draws a contact sheet of a task: the film of the right answer, its prompt and its answer, clip by clip.

With `babyvision`: one puzzle of every subtype, or of those that are named, at three difficulties and with its answer.

With motion files: a page in which they stand side by side in 3-D and move under one clock. A file holds rows of
ViMoGen (276) or HumanML3D (263), or 22 joints, as .npy, .npz or .pt; or it is a .bvh with the joints' usual names.

examples:
  vrjax preview maze
  vrjax preview tictactoe --split train --seeds 100-107 --out sheet.png
  vrjax preview babyvision
  vrjax preview babyvision "Metro map" maze --seeds 7
  vrjax preview walk.npy sampled.bvh --out walks.html
"""


def add(sub: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    sub.add_argument(
        "task", nargs="+", help="name of a task: maze, tictactoe, ...; babyvision and subtypes of it; or motion files"
    )
    sub.add_argument("--split", help="train, val, test or one of the task's own (test)")
    sub.add_argument("--seeds", type=numbers, help="which clips (0-5)")
    sub.add_argument("--up-axis", type=int, choices=(1, 2), help="of files of joints: 2 z up, 1 y up (2)")
    sub.add_argument("--out", type=pathlib.Path, help="image or page (runs/preview/TASK-SPLIT.png, FILE.html)")


PUZZLES = "babyvision"


def puzzled(args: argparse.Namespace) -> None:
    """Draws a contact sheet of puzzles."""
    from vrjax.report.puzzle_sheet import puzzle_sheet
    from vrjax.tasks import puzzles

    seeds = args.seeds or [0]
    if len(seeds) > 1:
        raise ValueError(f"preview: --seeds names {len(seeds)} puzzles, expected one: there is a row for every subtype")
    subtypes, split = [puzzles.canonical(name) for name in args.task[1:]] or puzzles.subtypes(), args.split or "test"
    out = args.out or pathlib.Path("runs") / "preview" / f"{PUZZLES}-{split}.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    puzzle_sheet(subtypes, out, split=split, index=seeds[0])
    print(f"{len(subtypes)} subtypes of {PUZZLES}, {split}, puzzle {seeds[0]}: {out}")


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from vrjax import tasks
    from vrjax.cli import preview_motion
    from vrjax.report import sheet

    if any(pathlib.Path(name).suffix.lower() in preview_motion.SUFFIXES for name in args.task):
        preview_motion.run(args)
        return
    if args.task[0] == PUZZLES and args.up_axis is None:
        puzzled(args)
        return
    if len(args.task) > 1:
        raise ValueError(f"preview: {len(args.task)} tasks, {', '.join(args.task)}, expected one")
    if args.up_axis is not None:
        raise ValueError("preview: --up-axis is of motion files, not of tasks")
    (name,), split, seeds = args.task, args.split or "test", args.seeds or list(range(6))
    task = tasks.get(name)
    out = args.out or pathlib.Path("runs") / "preview" / f"{name}-{split}.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.contact_sheet(task, split, seeds, out)
    print(f"{len(seeds)} {split} clips of {name}: {out}")
