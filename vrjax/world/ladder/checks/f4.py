"""F4: the inputs that a world declares are navigation modes: in time, independent of content, spatial.

For each kind of input that it takes, three numbers of the decoded way of the agent, see `_trs`. `ladder.conditions`
computes the survey's whole table, conditions that are no navigation mode included.
"""

from functools import partial

import jax

from vrjax.world.ladder import _trs
from vrjax.world.ladder._core import Check, Lacks, least

KINDS = ("action", "trajectory", "instruction")


@partial(jax.jit, static_argnames="clear")
def _cleared(states, *, clear):
    return jax.vmap(clear)(states)


def measure(subject):
    """Three numbers for each kind of input."""
    subject.needs_decoded()
    clear = subject.fact("clear", "no scene of it has free way about the agent")
    declared = [kind for kind in KINDS if kind in subject.w.inputs]
    if not declared:
        raise Lacks(f"{subject.w.name}: declares no inputs")
    states = _cleared(subject.starts(0), clear=clear)
    runs = subject.sizes.runs
    out = []
    for part, kind in enumerate(declared):
        found = _trs.measured(subject, kind, states, runs, 1 + part)
        for name, value, threshold in zip("TRS", found, (_trs.T, _trs.R, _trs.S), strict=True):
            out.append(least(f"{kind}: {name}", value, threshold, runs))
    return out


CHECK = Check(
    "F4", 1, "declared conditions are navigation modes", "takes inputs; decodes the agent", measure,
    ("push", "grid"), ("ignored", "frozen", "retrieval"),
)  # fmt: skip
