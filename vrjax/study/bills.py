"""What arms cost, in forward equivalents (F), and how many updates equal compute buys.

One forward pass of the network on one clip is 1 F, a backward pass 2 F. Comparisons at equal compute count everything
an arm needs, the sampling of its losers too: an arm's `Bill` is what it pays once (`sampling`) and per update, and

    budget = price(reference).total(200)          # the whole bill that equal compute refers to
    price(arm).updates(budget)                    # how many updates the arm gets for it
"""

from typing import NamedTuple

LIVE = ("frozen", "lora_off", "ema", "sync")


class Bill(NamedTuple):
    """What an arm costs, in forward equivalents.

    Attributes:
        update: one update on a whole batch.
        sampling: what is sampled before training.
        looks: verifier calls on samples, not counted as compute (a verifier is exact arithmetic).
    """

    update: float
    sampling: float = 0.0
    looks: int = 0

    def total(self, updates: int) -> float:
        """The bill of so many updates."""
        return self.sampling + updates * self.update

    def updates(self, budget: float) -> int:
        """Updates that a budget buys; at least 1.

        Raises:
            ValueError: it does not pay for the samples and one update.
        """
        left = budget - self.sampling
        if left < self.update:
            raise ValueError(f"the budget of {budget:.0f} F does not pay for one update")
        return int(left // self.update)


def sft(clips: int = 1) -> int:
    """A supervised update on `clips` clips: forward and backward."""
    return 3 * clips


def preference(losers: int = 1, reference: str = "frozen", draws: int = 0, uses: int = 1) -> float:
    """A preference update on one pair: `(1 + losers) (3 + 1)` with a live reference, `(1 + losers) 3` without.

    Args:
        losers: of the pair; the winner is evaluated once whatever their number.
        reference: its kind, see `vrjax.align.references`.
        draws, uses: for "precomputed", the draws of the bank and how often a pair is visited in the run: the price of
            the bank, `(1 + losers) draws`, is spread over the visits.

    Raises:
        ValueError: no losers, or an unknown reference.
    """
    if losers < 1:
        raise ValueError(f"bills.preference: expected at least 1 loser, found {losers}")
    clips = 1 + losers
    if reference in LIVE:
        return 4.0 * clips
    if reference == "precomputed":
        return clips * (3 + draws / uses)
    if reference == "none":
        return 3.0 * clips
    raise ValueError(f"bills.preference: unknown reference {reference!r}")


def sampling(steps: int, *, guidance: float = 1.0, evaluations: int = 1, clips: int = 1) -> int:
    """Sampling `clips` clips: `steps` times the solver's network evaluations per step, twice with guidance."""
    return clips * steps * evaluations * (1 if guidance == 1.0 else 2)


def policy_gradient(
    steps: int, trained: int, *, updates: int = 1, reference: bool = False, guidance: float = 1.0
) -> int:
    """One trajectory of GRPO: the rollout, then `updates` passes over `trained` steps (with a KL, a reference too)."""
    both = 1 if guidance == 1.0 else 2
    return both * (steps + updates * trained * (3 + int(reference)))
