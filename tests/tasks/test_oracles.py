"""Each world beside an independent account of its rules, which sees nothing but pixels and the prompt."""

import collections

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrjax import tasks
from vrjax.tasks import core

seeds = st.integers(0, 2**62)
few = settings(max_examples=10, deadline=None)


def colours(frame):
    """Pixels (h, w, 3) -> colour names of the blocks, by brute force."""
    blocks = frame[::4, ::4]
    table = {tuple(np.float32(v)): name for name, v in core.PALETTE.items()}
    return np.array([[table[tuple(pixel)] for pixel in row] for row in blocks])


def shortest(plan, start):
    """Breadth-first search over the blocks that are not wall: distance and predecessor of each reachable block."""
    queue, seen = collections.deque([start]), {start: (0, None)}
    while queue:
        y, x = queue.popleft()
        for b, a in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
            if 0 <= b < plan.shape[0] and 0 <= a < plan.shape[1] and plan[b, a] != "wall" and (b, a) not in seen:
                seen[b, a] = (seen[y, x][0] + 1, (y, x))
                queue.append((b, a))
    return seen


def find(plan, colour):
    return [(int(y), int(x)) for y, x in np.argwhere(plan == colour)]


def check_perfect(plan):
    """n x n cells, n * n - 1 passages, all connected: a tree, so there is exactly one path between any two cells."""
    n = len(plan) // 2
    assert (plan[1::2, 1::2] == "wall").all() and (plan[::2, ::2] != "wall").all()
    assert (plan[::2, 1::2] != "wall").sum() + (plan[1::2, ::2] != "wall").sum() == n * n - 1
    assert (plan[:, -1] == "wall").all() and (plan[-1] == "wall").all()
    assert len(shortest(plan, (0, 0))) == 2 * n * n - 1


def draw_path(plan, start, goal, speed, frames):
    """The film of the shortest path, drawn from the breadth-first search alone."""
    seen = shortest(plan, start)
    path, here = [], goal
    while here:
        path.insert(0, here)
        here = seen[here][1]
    films = []
    for f in range(frames):
        frame = plan.copy()
        for block in path[1 : 2 * speed * f + 1]:
            if frame[block] == "floor":
                frame[block] = "red"
        films.append(frame)
    return films, (len(path) - 1) // 2


@few
@given(seed=seeds, split=st.sampled_from(tasks.get("maze").splits), size=st.sampled_from([4, 5, 6]))
def test_maze(seed, split, size):
    world = tasks.get("maze", size=size)
    clip = world.make(seed, split)
    plan = colours(clip.first_frame)
    check_perfect(plan)
    assert len(plan) == 2 * (size + (split == "large"))
    ((start,), (goal,)) = find(plan, "green"), find(plan, "blue")
    film, steps = draw_path(plan, start, goal, 3, 9)
    assert all(np.array_equal(colours(frame), expected) for frame, expected in zip(clip.video, film, strict=True))
    assert steps == len(clip.answer) and steps >= 5
    assert (steps > world.longest) == (split == "long")
    assert world.read(clip, clip.video[-1]) | {"raster": 0} == {
        "raster": 0,
        "answer": clip.answer,
        "right": True,
        "walls": True,
        "path": clip.answer,
        "arrived": True,
    }


def repaint(frame, blocks, colour="red"):
    frame = frame.copy()
    for y, x in blocks:
        frame[4 * y : 4 * y + 4, 4 * x : 4 * x + 4] = core.PALETTE[colour]
    return frame


@few
@given(seed=seeds)
def test_maze_refuses_short_cuts_and_detours(seed):
    world = tasks.get("maze")
    clip = world.make(seed, "test")
    plan = colours(clip.first_frame)
    ((start,), (goal,)) = find(plan, "green"), find(plan, "blue")
    last = colours(clip.video[-1])
    # as the crow flies, through walls
    (y, x), crow = start, []
    while (y, x) != goal:
        y, x = (y + np.sign(goal[0] - y), x) if y != goal[0] else (y, x + np.sign(goal[1] - x))
        crow.append((int(y), int(x)))
    through = repaint(clip.first_frame, [b for b in crow[:-1] if last[b] != "red"])
    # the right path and one block more, or one block less
    floor, red = find(last, "floor"), find(last, "red")
    more, less = repaint(clip.video[-1], floor[:1]), repaint(clip.video[-1], red[:1], "floor")
    torn = repaint(clip.video[-1], find(last, "wall")[:1], "floor")
    moved = repaint(repaint(clip.video[-1], [goal], "floor"), floor[:1], "blue")
    for wrong in (through, more, less, torn, moved):
        if np.array_equal(wrong, clip.video[-1]):
            continue  # the crow may fly along the path
        video = np.concatenate([clip.video[:-1], wrong[None]])
        assert world.score(clip, video) == 0.0 and not world.solved(clip, video)
    read = world.read(clip, torn)
    assert not read["walls"] and read["path"] is None
    half = world.read(clip, clip.video[1])
    assert half["path"] == clip.answer[:3] and not half["arrived"] and half["walls"]


@few
@given(seed=seeds, split=st.sampled_from(tasks.get("maze_goals").splits))
def test_maze_goals(seed, split):
    world = tasks.get("maze_goals")
    clip = world.make(seed, split)
    plan = colours(clip.first_frame)
    check_perfect(plan)
    (start,), blue, yellow = (find(plan, c) for c in ("green", "blue", "yellow"))
    goals = sorted(blue + yellow)
    assert len(goals) == 3 if split == "three" else len(goals) in (2, 4)
    assert len(yellow) == 0 or (len(goals), len(yellow)) == (4, 1)
    distance = shortest(plan, start)
    assert len({distance[goal][0] for goal in goals}) == 1
    prior = [1 / len(goals) if not yellow else 0.4 if goal in yellow else 0.2 for goal in goals]
    assert np.allclose(world.prior(clip, pad=False), prior, atol=1e-12)
    for goal, video in zip(goals, world.candidates(clip, pad=False), strict=True):
        film, _ = draw_path(plan, start, goal, 3, 9)
        assert all(np.array_equal(colours(frame), expected) for frame, expected in zip(video, film, strict=True))


def test_maze_goals_are_chosen_by_the_prior():
    world = tasks.get("maze_goals", odds="favoured")
    picks = collections.Counter()
    for seed in range(250):
        clip = world.make(seed)
        picks[clip.meta["choice"] == clip.meta["layout"]["favoured"]] += 1
    assert abs(picks[True] / 250 - 0.4) < 4 * (0.24 / 250) ** 0.5
    world = tasks.get("maze_goals", odds="uniform")
    clips = [world.make(seed) for seed in range(250)]
    assert all(clip.meta["layout"]["favoured"] is None for clip in clips)
    four = [clip.meta["choice"] for clip in clips if len(clip.meta["layout"]["goals"]) == 4]
    assert np.all(np.abs(np.bincount(four, minlength=4) / len(four) - 0.25) < 4 * (0.1875 / len(four)) ** 0.5)


@few
@given(seed=seeds, split=st.sampled_from(tasks.get("tictactoe").splits))
def test_tictactoe(seed, split):
    world = tasks.get("tictactoe")
    clip = world.make(seed, split)
    board = colours(clip.first_frame)[::2, ::2]
    mover = clip.prompt.split()[2]
    n = len(board)

    def won(board):
        lines = ["".join("x" if c == mover else "." for c in row) for row in [*board, *board.T]]
        for flipped in (board, board[:, ::-1]):
            lines += ["".join("x" if c == mover else "." for c in flipped.diagonal(k)) for k in range(-n, n)]
        return any("xxx" in line for line in lines)

    marks = collections.Counter(board.ravel())
    (rival,) = set(marks) - {"floor", mover}
    assert marks[mover] == marks[rival] and marks[mover] in ((5, 6) if split == "crowded" else (3, 4))
    assert not won(board)
    wins = set()
    for y, x in find(board, "floor"):
        after = board.copy()
        after[y, x] = mover
        if won(after):
            wins.add(f"row {y + 1} column {x + 1}")
    assert 1 <= len(wins) <= 2
    labels, prior = world.labels(clip, pad=False), world.prior(clip, pad=False)
    assert {label for label, p in zip(labels, prior, strict=True) if p} == wins and len(labels) == marks["floor"]
    assert set(prior) <= {0, 1 / len(wins)}
    last = colours(clip.video[-1])[::2, ::2]
    assert won(last) and (last != board).sum() == 1
    assert [np.array_equal(f, clip.video[0]) for f in clip.video] == [True] * 3 + [False] * 6
    assert all(np.array_equal(f, clip.video[-1]) for f in clip.video[3:])


def test_both_winning_cells_are_right():
    world = tasks.get("tictactoe")
    clip = next(c for c in map(world.make, range(100)) if (world.prior(c) == 0.5).any())
    films = [v for v, p in zip(world.candidates(clip), world.prior(clip), strict=True) if p]
    assert [world.score(clip, film) for film in films] == [1.0, 1.0]
    both = np.where((films[0] == clip.first_frame).all(-1, keepdims=True), films[1], films[0])
    assert world.score(clip, both) == 0.0  # one move, not two
    mixed = np.concatenate([films[0][:6], films[1][6:]])
    assert world.solved(clip, mixed) and world.score(clip, mixed) == 0.75  # half of its resting frames


@few
@given(seed=seeds, split=st.sampled_from(tasks.get("ball").splits))
def test_ball(seed, split):
    """The lattice the ball can visit, numbered 0 ... k-1 in each direction, is walked in a triangular wave."""
    world = tasks.get("ball")
    clip = world.make(seed, split)
    first = colours(clip.first_frame)
    rows, columns = (np.flatnonzero((first != "wall").any(axis)) for axis in (1, 0))
    assert len(rows) * len(columns) == (first != "wall").sum()
    ink = clip.prompt.split()[1]
    ((by, bx),), ((ty, tx),) = find(first, ink), find(first, "grey")

    def wave(start, step, low, high, t):
        if step == 0:
            return start
        size = abs(step)
        sites = [p for p in range(low, high + 1) if (p - start) % size == 0]
        k, i = len(sites), sites.index(start)
        phase = i if step > 0 else 2 * (k - 1) - i
        phase = (phase + t) % (2 * (k - 1))
        return sites[min(phase, 2 * (k - 1) - phase)]

    def at(t):
        y = wave(by, by - ty, rows[0], rows[-1], t)
        return y, wave(bx, bx - tx, columns[0], columns[-1], t)

    assert max(abs(by - ty), abs(bx - tx)) == (2 if split == "fast" else 1)
    for t, frame in enumerate(clip.video):
        expected = np.where(first == "wall", "wall", "floor").astype(first.dtype)
        expected[at(t - 1) if t else (ty, tx)] = "grey"
        expected[at(t)] = ink
        assert np.array_equal(colours(frame), expected)
    assert at(8) != at(0)


@few
@given(seed=seeds, split=st.sampled_from(tasks.get("occluder").splits))
def test_occluder(seed, split):
    world = tasks.get("occluder")
    clip = world.make(seed, split)
    _, ink, shape, _, pace, *_ = clip.prompt.split()
    film = np.array([colours(frame) for frame in clip.video])
    screen = film[0] == "grey"
    assert all(np.array_equal(frame == "grey", screen) for frame in film)
    moving = (film != film[0]).any(0)  # blocks that change belong to the lane
    assert np.isin(film[:, moving], ("floor", ink)).all()
    amount = [((frame == ink) & moving).sum() for frame in film]
    size = np.sum(core.SHAPES[shape])
    assert amount[0] == amount[-1] == size and 0 in amount  # full sight, hidden, full sight
    last = np.argwhere((film[-1] == ink) & moving)
    first = np.argwhere((film[0] == ink) & moving)
    assert np.array_equal(last - last.min(0), first - first.min(0))
    pattern = np.argwhere(np.array(core.SHAPES[shape]))
    assert np.array_equal(first - first.min(0), pattern - pattern.min(0))
    travel = np.abs(last.min(0) - first.min(0))
    assert travel.min() == 0
    step = {"slowly": 1, "quickly": 2}[pace]
    entry = next(f for f, n in enumerate(amount) if n < size) - 1
    for f in range(entry + 1):
        here = np.argwhere((film[f] == ink) & moving)
        assert np.abs(here.min(0) - first.min(0)).max() == step * f
    width = min(screen.any(0).sum(), screen.any(1).sum())
    assert width in ((5, 6) if split == "wide" else (2, 3, 4))


@few
@given(seed=seeds, split=st.sampled_from(tasks.get("pick").splits))
def test_pick(seed, split):
    world = tasks.get("pick")
    clip = world.make(seed, split)
    first, last = colours(clip.first_frame), colours(clip.video[-1])
    *_, ink, shape = clip.prompt.rstrip(".").split()
    named = []
    tokens = len(first) // 2
    for y in range(tokens):
        for x in range(tokens):
            token = first[2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
            if np.array_equal(token == ink, core.SHAPES[shape]) and set(token[token != ink]) <= {"floor"}:
                named.append((y, x))
    ((y, x),) = named
    around = np.zeros((2 * tokens + 2,) * 2, bool)  # with a margin of one block
    around[2 * y : 2 * y + 4, 2 * x : 2 * x + 4] = True
    around[2 * y + 1 : 2 * y + 3, 2 * x + 1 : 2 * x + 3] = False
    assert np.array_equal(last == "wall", around[1:-1, 1:-1])
    assert np.array_equal(np.where(last == "wall", "floor", last), first)
    grown = [int((colours(frame) == "wall").sum()) for frame in clip.video]
    assert grown == [min(2 * f, grown[-1]) for f in range(9)]
    objects = len(world.labels(clip, pad=False))
    assert objects in ((5, 6) if split == "many" else (3, 4))
    # one ring at a time: every object's candidate is a different ring on the same picture, and only one is right
    assert sorted(world.prior(clip)) == [0] * 5 + [1]


@few
@given(seed=seeds, split=st.sampled_from(tasks.get("pick").splits))
def test_counterfactuals_of_pick(seed, split):
    world = tasks.get("pick")
    clip = world.make(seed, split)
    prompts, other = [], clip
    for _ in world.labels(clip, pad=False):
        prompts.append(other.prompt)
        assert np.array_equal(other.first_frame, clip.first_frame)
        assert world.key(other.meta["layout"]) == world.key(clip.meta["layout"])
        assert world.score(other, other.video) == 1.0
        assert (world.score(clip, other.video) == 1.0) == (other.prompt == clip.prompt)
        other = world.counterfactual(other)
    assert len(set(prompts)) == len(prompts)
    assert other.prompt == clip.prompt and other.meta == clip.meta and np.array_equal(other.video, clip.video)


@pytest.mark.parametrize("name", [n for n in tasks.names() if n != "pick"])
def test_no_counterfactual_elsewhere(name):
    world = tasks.get(name)
    with pytest.raises(ValueError, match="no counterfactual"):
        world.counterfactual(world.make(0))


def test_keys_do_not_depend_on_colours_or_on_what_is_asked():
    swap = {"red": "blue", "blue": "red", "green": "cyan", "cyan": "green", "yellow": "purple", "purple": "yellow"}
    for name, fields in {
        "occluder": ("colour",),
        "ball": ("colour",),
        "tictactoe": ("colours",),
        "pick": ("looks",),
    }.items():
        world = tasks.get(name)
        layout = world.make(0).meta["layout"]
        other = dict(layout)
        for field in fields:
            old = layout[field]
            if isinstance(old, str):
                other[field] = swap[old]
            else:
                other[field] = [swap[c] if isinstance(c, str) else [swap[c[0]], c[1]] for c in old]
        assert world.key(other) == world.key(layout)
        assert not np.array_equal(world.film(other, None), world.film(layout, None))


def test_mirrored_mazes_have_one_key():
    world = tasks.get("maze")
    maze = world.make(0).meta["layout"]["maze"]
    swap = {".": ".", "R": "D", "D": "R", "B": "B"}
    transposed = ["".join(swap[maze[x][y]] for x in range(5)) for y in range(5)]
    assert transposed != maze and world.key({"maze": transposed}) == world.key({"maze": maze})
    # a mirror image moves the passages to the other side of their walls
    right = [[c in "RB" for c in row] for row in maze]
    down = [[c in "DB" for c in row][::-1] for row in maze]
    right = [[*row[:-1][::-1], False] for row in right]
    mirror = ["".join(".RDB"[r + 2 * d] for r, d in zip(*rows, strict=True)) for rows in zip(right, down, strict=True)]
    assert world.key({"maze": mirror}) == world.key({"maze": maze})


@pytest.mark.parametrize(
    "name, options, match",
    [
        ("maze", {"size": 2}, "size"),
        ("maze", {"speed": 0}, "speed"),
        ("maze", {"longest": 40}, "shortest is 5 and longest 40"),
        ("maze", {"shortest": 3}, "shortest"),
        ("maze_goals", {"odds": "even"}, "odds"),
        ("maze_goals", {"size": 3}, "size"),
        ("tictactoe", {"size": 2}, "size"),
        ("tictactoe", {"marks": (3, 13)}, "marks"),
        ("occluder", {"blocks": 9}, "blocks"),
        ("ball", {"blocks": 5}, "blocks"),
        ("ball", {"smallest": 3}, "smallest"),
        ("pick", {"size": 4}, "size"),
    ],
)
def test_impossible_options(name, options, match):
    with pytest.raises(ValueError, match=f"{name}: {match}"):
        tasks.get(name, **options)


def test_impossible_splits_say_so():
    with pytest.raises(ValueError, match="split 'long'"):
        tasks.get("maze", longest=24).make(0, "long")
    with pytest.raises(ValueError, match="no object gets past the screen"):
        tasks.get("occluder", blocks=8).make(0, "wide")
