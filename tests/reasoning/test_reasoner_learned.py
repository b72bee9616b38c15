"""The learned next-state reasoner: right where the rule is easy, honest about what it holds out, strict about input."""

import numpy as np
import pytest

from vrjax.reasoning.thoughts.keyframes import Imager, Reasoner, think
from vrjax.reasoning.thoughts.reasoners import learned as learned

SYMBOLS = 4  # 0 and 1: standing and fallen domino; 2: a wall; 3: a lit lamp, which is never reached


def fall(rows):
    """A domino falls when its left neighbour lies: the whole rule."""
    rows = np.asarray(rows)
    left = np.pad(rows, [*[(0, 0)] * (rows.ndim - 1), (1, 0)], constant_values=2)[..., :-1]
    return np.where((rows == 0) & (left == 1), 1, rows)


class Dominoes:
    """The rows in letters."""

    def parse(self, text):
        return np.array(["abcd".index(letter) for letter in text])

    def describe(self, row):
        return "".join("abcd"[s] for s in row)

    def read(self, frame):
        return frame[0, :, 0].astype(int)

    def draw(self, row):
        return np.repeat(np.asarray(row, np.uint8)[None, :, None], 3, -1)


@pytest.fixture(scope="module")
def model():
    before = np.random.default_rng(0).integers(0, 3, (400, 6))
    return learned.fit(before, fall(before), symbols=SYMBOLS, reach=1, width=24, steps=250)


def test_it_learns_a_local_rule_and_says_so(model):
    accuracy = model.accuracy
    assert accuracy.elements > 0.99 > accuracy.still + 0.05  # beats "nothing happens" by a margin
    assert accuracy.changes > 0.95
    fresh = np.random.default_rng(1).integers(0, 3, (200, 9))  # longer rows: the weights know no place
    assert (model(fresh) == fall(fresh)).mean() > 0.99
    assert model(fresh[0]).shape == (9,)


def test_what_cannot_be_learned_is_at_chance():
    rng = np.random.default_rng(0)
    before = rng.integers(0, 2, (300, 4))
    model = learned.fit(before, rng.integers(0, 2, (300, 4)), symbols=2, reach=0, width=8, steps=60)
    assert model.accuracy.elements < 0.75


def test_equal_rows_are_held_out_together():
    before = np.repeat(np.random.default_rng(0).integers(0, 3, (10, 3)), 20, axis=0)
    model = learned.fit(before, fall(before), symbols=SYMBOLS, width=4, steps=1, held_out=0.2)
    assert model.accuracy.n % 20 == 0 and 20 <= model.accuracy.n <= 60


def test_it_thinks_as_the_rule_does(model):
    language = Dominoes()
    truth, guess = (learned.LearnedReasoner(rule, language, keyframes=3) for rule in (fall, model))
    assert isinstance(guess, Reasoner) and isinstance(guess, Imager) and isinstance(language, learned.Language)
    for prompt in ("baaaaa", "baacaa", "caaaaa", "bbbbba"):
        expected, found = (think(prompt, r, r) for r in (truth, guess))
        assert found.thoughts[:6] == expected.thoughts[:6] and found[1:] == expected[1:]
    assert think("baaaaa", guess, guess).thoughts.captions == ("baaaaa", "bbbaaa", "bbbbbb")[:1] + tuple(
        language.describe(row) for row in (fall(fall(language.parse("baaaaa"))), [1] * 6)
    )
    still = think("caaaaa", guess, guess)
    assert still.stopped == "last" and len(still.thoughts.frames) == 1 and still.thoughts.consequences == "caaaaa"


def test_keyframes_end_at_rest_and_a_restless_model_is_bounded():
    flicker = learned.LearnedReasoner(lambda row: 1 - row, Dominoes(), keyframes=3, limit=4)
    thinking = think("ab", flicker, flicker)
    assert len(thinking.thoughts.frames) == 3 and thinking.stopped == "last"
    one = learned.LearnedReasoner(fall, Dominoes(), keyframes=1)
    assert len(think("ba", one, one).thoughts.frames) == 1


def test_mistakes_are_named():
    rows = np.zeros((8, 3), int)
    with pytest.raises(ValueError, match="after: expected states 0 ... 1"):
        learned.fit(rows, rows + 2, symbols=2)
    with pytest.raises(ValueError, match="1 different rows, too few"):
        learned.fit(rows, rows, symbols=2)
    with pytest.raises(ValueError, match="held_out 1.0"):
        learned.fit(rows, rows, symbols=2, held_out=1.0)
    with pytest.raises(ValueError, match="rows: expected states 0 ... 1"):
        learned.NextState([], 2, 1, learned.Accuracy(0.0, 0.0, 0.0, 0.0, 0))(rows - 1)
    with pytest.raises(ValueError, match="keyframes 0"):
        learned.LearnedReasoner(fall, Dominoes(), keyframes=0)
