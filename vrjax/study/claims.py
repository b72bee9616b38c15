"""Claims of a study: registered before the run, judged from its tables, told at its end.

`experiments/<paper>/claims.json` holds them in order. What a paper adds is how a claim's values are read from its
tables, as [training seed, instance, noise]. (Records and verdicts: `vrjax.report.claims`.)
"""

import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from rich.console import Console

from vrjax.report import statistics
from vrjax.report.claims import Claim


def registered(module: str) -> list[dict[str, Any]]:
    """The claims of `claims.json` beside a module's file, in order."""
    return json.loads(pathlib.Path(module).with_name("claims.json").read_text("utf-8"))["claims"]


def filled(asked: Mapping[str, Any], **given: Any) -> dict[str, Any]:
    """A registered claim with the names in braces that its texts hold, such as `{tries}`, replaced by values."""
    fill = lambda value: value.format(**given) if isinstance(value, str) else value
    return {k: [fill(x) for x in v] if isinstance(v, list) else fill(v) for k, v in asked.items()}


def interval(values: np.ndarray, resamples: int, levels: int = 3) -> statistics.Estimate:
    """Mean of [training seed, instance, noise] with its interval; instances differ between training seeds (nested).

    Where all values are equal, resampling sees no variation and would claim certainty. The rule of three takes its
    place there: with n instances and no exception among them, an exception of size 1 may still have probability 3 / n.

    Args:
        resamples: bootstrap draws.
        levels: how many of the axes are resampled, from the first on; those of length 1 are not.
    """
    values = np.asarray(values, np.float64)
    if np.ptp(values) == 0:
        value, slack = float(values.flat[0]), 3.0 / (values.shape[0] * values.shape[1])
        return statistics.Estimate(value, value - slack, value + slack, values.size)
    chosen = tuple(axis for axis in range(levels) if values.shape[axis] > 1)
    return statistics.hierarchical_bootstrap(values, resample=chosen, instances="nested", resamples=resamples)


def p_value(difference: np.ndarray, resamples: int) -> float:
    """Paired permutation of [training seed, instance, noise]: the signs of whole instances are flipped."""
    seeds, instances, noises = difference.shape
    units = np.repeat(np.arange(seeds * instances), noises)
    return float(statistics.sign_flip(difference.ravel(), units, resamples=resamples))


def add_holm(rows: Mapping[str, dict[str, Any]], ps: Mapping[str, float]) -> None:
    """Gives each arm's row that has a p-value its `holm`, corrected over all of them."""
    if ps:
        adjusted = statistics.holm(np.array(list(ps.values()))).adjusted
        for name, value in zip(ps, adjusted, strict=True):
            rows[name]["holm"] = float(value)


def judged(asked: Mapping[str, Any], estimate: statistics.Estimate, **more: Any) -> Claim:
    """A registered claim with its estimate, null 0. `more`: fields of `Claim` that the registered one lacks."""
    told = {k: asked[k] for k in ("paper", "statement", "statistic", "direction", "arms", "notes") if k in asked}
    told |= {"interval": estimate.interval, "n": estimate.n, "null": 0.0, "margin": asked["smallest"]} | more
    return Claim(asked["id"], estimate=float(estimate.value), **told)


def between(value: float, low: float, high: float, form: str = "+.3f") -> str:
    """A number with its interval."""
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def tell(console: Console, found: Iterable[Claim]) -> None:
    """One line a claim: estimate, interval, how many, verdict."""
    for row in found:
        number = between(row.estimate, *row.interval)
        console.print(f"  {row.id:<32} {number:<28} n={row.n:<6} {row.verdict}", highlight=False, soft_wrap=True)
