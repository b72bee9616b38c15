"""Metro map: coloured lines between stations with letters; by which stations does the shortest way lead?

Lines run straight from place to place of a grid, or at 45 degrees, and meet in stations alone. Of the pairs of stations
that a single shortest way joins, one is drawn for which there is a longer way as well.
"""

from typing import Any

import numpy as np

from vrjax.tasks.puzzles.canvas import Canvas
from vrjax.tasks.puzzles.item import Route
from vrjax.tasks.puzzles.making import Puzzle, one_of

NAME = "Metro map"
SIDES, LINES, LENGTHS = (3, 4, 5), (3, 3, 4), (2, 3, 4)
"""Places along a side of the grid, lines, and rides from station to station of the shortest way at least, by
difficulty."""
CHANCE = 0.0
COLOURS = ("blue", "orange", "purple", "teal")
MOVES = ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))
MARGIN = 0.12
RADII = (0.085, 0.065, 0.055)
"""Of stations, by difficulty."""
Graph = dict[int, list[int]]


def puzzle(rng: np.random.Generator, difficulty: int) -> Puzzle | None:
    """Lines are drawn one after the other, each from a station of those before."""
    side = SIDES[difficulty - 1]
    rides: list[list[int]] = []
    taken: set[frozenset[int]] = set()
    for colour in range(LINES[difficulty - 1]):
        begin = one_of(rng, sorted({a for edge in taken for a in edge})) if taken else int(rng.integers(side * side))
        rides += [[a, b, colour] for a, b in _line(rng, side, begin, taken)]
    near = _near(rides)
    pairs = []
    for a in near:
        far, ways = _distances(near, a)
        pairs += [
            (a, b) for b in near if far[b] >= LENGTHS[difficulty - 1] and ways[b] == 1 and _detour(rides, near, a, b)
        ]
    if not pairs:
        return None
    start, goal = one_of(rng, pairs)
    stations = sorted(near)
    letters = dict(zip(stations, (chr(65 + i) for i in rng.permutation(len(stations))), strict=True))
    places = [[(at % side) * (1 - 2 * MARGIN) / (side - 1) + MARGIN for at in stations]]
    places.append([(at // side) * (1 - 2 * MARGIN) / (side - 1) + MARGIN for at in stations])
    state = {
        "stations": [[letters[at], x, y] for at, x, y in zip(stations, *places, strict=True)],
        "rides": [[letters[a], letters[b], COLOURS[colour]] for a, b, colour in rides],
        "start": letters[start],
        "goal": letters[goal],
        "radius": RADII[difficulty - 1],
    }
    (way,) = _ways(near, start, goal)
    index = {at: i for i, at in enumerate(stations)}
    answer = "".join(letters[at] for at in way)
    return Puzzle(
        question="Which is the way with the fewest stops from the yellow to the pink station? Answer with the letters "
        "of its stations in their order, both ends included, without spaces.",
        prompt="Draw one red line along the way with the fewest stops from the yellow to the pink station.",
        paint=lambda canvas: _paint(canvas, state),
        state=state,
        answer=answer,
        reasoning=f"From {answer[0]} to {answer[-1]} one rides {len(answer) - 1} times at least, by {answer} only.",
        annotation=Route(
            np.array(places).T, np.array([(index[a], index[b]) for a, b, _ in rides]), tuple(index[at] for at in way)
        ),
    )


def _line(rng: np.random.Generator, side: int, begin: int, taken: set[frozenset[int]]) -> list[tuple[int, int]]:
    """Rides of a line, on from a station; it turns by 45 degrees at most, and goes and crosses where none does yet.

    `taken` gets the rides, and all that they rule out: of two diagonals of a cell only one is ever there.
    """
    heading, at, found = int(rng.integers(8)), begin, []
    visited = {at}
    for _ in range(2 * side):
        x, y = at % side, at // side
        turns = [0, *rng.permutation([-1, 1])] if rng.random() < 0.6 else rng.permutation([-1, 0, 1])
        for turn in turns:
            i, j = MOVES[(heading + int(turn)) % 8]
            to = at + i + side * j
            inside = 0 <= x + i < side and 0 <= y + j < side
            across = frozenset((at + i, at + side * j)) if i and j else None
            if inside and to not in visited and not {frozenset((at, to)), across} & taken:
                taken.add(frozenset((at, to)))
                visited.add(to)
                found.append((at, to))
                at, heading = to, (heading + int(turn)) % 8
                break
        else:
            # At a border a line that has hardly begun tries another way; a longer one ends.
            if len(found) > side - 2:
                break
            heading = (heading + 3) % 8
    return found


def _near(rides: list[list[Any]]) -> dict[Any, list[Any]]:
    near: dict[Any, list[Any]] = {}
    for a, b, _ in rides:
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    return near


def _distances(near: dict[Any, list[Any]], start: Any) -> tuple[dict[Any, int], dict[Any, int]]:
    """Of all stations that can be reached: rides from one, and the number of ways that are as short as that."""
    far, ways, order = {start: 0}, {start: 1}, [start]
    for at in order:
        for to in near[at]:
            if to not in far:
                far[to], ways[to] = far[at] + 1, 0
                order.append(to)
            if far[to] == far[at] + 1:
                ways[to] += ways[at]
    return far, ways


def _detour(rides: list[list[Any]], near: dict[Any, list[Any]], start: Any, goal: Any) -> bool:
    """Whether there is a longer way: one that leaves out a ride of the (single) shortest."""
    (way,) = _ways(near, start, goal)
    for pair in zip(way, way[1:], strict=False):
        rest = _near([ride for ride in rides if set(ride[:2]) != set(pair)])
        if start in rest and goal in _distances(rest, start)[0]:
            return True
    return False


def _ways(near: dict[Any, list[Any]], start: Any, goal: Any) -> list[list[Any]]:
    """All shortest ways: those of each length are tried, until some of them arrive."""
    ways = [[start]]
    while ways:
        arrived = [way for way in ways if way[-1] == goal]
        if arrived:
            return arrived
        ways = [[*way, to] for way in ways for to in near.get(way[-1], []) if to not in way]
    return []


def solve(state: dict[str, Any]) -> list[str]:
    """Letters of all shortest ways."""
    return ["".join(way) for way in _ways(_near(state["rides"]), state["start"], state["goal"])]


def _paint(canvas: Canvas, state: dict[str, Any]) -> None:
    places = {letter: (x, y) for letter, x, y in state["stations"]}
    for a, b, colour in state["rides"]:
        canvas.line([places[a], places[b]], colour, 0.03)
    fills, radius = {state["start"]: "yellow", state["goal"]: "pink"}, state["radius"]
    for letter, place in places.items():
        canvas.disc(place, radius, fills.get(letter, "white"), "black", 0.014)
        canvas.text(place, letter, 1.05 * radius)
