"""Procedural video reasoning worlds: generator, renderer and exact verifier (NumPy only).

    world = tasks.get("maze")                 # tasks.names(); options as keywords: tasks.get("maze", size=6)
    clip = world.make(seed, split="test")     # Clip(video, first_frame, prompt, answer, meta)
    world.score(clip, video)                  # 1.0 for a right answer with every frame right; see `Task`
    world.solved(clip, video)                 # right answer in the last frame: what the experiments count

Every clip has 9 frames of 40 x 40 pixels, drawn in blocks of 4 x 4 pixels (48 x 48 in the `large` splits).

| world | question | also held out (out of distribution) | layouts up to symmetry | chance |
| --- | --- | --- | --- | --- |
| maze | the only path | long, large | > 50,000 | 1 in 8 candidates |
| maze_goals | a path to any goal, with a known prior | three, large | > 500,000 | all candidates are right |
| tictactoe | the cell that makes three in a row | crowded, large | > 500,000 | 0.08 of the empty cells |
| occluder | what comes out behind the screen | wide, large | > 500,000 | 1 in 8 candidates |
| ball | where a bouncing ball goes | fast, large | 1,245 (11,696 turned; x places x colours) | 1 in 7 candidates |
| pick | the object that the prompt names | many, large | > 50,000 | 1 in 3.4 objects |

(Layouts: estimated from repeats among 6,000 draws.) A new world is one file with a class, one line here, and one row in
`tests/tasks/test_worlds.py`.
"""

from vrjax.tasks.ball import Ball
from vrjax.tasks.core import BLOCK, Answer, Clip, Task, get, names
from vrjax.tasks.maze import Maze
from vrjax.tasks.maze_goals import MazeGoals
from vrjax.tasks.occluder import Occluder
from vrjax.tasks.pick import Pick
from vrjax.tasks.tictactoe import TicTacToe

__all__ = [
    "BLOCK",
    "Answer",
    "Ball",
    "Clip",
    "Maze",
    "MazeGoals",
    "Occluder",
    "Pick",
    "TicTacToe",
    "Task",
    "get",
    "names",
]
