"""`run`: a world up the ladder."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jaxtyping import Array, Key

from vrjax.files import named
from vrjax.world.exact import Exact
from vrjax.world.ladder import checks, facts
from vrjax.world.ladder._card import Row, Scorecard, judged, unmade
from vrjax.world.ladder._core import FULL, QUICK, Lacks, Sizes, Subject, by_frame, recode
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
        w: the world under test. Unless `truth` says otherwise, one that is `Exact` is held against itself (that it
            passes says that the checks can be passed), a control against the world within it, a learned one and an
            adapter against the exact world that it stands for.
        key: of all that is drawn; each check has its own part, whichever others are made.
        truth: the exact world that it stands for, of a kind that `ladder.facts` knows.
        see: `see(w, truth, state of truth, key) -> state of w`, pure: how it begins where the exact world is. None:
            one that stands for an exact world is given its first frame (`by_frame`), others what that world decodes
            (`recode`).
        only: names of checks; None: all twenty. A generation is reached by whole generations only.
        quick: smaller sizes, about a minute on a CPU for a small world.
        sizes: other sizes than those.
        told: called with each row as it comes.

    Returns:
        A `Scorecard`. A check that needs what the world lacks is "not applicable", with the reason.

    Raises:
        ValueError: no truth for a world that is not exact, a truth of a kind that nothing is known of or whose steps
            yield another number of frames, an unknown check.
    """
    home = stands_for(w)
    found: Any = (getattr(w, "inner", w) if home is None else home) if truth is None else truth
    if not isinstance(found, Exact):
        raise ValueError(f"ladder: truth must be an exact world, found {type(found).__name__}; name one for {w.name}")
    truth = found
    if w.frames_a_step != truth.frames_a_step:
        steps = f"a step of {w.name} yields {w.frames_a_step} frames, one of {truth.name} {truth.frames_a_step}"
        raise ValueError(f"ladder: {steps}; name a truth of equal steps")
    known = facts.get(truth.name)
    names = checks.names()
    for name in only or ():
        if name not in names:
            raise ValueError(f"ladder: {named.unknown('check', name, names)}")
    sizes = sizes or (QUICK if quick else FULL)
    see = (recode if home is None else by_frame) if see is None else see
    said = _decoded(w, truth, see)
    decodes, hidden = bool(said), set(_decoded(truth, truth, recode)) - set(said)
    rows = []
    for i, name in enumerate(names):
        if only is not None and name not in only:
            continue
        check, began = checks.get(name), time.perf_counter()
        subject = Subject(w, truth, known, see, jax.random.fold_in(key, i), sizes, decodes)
        try:
            row = judged(check, check.measure(subject), time.perf_counter() - began)
        except Lacks as lacks:
            row = unmade(check, lacks, time.perf_counter() - began)
        except KeyError as error:
            if error.args[0] not in hidden:
                raise
            lacks = Lacks(f"{w.name}: does not decode {error.args[0]!r}")
            row = unmade(check, lacks, time.perf_counter() - began)
        rows.append(row)
        if told is not None:
            told(row)
    return Scorecard(w.name, truth.name, tuple(rows), sizes, sizes.long < FULL.long or sizes.coins < FULL.coins)


def stands_for(w: Any) -> Exact | None:
    """The exact world that a learned one was learned from, or that an adapter was given; None: none."""
    return getattr(getattr(w, "spec", w), "home", None)


def _decoded(w, truth, see) -> tuple[str, ...]:
    """Names of what the world decodes; none where it does not decode its states, which it says by raising."""
    begin = lambda key: see(w, truth, truth.make(key), key)
    try:
        return tuple(jax.eval_shape(lambda key: w.decode(begin(key)), jax.random.key(0)))
    except ValueError:
        jax.eval_shape(begin, jax.random.key(0))  # what is wrong with its beginning is not what is asked here
        return ()
