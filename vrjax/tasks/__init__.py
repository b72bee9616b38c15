"""Procedural video reasoning worlds: generator, renderer and exact verifier (NumPy only)."""

from vrjax.tasks.ball import Ball
from vrjax.tasks.core import BLOCK, Answer, Clip, World, get, names
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
    "World",
    "get",
    "names",
]
