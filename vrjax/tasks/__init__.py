"""Procedural video reasoning tasks: generator, renderer and exact verifier (NumPy only).

    task = tasks.get("maze")                  # tasks.names(); options as keywords: tasks.get("maze", size=6)
    clip = task.make(seed, split="test")      # Clip(video, first_frame, prompt, answer, meta)
    task.score(clip, video)                   # 1.0 for a right answer with every frame right; see `Task`
    task.solved(clip, video)                  # right answer in the decisive frames (mostly the last): what is counted

Every clip but those of puzzles has 9 frames of 40 x 40 pixels, drawn in blocks of 4 x 4 pixels (48 x 48 in the `large`
splits; the entrant's have 32 x 32).

| task | question | also held out (out of distribution) | layouts up to symmetry | chance |
| --- | --- | --- | --- | --- |
| maze | the only path | long, large | > 50,000 | 1 in 8 candidates |
| maze_goals | a path to any goal, with a known prior | three, large | > 500,000 | all candidates are right |
| tictactoe | the cell that makes three in a row | crowded, large | > 500,000 | 0.08 of the empty cells |
| occluder | what comes out behind the screen | wide, large | > 500,000 | 1 in 8 candidates |
| ball | where a bouncing ball goes | fast, large | 1,245 (11,696 turned; x places x colours) | 1 in 7 candidates |
| entrant | what goes out as it came in, its look unstated | - | about 1,000 (x 12 looks) | all looks are right |
| pick | the object that the prompt names | many, large | > 50,000 | 1 in 3.4 objects |
| draw_... | 22 puzzles, the answer drawn into the picture (2 frames, 64 x 64) | harder, hardest | by file | by file |

(Layouts: estimated from repeats among 6,000 draws.) A new task is one file, named as its class's `name`; `get` finds it
by that name, so nothing is registered. What is not a file of this folder is not listed:

| room | what is in it |
| --- | --- |
| core | clips, the block raster, splits, and the class `Task` |
| discs | paths of discs in a box under exact physics, and their exact judge |
| chains | causal chains of elements drawn as sprites, with metrics of their own |
| puzzles | 22 basic visual skills, a picture and a question each, with exact answers |
"""

import dataclasses
import importlib
import pkgutil
from typing import Any

from vrjax.files import named
from vrjax.tasks.ball import Ball
from vrjax.tasks.core import BLOCK, Answer, Clip, Task
from vrjax.tasks.entrant import Entrant
from vrjax.tasks.maze import Maze
from vrjax.tasks.maze_goals import MazeGoals
from vrjax.tasks.occluder import Occluder
from vrjax.tasks.pick import Pick
from vrjax.tasks.puzzles import drawing
from vrjax.tasks.tictactoe import TicTacToe

__all__ = [
    "BLOCK",
    "Answer",
    "Ball",
    "Clip",
    "Entrant",
    "Maze",
    "MazeGoals",
    "Occluder",
    "Pick",
    "TicTacToe",
    "Task",
    "get",
    "names",
]


def names() -> tuple[str, ...]:
    """The names of the tasks of this folder; those of puzzles that are answered by drawing are `drawing.names()`."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg and m.name != "core"))


def get(name: str, **options: Any) -> Task:
    """The task of that name.

    Args:
        name: one of `names()`, or of `puzzles.drawing.names()`.
        **options: fields of the task's class, for example `size=6` for "maze".

    Raises:
        ValueError: if the task or an option is unknown, or an option's value is impossible.
    """
    if name.startswith(drawing.BEFORE):
        kind = drawing.kind(name)
    elif name not in names():
        raise ValueError(named.unknown("task", name, names()))
    else:
        inside = vars(importlib.import_module(f"{__name__}.{name}")).values()
        (kind,) = (c for c in inside if isinstance(c, type) and issubclass(c, Task) and c.name == name)
    known = [f.name for f in dataclasses.fields(kind)]
    for option in options:
        if option not in known:
            raise ValueError(f"{name}: {named.unknown('option', option, known)}")
    return kind(**options)


__getattr__, __dir__ = named.lazy(__name__)
