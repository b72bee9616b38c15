"""Tic-tac-toe on a larger board: find the cell that completes three in a row."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar

import numpy as np

from vrjax.tasks.core import INDEX, INKS, NAMES, Answer, Clip, Draws, Layout, Task, canonical

FLOOR, LINE = INDEX["floor"], INDEX["sand"]


@functools.cache
def rows_of_three(n: int) -> list[int]:
    """All rows of three (across, down and both diagonals) of the n x n board, as bit masks; bit y * n + x is a cell."""
    rows = []
    for y in range(n):
        for x in range(n):
            for b, a in ((0, 1), (1, 0), (1, 1), (1, -1)):
                if y + 2 * b < n and 0 <= x + 2 * a < n:
                    rows.append(sum(1 << ((y + k * b) * n + x + k * a) for k in range(3)))
    return rows


def winning_cells(own: int, rival: int, n: int) -> list[int]:
    """The empty cells that give `own` three in a row; boards are bit masks."""
    cells = set()
    for row in rows_of_three(n):
        if (own & row).bit_count() == 2 and not rival & row:
            cells.add((row & ~own).bit_length() - 1)
    return sorted(cells)


@dataclasses.dataclass(frozen=True)
class TicTacToe(Task):
    """Put one mark of the named colour so that three stand in a row, across, down or diagonally.

    Cell (i, j) is block (2i, 2j), its lines the three blocks right and below: one token per cell, as in the maze. Both
    sides have equally many marks, nobody has three in a row yet, and one or two cells win for the side to move (two:
    each is filmed half of the time, either is right). The mark appears after a third of the film and stays. The board
    is larger than the classic one because that has only about 1,300 positions, too few to hold any out.

    Splits are disjoint by board up to mirror images and quarter turns, whatever the colours. Out of distribution:
    `crowded` has one or two more marks a side, `large` one more row and column.
    Candidates: a mark in each empty cell (prior 0 where it does not win).

    Attributes:
        size: cells per side.
        marks: fewest and most marks per side.
    """

    size: int = 5
    marks: tuple[int, int] = (3, 4)

    name: ClassVar[str] = "tictactoe"
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test", "crowded", "large")
    colours: ClassVar[tuple[str, ...]] = ("floor", "sand", *INKS)

    def __post_init__(self):
        super().__post_init__()
        if not 3 <= self.size <= 8:
            raise ValueError(f"{self.name}: size is {self.size}, expected 3 to 8 cells")
        if not 2 <= self.marks[0] <= self.marks[1] <= self.fullest:
            raise ValueError(f"{self.name}: marks is {self.marks}, expected 2 <= fewest <= most <= {self.fullest}")

    @property
    def fullest(self) -> int:
        """The most marks per side that leave a cell to play."""
        return (self.size**2 - 1) // 2

    @property
    def slots(self) -> int:
        return (self.size + 1) ** 2 - 2 * self.marks[0]

    def draw(self, rng: Draws, split: str) -> Layout | None:
        n = self.size + (split == "large")
        low, high = self.marks
        if split == "crowded":
            low, high = min(high + 1, self.fullest), min(high + 2, self.fullest)
        count = rng.between(low, high)
        cells = rng.sample(range(n * n), 2 * count)
        own, rival = sorted(cells[:count]), sorted(cells[count:])
        ours, theirs = (sum(1 << c for c in side) for side in (own, rival))
        if any(row & ours == row or row & theirs == row for row in rows_of_three(n)):
            return None
        if not 1 <= len(winning_cells(ours, theirs, n)) <= 2:
            return None
        colours = rng.sample(INKS, 2)
        return {"frames": self.frames, "size": n, "own": own, "rival": rival, "colours": colours}

    def key(self, layout: Layout) -> bytes:
        board = np.zeros(layout["size"] ** 2, np.uint8)
        board[layout["own"]], board[layout["rival"]] = 1, 2
        return canonical(board.reshape(layout["size"], -1))

    def answers(self, layout: Layout) -> list[Answer]:
        n = layout["size"]
        own, rival = (sum(1 << c for c in layout[side]) for side in ("own", "rival"))
        wins = winning_cells(own, rival, n)
        empty = [c for c in range(n * n) if not (own | rival) >> c & 1]
        return [Answer(f"row {c // n + 1} column {c % n + 1}", (c in wins) / len(wins), c) for c in empty]

    def film(self, layout: Layout, move: int | None) -> np.ndarray:
        n, t = layout["size"], layout["frames"]
        film = np.full((t, 2 * n, 2 * n), LINE, np.uint8)
        board = np.full((t, n * n), FLOOR, np.uint8)
        board[:, layout["own"]], board[:, layout["rival"]] = (INDEX[c] for c in layout["colours"])
        if move is not None:
            board[t // 3 :, move] = INDEX[layout["colours"][0]]
        film[:, ::2, ::2] = board.reshape(t, n, n)
        return film

    def prompt(self, layout: Layout) -> str:
        return f"Put one {layout['colours'][0]} mark to make three in a row."

    def describe(self, layout: Layout, raster: np.ndarray) -> dict[str, Any]:
        """`board`: whether lines and given marks are intact; `marks`: the new marks as (row, column, colour)."""
        blank = self.film(layout, None)[0]
        new = (raster != blank) & (blank == FLOOR)
        marks = [(int(y) // 2 + 1, int(x) // 2 + 1, NAMES[raster[y, x]]) for y, x in np.argwhere(new)]
        return {"board": bool((raster == blank)[blank != FLOOR].all()), "marks": marks}

    def symbols(self, clip: Clip) -> dict[str, np.ndarray]:
        """0/1 for `own` and `rival` (the given marks), `mark` (the new mark, once it stands), `winning` (every winning
        cell) and `answer` (the cell that the film plays)."""
        layout = self._layout(clip)
        t, n = layout["frames"], layout["size"]
        answers = self.answers(layout)
        played = answers[clip.meta["choice"]].move
        cells = {"own": layout["own"], "rival": layout["rival"], "mark": [played], "answer": [played]}
        cells["winning"] = [a.move for a in answers if a.prior > 0]
        grids = {name: np.zeros((t, n * n), np.int64) for name in cells}
        for name, where in cells.items():
            grids[name][t // 3 if name == "mark" else 0 :, where] = 1
        return {name: grid.reshape(t, n, n) for name, grid in grids.items()}
