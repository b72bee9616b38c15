"""What arms cost, and what a budget buys."""

import pytest

from vrjax.study import bills


def test_cost_in_forward_equivalents():
    """The numbers of the literature's accounting: 3 for SFT, 8 for DPO, 6 with stored reference errors."""
    assert bills.sft() == 3
    assert bills.preference(1) == 8 and bills.preference(3) == 16  # not 24: the winner is evaluated once
    assert bills.preference(1, "precomputed", draws=16, uses=16) == 8
    assert bills.preference(1, "precomputed") == 6 and bills.preference(1, "none") == 6
    assert bills.sampling(50, guidance=6.0, clips=3) == 300
    assert bills.policy_gradient(10, 9) == 37 and bills.policy_gradient(10, 9, reference=True, guidance=4.5) == 92
    with pytest.raises(ValueError, match="at least 1 loser"):
        bills.preference(0)


def test_a_budget_buys_whole_updates():
    budget = bills.Bill(update=8.0, sampling=40.0).total(10)
    assert budget == 120 and bills.Bill(3.0).updates(budget) == 40
    assert bills.Bill(7.0, 50.0, looks=9).updates(budget) == 10
    with pytest.raises(ValueError, match="does not pay for one update"):
        bills.Bill(1.0, 120.0).updates(budget)
