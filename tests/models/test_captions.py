"""Captions as rows of text: the same from strings and from word numbers, and what tells two of them apart."""

import jax
import numpy as np
import pytest

from vrjax.models.embedded import captions, conditions
from vrjax.motion import program

SHAPE = (24, 12)


def test_a_row_is_a_word_between_its_neighbours():
    rows = captions.rows("a person walks", *SHAPE)
    a, person, walks = (conditions.embed(word, 4) * np.float32(2) for word in ("a", "person", "walks"))
    none = np.zeros(4, np.float32)
    expected = [[none, a, person], [a, person, walks], [person, walks, none]]
    np.testing.assert_array_equal(rows[:3], np.reshape(expected, (3, 12)))
    assert not rows[3:].any() and not captions.rows("", *SHAPE).any()
    wider = captions.rows("a person walks", 24, 14)
    np.testing.assert_array_equal(wider, np.pad(rows, ((0, 0), (0, 2))))
    np.testing.assert_array_equal(captions.of_tokens(_numbers("a person walks"), 24, 14), wider)


def _numbers(words):
    return np.array([1 + program.vocabulary().index(word) for word in words.split()])


def test_word_numbers_give_the_rows_of_the_caption():
    every = program.scripts("S")
    run = jax.jit(lambda script, p: captions.of_tokens(program.tokens(script, p), *SHAPE))
    for i, paraphrase in ((0, 0), (80, 1), (160, 2), (250, 3)):
        script = program.Script(*(column[i] for column in every))
        np.testing.assert_array_equal(
            run(script, paraphrase), captions.rows(program.caption(script, paraphrase), *SHAPE)
        )


def test_sides_that_change_places_are_another_text():
    """The sets of words are equal; without neighbours the rows would be as well, but for their order."""
    one, other = (
        captions.rows(program.caption(program.script("kick", side=a, upper="wave", upper_side=b)), *SHAPE)
        for a, b in (("left", "right"), ("right", "left"))
    )
    ordered = lambda rows: np.array(sorted(rows.tolist()))
    np.testing.assert_array_equal(ordered(one[:, 4:8]), ordered(other[:, 4:8]))
    assert np.abs(ordered(one) - ordered(other)).max() > 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: captions.rows("walks", 4, 2), "dim must be at least 3, found 2"),
        (lambda: captions.rows("a b c", 2, 3), "3 words, expected at most length=2"),
        (lambda: captions.of_tokens(np.ones(9, int), 8, 3), "the longest has 9 words, expected at most length=8"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_words_of_the_program_are_words_here():
    """So that a caption typed by a person is the caption of training."""
    assert all(conditions.tokenize(word) == [word] for word in program.vocabulary())
