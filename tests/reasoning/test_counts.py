"""Counting on hand-made tables, and the symmetries a fair count must have."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

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


def test_commitment_spread_over_frames():
    """All frames settle at step 2; frames settle at 0, 1 and 2."""
    together = np.array([[0, 0, 0], [1, 1, 1], [2, 2, 2]])
    apart = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1]])
    np.testing.assert_array_equal(counts.commitment_spread(np.stack([together, apart])), [0, 2])


def test_corrections_on_a_table():
    correct = np.array([[F, F, T], [F, T, T], [T, T, F], [T, F, T], [F, T, F], [F, F, F]])
    found = counts.corrections(correct)
    assert found == (6, 2, 1, 1, 2, 2, 0)
    assert found.net == pytest.approx(1 / 6)
    # From each instance's first readable step; the last one is never readable and is left out, not counted as wrong.
    readable = np.array([[F, T, T], [F, T, T], [T, T, T], [F, T, T], [T, T, T], [F, F, F]])
    first = counts.first_readable(readable)
    np.testing.assert_array_equal(first, [1, 1, 0, 1, 0, 3])
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


@settings(max_examples=40, deadline=None)
@given(tables)
def test_turns_add_up_to_the_net_change(correct):
    gained, lost = counts.turns(correct)
    whole = counts.corrections(correct)
    assert gained.sum() - lost.sum() == whole.wrong_to_right - whole.right_to_wrong
    up, down = counts.turns(~correct)
    np.testing.assert_array_equal(gained, down)
    np.testing.assert_array_equal(lost, up)


@pytest.mark.parametrize("first", [-1, 4])
def test_first_readouts_outside_the_run_are_refused(first):
    with pytest.raises(ValueError, match=r"first must lie in 0 \.\.\. 3"):
        counts.corrections(np.ones((2, 3), bool), first)


def test_no_instances_is_undefined_not_zero():
    assert np.isnan(counts.corrections(np.ones((2, 3), bool), 3).net)
    assert np.isnan(counts.lead(np.array([5]), np.array([5]), 5).mean)


def test_lead_on_a_table():
    """Differences 2, 1, 0, -1, and 3 (the second never came); the pair in which neither came is left out."""
    found = counts.lead(np.array([0, 1, 2, 3, 2, 5]), np.array([2, 2, 2, 2, 5, 5]), 5)
    assert found[:4] == (5, 3, 1, 1)
    assert found.mean == 1.0 and found.median == 1.0
    assert found.p_value == pytest.approx(stats.binomtest(3, 4).pvalue)


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(int, (2, 40), elements=st.integers(0, 8)))
def test_lead_is_antisymmetric_and_its_p_value_exact(pair):
    a, b = counts.lead(pair[0], pair[1], 8), counts.lead(pair[1], pair[0], 8)
    assert (a.earlier, a.tied, a.later) == (b.later, b.tied, b.earlier) and a.n == b.n == a.earlier + a.tied + a.later
    if a.n:
        assert a.mean == -b.mean and a.median == -b.median
    if a.earlier + a.later:
        assert a.p_value == pytest.approx(stats.binomtest(a.earlier, a.earlier + a.later).pvalue)


def test_lead_of_thousands_does_not_overflow():
    first = np.zeros(3000, int)
    second = np.where(np.arange(3000) < 1600, 1, -1) + 0
    found = counts.lead(first + 1, second + 1, 50)
    assert found.p_value == pytest.approx(stats.binomtest(1600, 3000).pvalue, rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(int, (4, 10), elements=st.integers(0, 3)), hnp.arrays(bool, (4, 10)))
def test_flips_count_both_directions(answers, correct):
    """Site 0 of the table is the clean run itself: nothing flips there. Roles swap with right and wrong."""
    found = counts.flips(answers[0], answers, correct[0], correct)
    assert found.flipped[0] == found.broken[0] == found.repaired[0] == 0 and found.n == 10
    swapped = counts.flips(answers[0], answers, ~correct[0], ~correct)
    np.testing.assert_array_equal(found.broken, swapped.repaired)
    np.testing.assert_array_equal(found.broken - found.repaired, correct[0].sum() - correct.sum(1))
    np.testing.assert_array_equal(found.flipped[1:], [(answers[0] != a).sum() for a in answers[1:]])
