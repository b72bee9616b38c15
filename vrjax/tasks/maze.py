"""A maze with one way through: a red line grows from the green start to the blue goal."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar

import numpy as np

from vrjax.tasks.core import INDEX, Answer, Clip, Draws, Layout, Task, canonical

FLOOR, WALL, PATH, START, GOAL = (INDEX[c] for c in ("floor", "wall", "red", "green", "blue"))
WRONG = 7  # answers beside the right one
STEPS = {"R": (0, 1), "D": (1, 0), "L": (0, -1), "U": (-1, 0)}
Cell = tuple[int, int]


def backtracker(rng: Draws, n: int) -> list[str]:
    """A random perfect maze (spanning tree of the n x n cells) by the recursive backtracker: long corridors, few forks.

    Returns:
        n strings of n letters: what is open from a cell, "." nothing, "R" to the right, "D" down, "B" both.
    """
    grid = adjacent(n)
    stack = [(rng.below(n), rng.below(n))]
    seen, edges = {stack[0]}, set()
    while stack:
        here = stack[-1]
        ways = [cell for cell in grid[here] if cell not in seen]
        if not ways:
            stack.pop()
            continue
        cell = rng.choice(ways)
        edges.add((min(here, cell), max(here, cell)))
        seen.add(cell)
        stack.append(cell)
    return spell_maze(edges, n)


@functools.cache
def adjacent(n: int) -> dict[Cell, list[Cell]]:
    """The cells beside each cell of the n x n board, walls or not."""
    inside = [(y, x) for y in range(n) for x in range(n)]
    beside = {(y, x): [(y + b, x + a) for b, a in STEPS.values()] for y, x in inside}
    return {cell: [c for c in cells if c in beside] for cell, cells in beside.items()}


def spell_maze(edges: set[tuple[Cell, Cell]], n: int) -> list[str]:
    """Open passages (upper or left cell first) -> the strings that a layout holds."""
    codes = [[0] * n for _ in range(n)]
    for (y, x), (b, _) in edges:
        codes[y][x] |= 1 if b == y else 2
    return ["".join(".RDB"[code] for code in row) for row in codes]


def neighbours(maze: list[str]) -> dict[Cell, list[Cell]]:
    """The cells that one can step to from each cell."""
    n = len(maze)
    ways: dict[Cell, list[Cell]] = {(y, x): [] for y in range(n) for x in range(n)}
    for y, row in enumerate(maze):
        for x, code in enumerate(row):
            for letter, (b, a) in (("R", (y, x + 1)), ("D", (y + 1, x))):
                if code in (letter, "B"):
                    ways[y, x].append((b, a))
                    ways[b, a].append((y, x))
    return ways


def paths_from(maze: list[str], start: Cell) -> dict[Cell, list[Cell]]:
    """The only path from `start` to each cell, both ends included."""
    ways = neighbours(maze)
    paths = {start: [start]}
    stack = [start]
    while stack:
        here = stack.pop()
        for cell in ways[here]:
            if cell not in paths:
                paths[cell] = [*paths[here], cell]
                stack.append(cell)
    return paths


def spell(path: list[Cell]) -> str:
    """A path as letters: R, D, L, U."""
    letters = {step: letter for letter, step in STEPS.items()}
    return "".join(letters[b[0] - a[0], b[1] - a[1]] for a, b in zip(path, path[1:], strict=False))


def ground_plan(maze: list[str]) -> np.ndarray:
    """The raster (2n, 2n) of floor and walls: cell (2i, 2j), right passage (2i, 2j+1), lower passage (2i+1, 2j).

    The outer wall above and to the left is not drawn (it never changes), so that one cell with its two passages and its
    corner is exactly one token of the embedded models.
    """
    n = len(maze)
    plan = np.full((2 * n, 2 * n), WALL, np.uint8)
    plan[::2, ::2] = FLOOR
    codes = np.frombuffer("".join(maze).encode(), np.uint8).reshape(n, n)
    plan[::2, 1::2][(codes == ord("R")) | (codes == ord("B"))] = FLOOR
    plan[1::2, ::2][(codes == ord("D")) | (codes == ord("B"))] = FLOOR
    return plan


@dataclasses.dataclass(frozen=True)
class Maze(Task):
    """Find the only path from start to goal, drawn at constant speed.

    Frame f shows the first `speed * f` steps; the longest path drawn has `speed * (frames - 1)` steps (24 by default:
    all 25 cells). Start and goal keep their colours, the cells and passages between them turn red. Constant speed
    matters: were every path stretched to end in the last frame, all frames would depend on its length, which is
    harder to learn.

    Splits are disjoint by walls up to mirror images and quarter turns. Out of distribution: `long` has paths longer
    than any in train (`longest` + 1 steps and more), `large` has one more row and column (48 x 48 pixels by default).

    Candidates: the solution (prior 1) and the 7 paths of the same drawing rule from the start to dead ends, then to
    other cells, farthest first (prior 0).

    Attributes:
        size: cells per side.
        speed: steps per frame.
        shortest: fewest steps from start to goal.
        longest: most steps in train, val and test; by default 10 for size 4, 16 for 5, 22 for 6 and so on (about nine
            mazes in ten have no longer path between random cells), as far as the film reaches.
    """

    size: int = 5
    speed: int = 3
    shortest: int = 5
    longest: int | None = None

    name: ClassVar[str] = "maze"
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test", "long", "large")
    colours: ClassVar[tuple[str, ...]] = ("floor", "wall", "red", "green", "blue")

    def __post_init__(self):
        super().__post_init__()
        if not 3 <= self.size <= 12:
            raise ValueError(f"{self.name}: size is {self.size}, expected 3 to 12 cells")
        if self.speed < 1:
            raise ValueError(f"{self.name}: speed is {self.speed}, expected at least 1 step per frame")
        reach = self.speed * (self.frames - 1)  # the most steps that fit the film
        longest = max(self.shortest, min(6 * self.size - 14, reach)) if self.longest is None else self.longest
        object.__setattr__(self, "longest", longest)
        if not self.speed < self.shortest <= longest <= reach:
            raise ValueError(
                f"{self.name}: shortest is {self.shortest} and longest {longest}, expected "
                f"speed ({self.speed}) < shortest <= longest <= speed * (frames - 1) ({reach})"
            )

    def draw(self, rng: Draws, split: str) -> Layout | None:
        maze = backtracker(rng, self.size + (split == "large"))
        cells = [(y, x) for y in range(len(maze)) for x in range(len(maze))]
        start = rng.choice(cells)
        low, high = self.shortest, self.longest or 0
        if split == "long":
            low, high = high + 1, min(self.speed * (self.frames - 1), self.size**2 - 1)
        if low > high:
            raise ValueError(
                f"{self.name}: split 'long' wants more than {self.longest} steps, but only {high} can be drawn"
            )
        ends = [c for c, path in paths_from(maze, start).items() if low <= len(path) - 1 <= high]
        if not ends:
            return None
        goals = [list(rng.choice(ends))]
        return {"frames": self.frames, "speed": self.speed, "maze": maze, "start": list(start), "goals": goals}

    def key(self, layout: Layout) -> bytes:
        # with its outer wall drawn on all four sides the plan is symmetric: turning the maze turns the picture
        n = 2 * len(layout["maze"])
        plan = np.full((n + 1, n + 1), WALL, np.uint8)
        plan[1:, 1:] = ground_plan(layout["maze"])
        return canonical(plan)

    def answers(self, layout: Layout) -> list[Answer]:
        start, goal = tuple(layout["start"]), tuple(layout["goals"][0])
        paths = paths_from(layout["maze"], start)
        ways = neighbours(layout["maze"])
        reach = layout["speed"] * (layout["frames"] - 1)
        others = [c for c in paths if c != goal and 2 <= len(paths[c]) - 1 <= reach]
        others.sort(key=lambda c: (len(ways[c]) > 1, -len(paths[c]), c))
        ends = [goal, *others[:WRONG]]
        return [Answer(spell(paths[c]), float(c == goal), paths[c]) for c in ends]

    def film(self, layout: Layout, move: list[Cell] | None) -> np.ndarray:
        plan = ground_plan(layout["maze"])
        marks = {tuple(c): self.mark(layout, i) for i, c in enumerate(layout["goals"])} | {
            tuple(layout["start"]): START
        }
        for (y, x), colour in marks.items():
            plan[2 * y, 2 * x] = colour
        when = np.full(plan.shape, layout["frames"])  # the frame in which a block turns red
        path = move or []
        for step, (a, b) in enumerate(zip(path, path[1:], strict=False), start=1):
            frame = -(-step // layout["speed"])
            when[a[0] + b[0], a[1] + b[1]] = frame
            if tuple(b) not in marks:
                when[2 * b[0], 2 * b[1]] = frame
        return np.where(when <= np.arange(layout["frames"])[:, None, None], np.uint8(PATH), plan)

    def mark(self, layout: Layout, i: int) -> int:
        """The colour of goal number i."""
        return GOAL

    def prompt(self, layout: Layout) -> str:
        return "Draw the path through the maze from green to blue."

    def describe(self, layout: Layout, raster: np.ndarray) -> dict[str, Any]:
        """`walls`: whether floor, walls and marks are intact; `path`: the red line from the start as letters, None
        unless the red blocks are exactly one line along open passages; `arrived`: whether that line ends in a goal."""
        blank = self.film(layout, None)[0]
        red = raster == PATH
        walls = bool(
            (np.where(red, FLOOR, raster) == np.where(red, FLOOR, blank)).all() and (blank[red] == FLOOR).all()
        )
        paths = paths_from(layout["maze"], tuple(layout["start"])).items()
        shown = [c for c, p in paths if np.array_equal(self.film(layout, p)[-1], raster)] if walls else []
        path = spell(dict(paths)[shown[0]]) if shown else None
        return {"walls": walls, "path": path, "arrived": bool(shown) and list(shown[0]) in map(list, layout["goals"])}

    def symbols(self, clip: Clip) -> dict[str, np.ndarray]:
        """`walls` 0-3 (bit 0: closed to the right, bit 1: closed below); 0/1 for `start`, `goal`, `agent` (the head of
        the line), `next` (the cell it enters next, none on arrival), `path` (drawn so far), `answer` (the solution)."""
        layout = self._layout(clip)
        t, n, speed = layout["frames"], len(layout["maze"]), layout["speed"]
        path = self.answers(layout)[clip.meta["choice"]].move
        codes = np.array([[3 - ".RDB".index(c) for c in row] for row in layout["maze"]])
        grids = {name: np.zeros((t, n, n), np.int64) for name in ("start", "goal", "agent", "next", "path", "answer")}
        for y, x in layout["goals"]:
            grids["goal"][:, y, x] = 1
        grids["start"][:, path[0][0], path[0][1]] = 1
        for step, (y, x) in enumerate(path):
            grids["answer"][:, y, x] = 1
            grids["path"][-(-step // speed) :, y, x] = 1
        for f in range(t):
            head = min(speed * f, len(path) - 1)
            grids["agent"][f, path[head][0], path[head][1]] = 1
            if head + 1 < len(path):
                grids["next"][f, path[head + 1][0], path[head + 1][1]] = 1
        return {"walls": np.broadcast_to(codes, (t, n, n)).copy()} | grids


def drawn(text: str, **options: Any) -> Clip:
    """The clip of a maze that somebody drew.

        maze.drawn('''
            ###########
            #S..#.....#
            ###.#.###.#
            #...#...#.#
            #.#####.#.#
            #.....#.#.#
            #.###.###.#
            #.#.......#
            #.#######.#
            #.....#..G#
            ###########
        ''')

    Args:
        text: a square of 2 n + 1 lines for n x n cells: "#" is wall, "S" the start, "G" the goal, "." or a blank open.
            Cells stand in the 2nd, 4th, ... line and column, passages between them.
        **options: of the task; its `size` is the drawing's.

    Raises:
        ValueError: a drawing that is no such square, has an open border, more than one way (a loop) or none to the
            goal, or a way too long for the film.
    """
    rows = [line.strip() for line in text.strip().splitlines()]
    n, side = len(rows) // 2, len(rows)
    if side % 2 == 0 or not 3 <= n <= 12 or any(len(row) != side for row in rows):
        signs = sorted({len(row) for row in rows})
        raise ValueError(f"drawn: found {side} rows of {signs} signs, expected a square of 2 n + 1, n from 3 to 12")
    if odd := sorted(set("".join(rows)) - set("#SG. ")):
        raise ValueError(f"drawn: found the sign {odd[0]!r}, expected #, S, G, . and blanks")
    if {*rows[0], *rows[-1], *(row[0] + row[-1] for row in rows)} - {"#", "##"}:
        raise ValueError("drawn: the border is open, expected # all round")
    wall = lambda y, x: rows[y][x] == "#"
    cells = [(y, x) for y in range(n) for x in range(n)]
    places = {sign: [c for c in cells if rows[2 * c[0] + 1][2 * c[1] + 1] == sign] for sign in "SG#"}
    for sign, what in (("S", "start"), ("G", "goal")):
        if len(places[sign]) != 1 or "".join(rows).count(sign) != 1:
            raise ValueError(f"drawn: expected one {what} ({sign}), in a cell")
    if places["#"] or any(not wall(y, x) for y in range(2, side - 1, 2) for x in range(2, side - 1, 2)):
        raise ValueError("drawn: a cell is wall, or a corner between four cells is open")
    pairs = [((y, x), (y + b, x + a)) for y, x in cells for b, a in ((0, 1), (1, 0)) if (y + b, x + a) in cells]
    edges = {(a, b) for a, b in pairs if not wall(a[0] + b[0] + 1, a[1] + b[1] + 1)}
    maze, (start,), (goal,) = spell_maze(edges, n), places["S"], places["G"]
    reached = paths_from(maze, start)
    if goal not in reached:
        raise ValueError("drawn: no way leads from S to G")
    if len([edge for edge in edges if edge[0] in reached]) > len(reached) - 1:
        raise ValueError("drawn: there is a loop, expected one way only")
    task = Maze(size=n, **options)
    if (steps := len(reached[goal]) - 1) > (reach := task.speed * (task.frames - 1)):
        raise ValueError(f"drawn: the way has {steps} steps, the film shows {reach}")
    layout = {"frames": task.frames, "speed": task.speed, "maze": maze, "start": list(start), "goals": [list(goal)]}
    return task.filmed(layout, split="drawn")
