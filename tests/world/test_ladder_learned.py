"""The ladder on worlds that stand for an exact one: learned ones, and worlds that decode less than it."""

import dataclasses
from typing import Any

import jax
import pytest

from tests.world.world_toys import SPEC, untrained
from vrjax.world import exact, ladder
from vrjax.world.ladder.controls import _Around

KEY = jax.random.key(2)
SIZES = ladder.Sizes(runs=8, steps=6, long=8, frames=3, plans=2, goals=2, coins=200)
SLIPPERY = dataclasses.replace(SPEC, options=(*SPEC.options, ("slip", 0.3)))
COINS = ("S1", "S2", "S3")


@pytest.fixture(scope="module")
def card():
    """Of a world that has learned nothing; its name, key and nothing else are given."""
    only = ("F1", "F3", "I1", "I3", "I4", "I6", "P4", "P5", "S1", "S4")
    return ladder.run(untrained(), KEY, only=only, sizes=SIZES)


def test_a_world_that_has_learned_nothing_fails_what_needs_knowledge(card):
    assert (card.truth, card.world, card.generation) == ("push", "learned", 0)
    verdicts = {row.name: row.verdict for row in card.rows}
    assert verdicts["F1"] == verdicts["I1"] == "failed" and verdicts["F3"] != "passed", card.show()


def test_what_a_learned_world_lacks_is_not_applicable(card):
    reasons = {
        "I3": "learned: has no camera 'agent' that moves",
        "I4": "learned: has one camera only",
        "I6": "learned: takes no instruction",
        "P5": "learned: nothing can be made to happen in it",
        "S1": "push: nothing is left to chance",
        "S4": "learned: has one step in time only",
    }
    assert {name: card[name].why for name in reasons} == reasons
    assert {card[name].verdict for name in reasons} == {"not applicable"}


@pytest.mark.parametrize("variant", ["two steps", "one step", "regression"])
def test_its_chance_is_asked_where_the_exact_world_has_a_coin(variant):
    """By plain rollouts and by particles; a regressor, which knows no chance, meets one face at most."""
    spec = dataclasses.replace(SLIPPERY, steps=2 if variant == "two steps" else 1, regression=variant == "regression")
    found = ladder.run(untrained(spec=spec), KEY, only=COINS if variant == "regression" else ("S1",), sizes=SIZES)
    assert {row.verdict for row in found.rows} == {"failed"}, found.show()
    if variant == "regression":
        names = [one.name for one in found["S2"].statistics]
        assert "relative error of the rate by particles" in names
        met = [one.value for one in found["S3"].statistics if one.name == "share of common outcomes that are met"]
        assert met[0] <= 1 / 3


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Reticent(_Around):
    """An exact world that does not decode all it knows."""

    inner: Any
    hidden: tuple[str, ...] = dataclasses.field(metadata=dict(static=True))

    def encode(self, observation, key):
        return self.inner.encode(observation, key)

    def decode(self, state):
        return {name: value for name, value in self.inner.decode(state).items() if name not in self.hidden}

    def _step(self, state, inputs, key):
        return self.inner.step(state, inputs, key)

    def _render(self, state, camera):
        return self.inner.render(state, camera)


def test_what_never_changes_need_not_be_decoded_and_what_moves_must():
    truth, only = exact.example("push"), ("F1", "P4")
    whole = ladder.run(truth, KEY, only=only, sizes=SIZES)
    less = ladder.run(Reticent(truth, ("walls", "told")), KEY, only=only, sizes=SIZES)
    told = lambda card: [[one.value for one in row.statistics] for row in card.rows]
    assert told(less) == told(whole) and {row.verdict for row in less.rows} == {"passed"}
    none = ladder.run(Reticent(truth, ("blocks",)), KEY, only=only, sizes=SIZES)
    assert {(row.verdict, row.why) for row in none.rows} == {
        ("not applicable", "reticent push: does not decode 'blocks'")
    }
