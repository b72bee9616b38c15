"""What every puzzle of `vrjax.tasks.puzzles` must do. A new subtype is one file, and is found by its name."""

import json
from typing import Any

import numpy as np
import pytest
from scipy import stats

from vrjax.tasks import puzzles
from vrjax.tasks.puzzles import canvas, making

MANY = 40
NAMES = puzzles.subtypes()
CHOICES = [name for name in NAMES if making.drawn(puzzles.get(name), "test", 1, 0)[0].options]


@pytest.mark.parametrize("name", NAMES)
def test_one_solution_at_every_difficulty(name):
    """By trying everything, from the state alone, as a file would have it; wrong options are no two alike."""
    module = puzzles.get(name)
    assert name == module.NAME and 0 <= module.CHANCE <= 0.5
    for difficulty in puzzles.DIFFICULTIES:
        answers, states = [], set()
        for index in range(MANY):
            puzzle, _ = making.drawn(module, "test", difficulty, index)
            state = json.loads(json.dumps(puzzle.state))
            assert list(module.solve(state)) == ([0] if puzzle.options else [puzzle.answer])
            if puzzle.options:
                assert len(puzzle.options) == len(state["options"]) > 1
                assert len({json.dumps(option) for option in state["options"]}) == len(state["options"])
            else:
                assert puzzle.annotation is not None and puzzle.answer
            answers.append(puzzle.answer)
            states.add(json.dumps(puzzle.state))
        assert len(states) > (0.7 if getattr(module, "FEW", False) else 0.9) * MANY
        assert puzzle.options or len(set(answers)) > 1


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_at_every_size(name):
    """Equal arguments, equal item; the answer is drawn in red over what stays; other splits have other puzzles."""
    red = np.array(canvas.MARKERS["red"])
    for difficulty in puzzles.DIFFICULTIES:
        for size in (64, 256):
            item = puzzles.make(name, 3, difficulty=difficulty, size=size)
            assert item == puzzles.make(name.upper(), 3, difficulty=difficulty, size=size)
            assert item.image.shape == (size, size, 3) and item.image.dtype == np.uint8
            assert len(np.unique(item.image.reshape(-1, 3), axis=0)) > 2
            marked = (item.answer_image != item.image).any(-1)
            near = lambda image: np.abs(image.astype(int) - red).max(-1) < 40
            assert near(item.answer_image).sum() > 0 and near(item.image).sum() == 0
            assert 0 < marked.mean() < 0.25
        small, large = (puzzles.make(name, 3, difficulty=difficulty, size=size) for size in (64, 256))
        assert (small.question, small.answer, small.state) == (large.question, large.answer, large.state)
    other = puzzles.make(name, 3, split="train")
    assert other.state != puzzles.make(name, 3).state
    assert item.type in puzzles.TYPES and item.reasoning and item.prompt and item.question


@pytest.mark.parametrize("name", CHOICES)
def test_no_position_is_right_more_often(name):
    """Of choices: the places of right options, over a thousand items, without drawing them."""
    module = puzzles.get(name)
    count = len(making.drawn(module, "test", 1, 0)[0].options)
    order = lambda i: making.shuffled(module, "test", 1, i, 0, count)
    places = [int(np.argmin(order(i))) for i in range(1000)]
    assert stats.chisquare(np.bincount(places, minlength=count)).pvalue > 0.05 / 22


@pytest.mark.parametrize("name", NAMES)
def test_no_puzzle_is_in_two_splits(name):
    """At the lowest difficulty, where there are fewest: of what is trained on, none is tested."""
    module = puzzles.get(name)
    count = 5 * MANY if getattr(module, "FEW", False) else MANY
    states = {
        split: {json.dumps(making.drawn(module, split, 1, i)[0].state) for i in range(count)}
        for split in ("train", "test")
    }
    assert not states["train"] & states["test"]
    assert len(states["train"]) > 0.6 * count


def test_what_there_is_not():
    for wrong, said in (
        ({"subtype": "Mase"}, "unknown subtype 'Mase', did you mean 'Maze'"),
        ({"split": "dev"}, "Maze: split is 'dev', expected one of train, val, test"),
        ({"difficulty": 4}, "Maze: difficulty is 4, expected one of 1, 2, 3"),
        ({"size": 100_000}, "Maze: size is 100000, expected 32 to 1024"),
        ({"index": -1}, "Maze: index is -1, expected 0 to 999999"),
    ):
        with pytest.raises(ValueError, match=said):
            given: dict[str, Any] = {"subtype": "Maze", "index": 0} | wrong
            puzzles.make(**given)


def test_taxonomy():
    assert len(puzzles.SUBTYPES) == 22 and len(puzzles.TYPES) == 4
    assert puzzles.canonical("find the same  COMPONENTS") == "Reconstruction"
    assert puzzles.canonical("count 3D Blocks") == "Count 3D blocks"
