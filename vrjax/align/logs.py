"""What a preference run reports, and the warning that a rising accuracy may hide a falling model.

Implicit accuracy says how often the policy's error moved in the wanted direction on the loser *relative to* the
winner. It can reach 1 while the model gets worse on both, the loser shortcut; hence the two gaps and the share of pairs
that are won by the loser alone stand beside it.
"""

import collections
import warnings
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from vrjax.align import losses
from vrjax.align.errors import Measured
from vrjax.train import watch

LAST = 5  # updates by which a state is judged before it is kept
ROUNDING = 4 * float(jnp.finfo(jnp.float32).eps)


class LoserShortcut(UserWarning):
    """The loss falls because losers get worse, and winners get worse with them."""


def metrics(spec: Any, measured: Measured) -> dict[str, Float[Array, ""]]:
    """Scalars of one update, all finite.

    `accuracy`: share of (winner, loser) pairs with a positive margin; ties, up to the rounding of the errors, count one
    half. `margin`: mean margin in logits, beta included. `win_gap`, `lose_gap`: means. `loser_dominant`: share of pairs
    with a positive margin although the winner's error rose: right only because the loser's rose more. `win_error`,
    `lose_error` and the reference's (`reference_win_error`, ...): means. `*_bin<i>`: means per noise-level bin over
    [low, high], 0 where `count_bin<i>` is 0.
    """
    policy, reference = measured.policy, measured.reference
    out = {"win_error": jnp.mean(policy.win)}
    per_pair = {"win_error": policy.win}
    if policy.lose is not None and policy.lose.shape[-1]:
        beta = losses.beta_at(measured.sigma, spec.beta, weighting=spec.weighting)
        win, lose = measured.win_gap[:, None], measured.lose_gap
        margin = losses.logit(win, lose, beta=beta[:, None])
        # Before the first update all gaps are 0 but for rounding, whose sign is no preference.
        tie = jnp.abs(lose - win) <= ROUNDING * (policy.win[:, None] + policy.lose)
        right = (margin > 0) & ~tie
        out |= {
            "accuracy": jnp.mean(right + 0.5 * tie),
            "margin": jnp.mean(margin),
            "win_gap": jnp.mean(win),
            "lose_gap": jnp.mean(lose),
            "loser_dominant": jnp.mean(right & (win > 0)),
            "lose_error": jnp.mean(policy.lose),
            "reference_win_error": jnp.mean(reference.win),
            "reference_lose_error": jnp.mean(reference.lose),
        }
        per_pair |= {
            "lose_error": jnp.mean(policy.lose, -1),
            "win_gap": measured.win_gap,
            "lose_gap": jnp.mean(lose, -1),
        }
    return out | _binned(spec, measured.sigma, per_pair)


def _binned(spec: Any, sigma: Array, values: dict[str, Array]) -> dict[str, Array]:
    where = jnp.clip((sigma - spec.low) / (spec.high - spec.low) * spec.bins, 0, spec.bins - 1).astype(jnp.int32)
    member = where[None] == jnp.arange(spec.bins)[:, None]
    count = jnp.sum(member, 1)
    out: dict[str, Array] = {f"count_bin{i}": count[i].astype(jnp.float32) for i in range(spec.bins)}
    for name, value in values.items():
        mean = jnp.sum(jnp.where(member, value, 0.0), 1) / jnp.maximum(count, 1)
        out |= {f"{name}_bin{i}": mean[i] for i in range(spec.bins)}
    return out


def dynamic_degree(latents: Float[Array, "..."], lead: int = 1) -> Float[Array, "..."]:
    """Mean absolute change from one frame to the next: 0 for a still, so that "motion death" shows.

    Args:
        latents: (*lead, t, ...), videos or motions.
        lead: how many axes stand before the frames; the result has them.
    """
    if latents.shape[lead] < 2:
        return jnp.zeros(latents.shape[:lead])
    change = jnp.abs(jnp.diff(latents.astype(jnp.float32), axis=lead))
    return jnp.mean(change, tuple(range(lead, change.ndim)))


class Watch(watch.Watch):
    """Looks at the rows of a run: warns, once, when the loser shortcut shows, and calls a collapse by its name.

    Loser shortcut: over the last `window` updates accuracy at least `accuracy` while the mean win gap is above 0, or
    more than half of all pairs loser-dominant. Collapse: over as many updates the winners' error is on average more
    than `times` the reference's. While it is so over the last five, the state is sick and not worth keeping.

    Args:
        spec: the run's `Preference`, for `named`.
        window, accuracy, times: as above.
    """

    def __init__(self, spec: Any = None, *, window: int = 20, accuracy: float = 0.95, times: float = 3.0):
        self._spec, self._accuracy, self._times = spec, accuracy, times
        self._rows: collections.deque[dict[str, Any]] = collections.deque(maxlen=window)
        self.warned: str | None = None

    def see(self, step: int, row: dict[str, float]) -> str | None:
        """Takes one update's metrics; returns the warning when it is due for the first time, and issues it."""
        if "accuracy" not in row:
            return None
        self._rows.append(row)
        if self.warned or not self._full:
            return None
        mean = {k: self._mean(k) for k in ("accuracy", "win_gap", "loser_dominant")}
        saturated = mean["accuracy"] >= self._accuracy and mean["win_gap"] > 0
        if not saturated and mean["loser_dominant"] <= 0.5:
            return None
        self.warned = (
            f"step {step}: loser shortcut: accuracy {mean['accuracy']:.2f} while the policy's error on winners is "
            f"{mean['win_gap']:+.2g} against the reference ({mean['loser_dominant']:.0%} of pairs are won by the loser "
            "alone): samples get worse; anchor the winner (dpop, reg_dpo), lower the learning rate or raise beta"
        )
        warnings.warn(self.warned, LoserShortcut, stacklevel=2)
        return self.warned

    def named(self, row: dict[str, float]) -> dict[str, float]:
        """The metrics under the names that TRL's users know.

        `rewards/accuracies` and `rewards/margins` are accuracy and margin; `rewards/chosen` and `rewards/rejected` are
        minus beta / 2 times the gaps, where beta does not depend on the noise level, so that their difference is the
        margin. Flow models have no log-probabilities of clips, only errors, so there is no `logps/...`.
        """
        if "accuracy" not in row:
            return {}
        out = {"rewards/accuracies": row["accuracy"], "rewards/margins": row["margin"]}
        if self._spec is not None and self._spec.weighting == "constant":
            half = 0.5 * float(self._spec.beta)
            out |= {"rewards/chosen": -half * row["win_gap"], "rewards/rejected": -half * row["lose_gap"]}
        return out

    @property
    def sick(self) -> str | None:
        """Winners' error far above the reference's over the last few updates."""
        return self._lost(min(LAST, len(self._rows)))

    @property
    def collapsed(self) -> str | None:
        """The same over a whole window."""
        return self._lost(len(self._rows)) if self._full else None

    def _lost(self, last: int) -> str | None:
        if not last or "reference_win_error" not in self._rows[-1]:
            return None
        policy, reference = self._mean("win_error", last), self._mean("reference_win_error", last)
        if not reference or policy <= self._times * reference:
            return None
        return (
            f"the policy's error on winners is {policy / reference:.1f} times the reference's over the last {last} "
            "updates: it forgets what it knew; anchor the winner (dpop, reg_dpo) or raise beta"
        )

    @property
    def _full(self) -> bool:
        return len(self._rows) == self._rows.maxlen

    def _mean(self, name: str, last: int | None = None) -> float:
        rows = list(self._rows)[-(last or len(self._rows)) :]
        return sum(row[name] for row in rows) / len(rows)
