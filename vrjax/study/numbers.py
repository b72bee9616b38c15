"""What claims and tables read of kept tables: numbers of a seed by name, and claims that are judged from them.

    class Seed:                                      # what was kept of a training seed, in the paper's own words
        NUMBERS = ("right", "guess")
        def right(self, task): ...                   # (n,): one number an item, or (1,) where only all have a meaning;
                                                     # raises `Missing` where it was not measured

    numbers.values(seeds, ["right", ["maze"], "guess", ["maze"]])          # (seed, n, 1), item by item; None: missing

What a claim reads stands in `claims.json`, field `how`, in the same words:

    "of": ["right", ["maze"], "guess", ["maze"]]                     or, of a claim of several contrasts,
    "contrasts": {contrast: ["horizon", ["4 steps"], ["1 step"]]}
    "beside": {what: ["guess", ["maze"]]}                            shown beside the estimate, means over seeds

A number is `[name, arguments]`; less another one, `[..., other name, arguments]`, or of the same name `[..., other
arguments]`, of which a share may be taken, `[..., other arguments, 0.9]`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from vrjax.report.claims import Claim
from vrjax.study.claims import Finding, settle
from vrjax.study.registration import Registration

Asked = Sequence[Any]


class Missing(KeyError):
    """Something that was not measured."""


@runtime_checkable
class Seed(Protocol):
    """What was kept of a training seed."""

    NUMBERS: ClassVar[tuple[str, ...]]
    """Methods that claims and tables read numbers by."""


def number(seed: Seed, asked: Asked) -> Float[np.ndarray, " n"]:
    """What is asked for, see the file.

    Raises:
        Missing: it was not measured. ValueError: no such number.
    """
    name, first, *rest = asked
    if name not in seed.NUMBERS:
        raise ValueError(f"{name!r}: no number of this study, expected one of {', '.join(seed.NUMBERS)}")
    found = getattr(seed, name)(*first)
    if not rest:
        return found
    if isinstance(rest[0], str):
        return found - number(seed, rest)
    share = float(rest[1]) if len(rest) > 1 else 1.0
    return found - share * getattr(seed, name)(*rest[0])


def values(seeds: Sequence[Seed], asked: Asked) -> Float[np.ndarray, "seed n 1"] | None:
    """`number` of all seeds; None where one of them lacks it."""
    try:
        return np.stack([number(seed, asked) for seed in seeds])[..., None]
    except Missing:
        return None


def named(asked: Asked, words: Mapping[str, str]) -> list[Any]:
    """A number as it is asked for, with words such as `{primary}` in its arguments replaced."""
    put = lambda part: [words.get(one, one) for one in part] if isinstance(part, list | tuple) else part
    return [put(part) for part in asked]


def checked(
    seeds: Sequence[Seed], checks: Mapping[str, Asked], words: Mapping[str, str], tells: Sequence[str] = ()
) -> dict[str, list[float]]:
    """Gates, positive controls and doses that were measured and can be told, one number a seed.

    Args:
        seeds: of the study.
        checks: what is asked for, by its registered name.
        words: see `named`.
        tells: those of `checks` that count the seeds in which a number could be told at all.
    """
    out = {}
    for name, asked in checks.items():
        found = values(seeds, named(asked, words))
        if found is None:
            continue
        if name in tells:
            out[name] = np.isfinite(found).all((1, 2)).astype(float).tolist()
        elif np.isfinite(found).all():
            out[name] = found.mean((1, 2)).tolist()
    return out


def claims(
    study: Any,
    asked: Registration,
    seeds: Sequence[Seed],
    checks: Mapping[str, Asked],
    words: Mapping[str, str],
    tells: Sequence[str] = (),
) -> list[Claim]:
    """The registered claims, in order; those whose parts were not measured are left out.

    What a seed could not tell counts as 0, and the claim has a gate of `tells`, which fails then; a quick run, which
    has no verdicts, leaves the claim out.

    Args:
        study: its sizes, with `quick` and `resamples`.
        asked: what was registered.
        seeds, checks, words, tells: see `checked`.
    """
    found, measured = {}, checked(seeds, checks, words, tells)
    read: Callable[[Asked], Any] = lambda one: values(seeds, named(one, words))
    for claim in asked.claims:
        how = claim["how"]
        several: Mapping[str, Any] = how.get("contrasts", {claim["id"]: how.get("of")})
        each = {name: read(one) for name, one in several.items()}
        if any(one is None or (study.quick and not np.isfinite(one).all()) for one in each.values()):
            continue
        shaped = {name: np.nan_to_num(one) for name, one in each.items() if one is not None}
        told = {what: read(one) for what, one in how.get("beside", {}).items()}
        beside = {what: float(one.mean()) for what, one in told.items() if one is not None and np.isfinite(one).all()}
        value = shaped if "contrasts" in how else shaped[claim["id"]]
        found[claim["id"]] = Finding(value, measured=measured, beside=beside)
    return settle(asked, found, quick=study.quick, resamples=study.resamples)
