"""Dataclasses as JSON and back: a wrong value is one line that names field, found and expected."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import tiny

from vrjax.files import records, writing
from vrjax.train.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Inner:
    kind: Literal["a", "b", 3] = "a"
    rate: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    count: int = 1
    on: bool = True
    size: tuple[int, int] = (1, 2)
    names: tuple[str, ...] = ()
    nested: tuple[tuple[int, ...], ...] = ()
    inner: Inner = Inner()
    maybe: Inner | None = None
    weights: dict[str, float] = field(default_factory=dict)
    rules: dict[str, Any] = field(default_factory=dict)
    limit: float | None = None
    either: int | str | tuple[int, ...] = 0
    listed: list[int] = field(default_factory=list)


def test_there_and_back():
    made = Outer(
        name="x", count=3, size=(4, 5), names=("a", "b"), nested=((1,), (2, 3)), inner=Inner(kind=3, rate=2),
        maybe=Inner(), weights={"m": 1, "n": 0.5}, rules={"mlp": None, "embed": ["data"]}, limit=1e-3, either=(1, 2),
        listed=[1],
    )  # fmt: skip
    values = json.loads(json.dumps(writing.to_dict(made)))
    assert records.from_dict(Outer, values) == made and writing.to_dict(made) == values
    assert records.from_dict(Outer, {"name": "x"}) == Outer(name="x")
    assert records.from_dict(Outer, {"name": "x", "either": "s"}).either == "s"


@pytest.mark.parametrize(("values", "said"), [
    ({"name": 3}, "config.name: found 3, expected text"),
    ({"name": None}, "config.name: found null, expected text"),
    ({"count": "3"}, 'config.count: found "3", expected a whole number'),
    ({"count": 3.0}, "config.count: found 3.0, expected a whole number"),
    ({"count": True}, "config.count: found true, expected a whole number"),
    ({"count": [1]}, "config.count: found a list, expected a whole number"),
    ({"on": 1}, "config.on: found 1, expected true or false"),
    ({"on": "true"}, 'config.on: found "true", expected true or false'),
    ({"size": 3}, "config.size: found 3, expected a list"),
    ({"size": [1]}, "config.size: found a list, expected a list of 2"),
    ({"size": [1, "2"]}, 'config.size[1]: found "2", expected a whole number'),
    ({"names": "ab"}, 'config.names: found "ab", expected a list'),
    ({"nested": [[1], ["x"]]}, 'config.nested[1][0]: found "x", expected a whole number'),
    ({"inner": 1}, "config.inner: found 1, expected an object with the fields of Inner"),
    ({"inner": {"rate": "3e-3"}}, 'config.inner.rate: found "3e-3", expected a number'),
    ({"inner": {"rate": None}}, "config.inner.rate: found null, expected a number"),
    ({"inner": {"rate": True}}, "config.inner.rate: found true, expected a number"),
    ({"inner": {"kind": "c"}}, "config.inner.kind: found \"c\", expected one of 'a', 'b', 3"),
    ({"inner": {"kind": "3"}}, "config.inner.kind: found \"3\", expected one of 'a', 'b', 3"),
    ({"inner": {"kin": 1}}, "config.inner: unknown fields ['kin'], expected some of ['kind', 'rate']"),
    ({"maybe": {"rate": "x"}}, 'config.maybe.rate: found "x", expected a number'),
    ({"maybe": 1}, "config.maybe: found 1, expected an object with the fields of Inner or null"),
    ({"weights": {"m": "1"}}, 'config.weights.m: found "1", expected a number'),
    ({"weights": [1]}, "config.weights: found a list, expected an object"),
    ({"limit": "1"}, 'config.limit: found "1", expected a number or null'),
    ({"either": 1.5}, "config.either: found 1.5, expected a whole number or text or a list"),
    ({"listed": {"a": 1}}, "config.listed: found an object, expected a list"),
    ({"other": 1}, "config: unknown fields ['other']"),
])  # fmt: skip
def test_wrong_types_are_one_line(values, said):
    with pytest.raises(ValueError) as caught:
        records.from_dict(Outer, {"name": "x", **values})
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("values", "said"), [
    ({}, "config: missing fields ['name'] of Outer"),
    ([1], "config: found a list, expected an object with the fields of Outer"),
    (None, "config: found null, expected an object with the fields of Outer"),
])  # fmt: skip
def test_missing_fields_and_no_object(values, said):
    with pytest.raises(ValueError) as caught:
        records.from_dict(Outer, values)
    assert said in str(caught.value)


def _leaves(values, at=()):
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*at, name))
        else:
            yield (*at, name)


def test_every_field_of_a_training_config_is_checked():
    """A quoted, a missing or an absurd value in any field: an accepted config or one line, never a traceback."""
    whole = writing.to_dict(tiny.config())
    for path in _leaves(whole):
        for wrong in ("3", None, [], {}, {"x": 1}, 1.5, True, [None], ["a", 1]):
            values = json.loads(json.dumps(whole))
            inner = values
            for name in path[:-1]:
                inner = inner[name]
            inner[path[-1]] = wrong
            try:
                made = records.from_dict(TrainConfig, values)
            except ValueError as error:
                assert "\n" not in str(error)
            else:
                assert dataclasses.is_dataclass(made)


def test_differences():
    a = writing.to_dict(Outer(name="x", weights={"m": 1}))
    b = writing.to_dict(Outer(name="x", weights={"m": 2}, inner=Inner(rate=2)))
    assert writing.differences(a, b) == ["inner.rate (was 1.0, now 2)", "weights.m (was 1, now 2)"]
    assert writing.differences(a, a) == []
