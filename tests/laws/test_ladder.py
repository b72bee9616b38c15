"""Every check of the ladder: the exact worlds that it names pass it, and each control that it names fails it.

A new check is one file of `vrjax/world/ladder/checks` with its controls in its record; nothing is added here, but for
the sizes that a check of another kind may need.
"""

import functools
from typing import Any

import jax
import pytest

from tests.laws.test_adding import added
from vrjax.world import exact, ladder

KEY = jax.random.key(3)
SIZES = ladder.Sizes(runs=24, steps=30, loop=120, long=60, frames=30, plans=4, goals=2, coins=6_000)
CHECKS = {name: ladder.get(name) for name in ladder.names()}


@functools.cache
def truth(name) -> Any:
    return exact.example(name)


@functools.cache
def control(kind, name) -> Any:
    return ladder.controls.faulty(truth(kind)) if name == "none" else ladder.controls.get(name, truth(kind))


def row(name, kind, w) -> Any:
    return ladder.run(w, KEY, truth=truth(kind), only=(name,), sizes=SIZES).rows[0]


@pytest.mark.parametrize("name", CHECKS)
def test_its_first_world_passes_and_every_control_of_that_fails(name):
    """By the type that has the faults, without any: so it is the fault that fails, and one program serves all."""
    check = CHECKS[name]
    kind = check.positive[0]
    found = row(name, kind, control(kind, "none"))
    assert found.verdict == "passed", found.why
    assert check.negative
    for fault in check.negative:
        wrong = row(name, kind, control(kind, fault))
        assert wrong.verdict == "failed", f"{fault}: {wrong.verdict}, {wrong.why}"
        assert any(not one.passed for one in wrong.statistics if one.direction != "noted")


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in CHECKS for kind in CHECKS[name].positive[1:]])
def test_the_other_worlds_that_it_names_pass(name, kind):
    found = row(name, kind, truth(kind))
    assert found.verdict == "passed", found.why


def test_twenty_checks_of_four_generations():
    told = [(name, check.generation) for name, check in CHECKS.items()]
    assert told == [
        *((f"F{i}", 1) for i in range(1, 5)), *((f"I{i}", 2) for i in range(1, 7)),
        *((f"P{i}", 3) for i in range(1, 6)), *((f"S{i}", 4) for i in range(1, 6)),
    ]  # fmt: skip
    for name, check in CHECKS.items():
        assert (check.name, bool(check.title and check.asks)) == (name, True)
        assert set(check.positive) <= set(exact.names()) & set(ladder.facts.names())
        assert set(check.negative) <= set(ladder.controls.names())
    named = {fault for check in CHECKS.values() for fault in check.negative}
    assert named == set(ladder.controls.names())  # no fault that nothing looks for


CHECK = '''
    """Whether the agent begins within the room."""

    import numpy as np

    from vrjax.world.ladder import Check, Statistic


    def measure(subject):
        place = np.asarray(subject.starts(0, 2).agent)
        return [Statistic("least coordinate", float(place.min()), 0.0, "at least", 2)]


    CHECK = Check("F9", 1, "begins within", "a start", measure, ("push",), ("elsewhere",))
'''


def test_a_new_check_is_one_file(tmp_path):
    with added("vrjax.world.ladder.checks", "f9", CHECK, tmp_path):
        assert ladder.names()[4] == "F9" and row("F9", "push", truth("push")).verdict == "passed"
    assert "F9" not in ladder.names()
