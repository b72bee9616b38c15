"""A maze with several equally good goals: which one the film goes to is chance, with a known prior."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from vrjax.tasks.core import INDEX, Answer, Draws, Layout
from vrjax.tasks.maze import GOAL, Maze, adjacent, paths_from, spell, spell_maze


def brambles(rng: Draws, n: int) -> list[str]:
    """A random perfect maze that grows from a random cell of what is there (Prim-like): many short branches.

    Returns: as `vrjax.tasks.maze.backtracker`.
    """
    grid = adjacent(n)
    live = [(rng.below(n), rng.below(n))]
    seen, edges = {live[0]}, set()
    while live:
        i = rng.below(len(live))
        here = live[i]
        ways = [cell for cell in grid[here] if cell not in seen]
        if not ways:
            live.pop(i)
            continue
        cell = rng.choice(ways)
        edges.add((min(here, cell), max(here, cell)))
        seen.add(cell)
        live.append(cell)
    return spell_maze(edges, n)


@dataclasses.dataclass(frozen=True)
class MazeGoals(Maze):
    """Walk to any one of 2 or 4 goals, all the same number of steps away. Every goal reached is right (score 1).

    The film's goal is drawn by a prior that the picture shows: all goals blue means uniform; one yellow among four
    means 0.4 for the yellow one and 0.2 for each of the others. A model of the data must therefore leave the choice
    open until its noise decides, and the exact posterior over candidates is known: the world of exploration and of the
    null model. Drawing rule, raster and speed are those of `Maze`; the mazes have many short branches instead of long
    corridors.

    Splits as in `Maze`. Out of distribution: `three` has three goals, `large` one more row and column.
    Candidates: the way to each goal, row by row (at most 4).

    Attributes:
        odds: "mixed" (half the clips with four goals have a yellow one), "uniform" (none) or "favoured" (all; every
            clip has four goals, but in `three`).
    """

    shortest: int = 4
    odds: str = "mixed"

    name: ClassVar[str] = "maze_goals"
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test", "three", "large")
    colours: ClassVar[tuple[str, ...]] = ("floor", "wall", "red", "green", "blue", "yellow")

    def __post_init__(self):
        super().__post_init__()
        if self.size < 4:
            raise ValueError(f"{self.name}: size is {self.size}, expected 4 to 12 cells")
        if self.odds not in ("mixed", "uniform", "favoured"):
            raise ValueError(f"{self.name}: odds is {self.odds!r}, expected 'mixed', 'uniform' or 'favoured'")

    @property
    def slots(self) -> int:
        return 4

    def draw(self, rng: Draws, split: str) -> Layout | None:
        count = 3 if split == "three" else 4 if self.odds == "favoured" else rng.choice((2, 4))
        tinted = {"mixed": rng.below(2) == 1, "uniform": False, "favoured": True}[self.odds] and count == 4
        maze = brambles(rng, self.size + (split == "large"))
        start = (rng.below(len(maze)), rng.below(len(maze)))
        rings: dict[int, list[list[int]]] = {}
        for cell, path in paths_from(maze, start).items():
            if self.shortest <= len(path) - 1 <= (self.longest or 0):
                rings.setdefault(len(path) - 1, []).append(list(cell))
        rings = {steps: cells for steps, cells in rings.items() if len(cells) >= count}
        if not rings:
            return None
        goals = sorted(rng.sample(rings[rng.choice(sorted(rings))], count))
        favoured = rng.below(count) if tinted else None
        layout = {"frames": self.frames, "speed": self.speed, "maze": maze, "start": list(start), "goals": goals}
        return layout | {"favoured": favoured}

    def answers(self, layout: Layout) -> list[Answer]:
        paths = paths_from(layout["maze"], tuple(layout["start"]))
        favoured, count = layout["favoured"], len(layout["goals"])
        odds = [1 / count if favoured is None else 0.4 if i == favoured else 0.2 for i in range(count)]
        ways = [paths[tuple(goal)] for goal in layout["goals"]]
        return [Answer(spell(way), p, way) for way, p in zip(ways, odds, strict=True)]

    def mark(self, layout: Layout, i: int) -> int:
        return INDEX["yellow"] if i == layout["favoured"] else GOAL

    def prompt(self, layout: Layout) -> str:
        return "Draw a shortest path from green to any one goal."
