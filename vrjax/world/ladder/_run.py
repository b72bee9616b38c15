"""`run`: a world up the ladder."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jaxtyping import Array, Key

from vrjax.files import named
from vrjax.world.exact import Exact
from vrjax.world.ladder import checks, facts
from vrjax.world.ladder._card import Row, Scorecard, judged, untested
from vrjax.world.ladder._core import FULL, QUICK, Lacks, Sizes, Subject, recode
from vrjax.world.protocol import World


def run(
    w: World,
    key: Key[Array, ""],
    *,
    truth: Exact | None = None,
    see: Callable[[Any, Any, Any, Any], Any] | None = None,
    only: Sequence[str] | None = None,
    quick: bool = False,
    sizes: Sizes | None = None,
    told: Callable[[Row], None] | None = None,
) -> Scorecard:
    """Makes all checks on a world.

    Args:
        w: the world under test. Where it is `Exact` it is held against itself unless `truth` says otherwise, and a
            control against the world within it: that an exact world passes says that the checks can be passed.
        key: of all that is drawn; each check has its own part, whichever others are made.
        truth: the exact world that it stands for, of a kind that `ladder.facts` knows.
        see: `see(w, truth, state of truth, key) -> state of w`, pure: how it begins where the exact world is; by
            default (`recode`) it is given what the exact world decodes; `by_frame` gives it the first frame.
        only: names of checks; None: all twenty. A generation is reached by whole generations only.
        quick: smaller sizes, about a minute on a CPU for a small world.
        sizes: other sizes than those.
        told: called with each row as it comes.

    Returns:
        A `Scorecard`. A check that needs what the world lacks is "not tested", with the reason.

    Raises:
        ValueError: no truth for a world that is not exact, a truth of a kind that nothing is known of, an unknown
            check.
    """
    found: Any = getattr(w, "inner", w) if truth is None else truth
    if not isinstance(found, Exact):
        raise ValueError(f"ladder: truth must be an exact world, found {type(found).__name__}; name one for {w.name}")
    truth = found
    known = facts.get(truth.name)
    names = checks.names()
    for name in only or ():
        if name not in names:
            raise ValueError(f"ladder: {named.unknown('check', name, names)}")
    sizes = sizes or (QUICK if quick else FULL)
    see = recode if see is None else see
    decodes = _decodes(w, truth, see)
    rows = []
    for i, name in enumerate(names):
        if only is not None and name not in only:
            continue
        check, began = checks.get(name), time.perf_counter()
        subject = Subject(w, truth, known, see, jax.random.fold_in(key, i), sizes, decodes)
        try:
            row = judged(check, check.measure(subject), time.perf_counter() - began)
        except Lacks as lacks:
            row = untested(check, str(lacks), time.perf_counter() - began)
        rows.append(row)
        if told is not None:
            told(row)
    return Scorecard(w.name, truth.name, tuple(rows), sizes, sizes.long < FULL.long or sizes.coins < FULL.coins)


def _decodes(w, truth, see) -> bool:
    """Whether the world decodes its states: it says so by not raising."""
    begin = lambda key: see(w, truth, truth.make(key), key)
    try:
        jax.eval_shape(lambda key: w.decode(begin(key)), jax.random.key(0))
    except ValueError:
        jax.eval_shape(begin, jax.random.key(0))  # what is wrong with its beginning is not what is asked here
        return False
    return True
