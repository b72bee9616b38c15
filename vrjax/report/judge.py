"""The rule by which an estimate, its interval and its null give one of three verdicts.

**The rule** (`judge`), fixed before any run. Let the *excess* be the estimate minus the null (the same statistic where
the paper's mechanism is absent), with its interval, and let `margin` be the smallest effect of interest, in the claimed
direction:

| verdict | direction "greater" ("less" mirrored) | direction "different" | direction "equal" |
| --- | --- | --- | --- |
| reproduced | low > 0 | 0 outside [low, high] | -margin < low and high < margin |
| not reproduced | high < margin | -margin < low and high < margin | low > margin or high < -margin |
| inconclusive | otherwise | otherwise | otherwise |

The rows are tried from the top. So an effect that is surely there but surely smaller than the margin counts as
reproduced (the statement was about a direction) and is marked `small`; with margin 0 only an interval on the other side
of the null is "not reproduced", and an interval that holds the null is "inconclusive", never evidence of absence.
"""

import math
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    Number: TypeAlias = float
    Interval: TypeAlias = tuple[float, float]
else:  # values come from files and NumPy: checked and converted here, with messages that name the field
    Number = Interval = Any

VERDICTS = ("reproduced", "not reproduced", "inconclusive")
DIRECTIONS = ("greater", "less", "different", "equal")


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
    interval: Interval,
    null: Number,
    *,
    direction: str = "greater",
    margin: Number = 0.0,
    null_interval: Interval | None = None,
) -> str:
    """The verdict by the rule at the top of this file.

    Args:
        estimate, interval, null, null_interval: as in `excess`.
        direction: what the paper's statement says of estimate - null: "greater", "less", "different" or "equal".
        margin: smallest effect of interest, at least 0, in the statistic's unit; "equal" needs one above 0.

    Returns:
        One of `VERDICTS`.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction: expected one of {DIRECTIONS}, found {direction!r}")
    margin = number("margin", margin)
    if margin < 0 or (direction == "equal" and margin == 0):
        raise ValueError(f"margin: expected at least 0, and above 0 for direction 'equal', found {margin}")
    low, high = excess(estimate, interval, null, null_interval)
    if direction == "less":
        low, high = -high, -low
    inside = -margin < low and high < margin
    if direction == "equal":
        yes, no = inside, low > margin or high < -margin
    elif direction == "different":
        yes, no = low > 0 or high < 0, inside
    else:
        yes, no = low > 0, high < margin
    return VERDICTS[0] if yes else VERDICTS[1] if no else VERDICTS[2]
