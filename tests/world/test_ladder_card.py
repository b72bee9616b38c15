"""Score cards: what is reached, what is said of what was not tested, and what is refused."""

import dataclasses
import json
from typing import Any

import jax
import pytest

from tests.world.world_toys import Echo, Line
from vrjax.report import notebook
from vrjax.world import exact, ladder
from vrjax.world.ladder import _card, _core

KEY = jax.random.key(1)
SIZES = ladder.Sizes(runs=16, steps=30, loop=120, long=20, frames=5, plans=2, goals=2, coins=500)


def card(verdicts):
    rows = []
    for name in ladder.names():
        verdict = verdicts.get(name, "passed")
        rows.append(_card.Row(name, ladder.get(name).generation, ladder.get(name).title, verdict))
    return ladder.Scorecard("w", "push", tuple(rows), SIZES, True)


def test_a_generation_is_reached_by_all_of_its_checks_and_those_below():
    assert card({}).generation == 4
    assert card({"S2": "failed"}).generation == 3
    for verdict in ("not tested", "not applicable"):
        assert card({"P1": verdict}).generation == 2  # what was not asked did not pass
    assert card({"F2": "failed"}).generation == 0
    assert card({"I3": "failed", "S1": "failed"}).generation == 1
    assert card({}).axes["planning"] == {
        "passed": 5, "failed": 0, "not applicable": 0, "not tested": 0,
    }  # fmt: skip
    some = dataclasses.replace(card({}), rows=card({}).rows[1:])  # a check that was not asked for
    assert some.generation == 0


def test_numbers_pass_on_their_side_and_never_when_they_are_none():
    assert _core.least("a", 0.8, 0.8).passed and not _core.least("a", 0.79, 0.8).passed
    assert _core.most("a", 1.0, 1.0).passed and not _core.above("a", 1.0, 1.0).passed
    for make in (_core.least, _core.most, _core.above):
        assert not make("a", float("nan"), 0.0).passed
    check = ladder.get("F1")
    told = _card.judged(check, [_core.least("IoU", 0.5, 0.8, 3), _core.noted("else", 2.0)])
    assert told.verdict == "failed" and told.why == "IoU 0.5 (at least 0.8)"
    with pytest.raises(ValueError, match="F1: measured nothing that is asked"):
        _card.judged(check, [_core.noted("else", 2.0)])


@pytest.fixture(scope="module")
def frozen():
    """Frozen frames up the first generation, and what needs more than a calm grid has."""
    truth = exact.get("grid")
    seen = []
    w = ladder.controls.get("frozen", truth)
    only = ("F1", "F3", "I4", "P5", "S1", "S4")
    return ladder.run(w, KEY, truth=truth, only=only, sizes=SIZES, told=seen.append), seen


def test_a_frozen_frame_reaches_no_generation(frozen):
    found, seen = frozen
    assert found.generation == 0 and found["F1"].verdict == "failed"
    assert [row.name for row in seen] == ["F1", "F3", "I4", "P5", "S1", "S4"]


def test_what_a_world_lacks_is_said(frozen):
    found, _ = frozen
    reasons = {name: found[name].why for name in ("I4", "P5", "S1", "S4")}
    assert {found[name].verdict for name in reasons} == {"not applicable"}
    assert reasons == {
        "I4": "faulty grid: has one camera only",
        "P5": "faulty grid: nothing can be made to happen in it",
        "S1": "grid: nothing is left to chance",
        "S4": "faulty grid: has one step in time only",
    }


def test_a_card_is_text_json_and_html(frozen):
    found, _ = frozen
    told = json.loads(json.dumps(found.to_dict()))
    assert told["rows"][0]["statistics"][0]["passed"] is False and told["generation"] == 0 and told["quick"] is True
    assert repr(found).startswith("Scorecard(faulty grid against grid (quick): generation 0; faithfulness 1 of 2")
    assert "I4  not applicable  novel camera: faulty grid: has one camera only" in found.show()
    rows = (_card.Row("F1", 1, "<b>title</b>", "failed", (), "<script>"),)
    html = notebook.shown(dataclasses.replace(found, rows=rows, world="<i>"))
    assert "<script>" not in html and "&lt;script&gt;" in html and "<i>" not in html


def test_a_world_that_cannot_decode_is_tested_by_its_frames_only():
    """A closed box around the pushing world: pictures only."""

    @jax.tree_util.register_dataclass
    @dataclasses.dataclass(frozen=True, eq=False, repr=False)
    class Box(Line):
        inner: Any = None
        frame = (16, 16, 3)

        def encode(self, observation, key):
            return self.inner.encode(observation, key)

        def decode(self, state):
            raise ValueError("box: its states cannot be decoded")

        def _step(self, state, inputs, key):
            return self.inner.step(state, inputs, key)

        def _render(self, state, camera):
            return self.inner.render(state)

    truth = exact.get("push")
    found = ladder.run(Box(inner=truth), KEY, truth=truth, only=("F1", "F2", "I2", "I6"), sizes=SIZES)
    assert [row.verdict for row in found.rows] == ["not applicable", "passed", "passed", "not applicable"], found.show()
    assert "its states cannot be decoded" in found["F1"].why
    assert "takes no instruction" in found["I6"].why


def test_what_is_refused():
    with pytest.raises(ValueError, match="ladder: truth must be an exact world, found Echo"):
        ladder.run(Echo(), KEY)
    with pytest.raises(ValueError, match="ladder: unknown check 'F7'"):
        ladder.run(exact.get("grid"), KEY, only=("F7",))
    with pytest.raises(ValueError, match="unknown check 'X1'"):
        ladder.get("X1")
