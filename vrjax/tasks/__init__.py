"""Procedural video reasoning worlds: generator, renderer and exact verifier (NumPy only)."""

from vrjax.tasks.core import BLOCK, Answer, Clip, World, get, names
from vrjax.tasks.maze import Maze

__all__ = ["BLOCK", "Answer", "Clip", "Maze", "World", "get", "names"]
