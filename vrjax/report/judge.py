"""The rule by which an estimate, its interval and its null give one of four verdicts.

**The rule** (`judge`), fixed before any run. Let the *excess* be the estimate minus the null (the same statistic where
the paper's mechanism is absent), with its interval [low, high], and `smallest` the smallest effect of interest:

| verdict | direction "greater" ("less" mirrored) | direction "equal" |
| --- | --- | --- |
| not tested | a gate, a positive control or the dose failed, or nothing varies | likewise |
| reproduced | low > 0, excess >= smallest; a primary: Holm's p <= .05 | -smallest < low, high < smallest; likewise |
| not reproduced | high < smallest | low > smallest or high < -smallest |
| inconclusive | otherwise | otherwise |

The rows are tried from the top. So an effect that is surely there but surely smaller than the smallest of interest is
not reproduced, and an interval that holds both the null and the smallest effect is inconclusive, never evidence of
absence.

A claim of several contrasts holds when all of them hold (`all_of`): one that is not reproduced is enough.
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    Number: TypeAlias = float
    Interval: TypeAlias = tuple[float, float]
else:  # values come from files and NumPy: checked and converted here, with messages that name the field
    Number = Interval = Any

VERDICTS = ("reproduced", "not reproduced", "inconclusive", "not tested")
DIRECTIONS = ("greater", "less", "equal")
ALPHA = 0.05


def number(name: str, value: Any) -> float:
    """A finite number, or ValueError with the name."""
    if isinstance(value, (bool, str)) or value is None:
        raise ValueError(f"{name}: expected a number, found {value!r}")
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected a number, found {value!r}") from None
    if not math.isfinite(found):
        raise ValueError(f"{name}: expected a finite number, found {found}")
    return found


def range_of(name: str, value: Any) -> tuple[float, float]:
    """(low, high), or ValueError with the name."""
    try:
        low, high = value
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected (low, high), found {value!r}") from None
    low, high = number(f"{name}[0]", low), number(f"{name}[1]", high)
    if low > high:
        raise ValueError(f"{name}: low end {low} above high end {high}")
    return low, high


def excess(
    estimate: Number, interval: Interval, null: Number, null_interval: Interval | None = None
) -> tuple[float, float]:
    """Interval of (estimate - null).

    A null known exactly (0, chance level, an enumerated posterior) shifts the interval. A null that was estimated by
    itself, on units independent of the estimate's, brings its own interval; the two combine by squared distances
    (Newcombe's hybrid score method, 1998; MOVER). Where estimate and null share units, make the paired difference the
    statistic and the null 0.

    Args:
        estimate, interval: the statistic and its (low, high).
        null, null_interval: the same statistic under the null model; None where it is exact.
    """
    estimate, null = number("estimate", estimate), number("null", null)
    low, high = range_of("interval", interval)
    if null_interval is None:
        return low - null, high - null
    null_low, null_high = range_of("null_interval", null_interval)
    # A percentile interval may miss its own estimate by a hair; a negative distance counts as none.
    below = math.hypot(max(0.0, estimate - low), max(0.0, null_high - null))
    above = math.hypot(max(0.0, high - estimate), max(0.0, null - null_low))
    return estimate - null - below, estimate - null + above


def judge(
    estimate: Number,
    interval: Interval | None,
    null: Number = 0.0,
    *,
    direction: str = "greater",
    smallest: Number = 0.0,
    null_interval: Interval | None = None,
    primary: bool = False,
    holm: Number | None = None,
    tested: bool = True,
) -> str:
    """The verdict by the rule at the top of this file.

    Args:
        estimate, interval, null, null_interval: as in `excess`; an interval of None is that of a statistic that does
            not vary.
        direction: what the statement says of estimate - null: "greater", "less" or "equal".
        smallest: smallest effect of interest, at least 0, in the statistic's unit; "equal" needs one above 0.
        primary: whether it is one, which needs `holm`, its p-value corrected over all primaries.
        tested: whether gate, positive control and dose are as they must be.

    Returns:
        One of `VERDICTS`.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction: expected one of {DIRECTIONS}, found {direction!r}")
    smallest = number("smallest", smallest)
    if smallest < 0 or (direction == "equal" and smallest == 0):
        raise ValueError(f"smallest: expected at least 0, and above 0 for direction 'equal', found {smallest}")
    if not tested or interval is None:
        return "not tested"
    surely = True
    if primary:
        surely = number("holm", holm) <= ALPHA
    low, high = excess(estimate, interval, null, null_interval)
    gain = number("estimate", estimate) - number("null", null)
    if direction == "less":
        low, high, gain = -high, -low, -gain
    if direction == "equal":
        yes, no = -smallest < low and high < smallest, low > smallest or high < -smallest
    else:
        # A mean of hundredths may miss the smallest effect by its last bit.
        yes, no = low > 0 and gain >= smallest - 1e-12, high < smallest
    return "reproduced" if yes and surely else "not reproduced" if no else "inconclusive"


def all_of(verdicts: Iterable[str]) -> str:
    """The verdict on a claim whose contrasts, at least one, have these verdicts: all of them must be reproduced."""
    found = set(verdicts)
    order = ("not tested", "not reproduced", "inconclusive", "reproduced")
    return min(found, key=order.index)
