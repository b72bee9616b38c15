"""Counting on hand-made tables, and the symmetries a fair count must have."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vrjax.reasoning.instruments import counts

T, F = True, False
tables = hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 6)))


def test_commitment_is_the_last_change():
    answers = np.array([[1, 1, 1, 1], [0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 1, 0], [2, 0, 1, 2]])
    np.testing.assert_array_equal(counts.commitment(answers), [0, 1, 2, 3, 3])


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(int, st.tuples(st.integers(1, 6), st.integers(1, 8)), elements=st.integers(0, 2)))
def test_commitment_equals_the_definition(answers):
    """Smallest s with answers[s:] all equal to the last, spelled out as a loop; blind to a renaming of the answers."""
    found = counts.commitment(answers)
    for row, step in zip(answers, found, strict=True):
        assert step == min(s for s in range(len(row)) if len(set(row[s:])) == 1)
    np.testing.assert_array_equal(counts.commitment(np.array([7, 3, 9])[answers]), found)


def test_corrections_on_a_table():
    correct = np.array([[F, F, T], [F, T, T], [T, T, F], [T, F, T], [F, T, F], [F, F, F]])
    found = counts.corrections(correct)
    assert found == (6, 2, 1, 1, 2, 2, 0)
    assert found.net == pytest.approx(1 / 6)
    # From each instance's first readable step; the last one is never readable and is left out, not counted as wrong.
    first = np.array([1, 1, 0, 1, 0, 3])
    assert counts.corrections(correct, first) == (5, 2, 1, 1, 1, 2, 1)
    assert counts.corrections(np.array([[T, F, F], [F, T, F]]), 1).lost == 1  # what was right before does not count


@settings(max_examples=60, deadline=None)
@given(tables, st.integers(0, 6))
def test_corrections_are_symmetric_and_complete(correct, first):
    """Swapping the roles of right and wrong swaps the two directions; reversing time does too; the counts add up."""
    first = min(first, correct.shape[1] - 1)
    found, swapped = counts.corrections(correct, first), counts.corrections(~correct, first)
    assert found.wrong_to_right == swapped.right_to_wrong and found.right_to_wrong == swapped.wrong_to_right
    assert found.net == -swapped.net
    backwards = counts.corrections(correct[:, ::-1][:, : correct.shape[1] - first])
    assert backwards.wrong_to_right == found.right_to_wrong and backwards.stayed_right == found.stayed_right
    assert found.n == sum(found[1:5]) == len(correct)
    assert found.right_to_wrong <= found.lost <= found.n


@pytest.mark.parametrize("first", [-1, 4])
def test_first_readouts_outside_the_run_are_refused(first):
    with pytest.raises(ValueError, match=r"first must lie in 0 \.\.\. 3"):
        counts.corrections(np.ones((2, 3), bool), first)


def test_no_instances_is_undefined_not_zero():
    assert np.isnan(counts.corrections(np.ones((2, 3), bool), 3).net)
