"""Tables are reused only where everything they came from is the same; programs are shared only where they are equal."""

import dataclasses
import functools
import importlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vrjax.study import command, sizes
from vrjax.study.tables import Bench, identity

TRACED: list = []


@pytest.fixture
def instrument(tmp_path, monkeypatch):
    """Writes the module of an instrument anew, and imports it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(factor="3", prose=""):
        (tmp_path / "an_instrument.py").write_text(
            f'"""{prose}"""\n\n\ndef measure(x):\n    return {{"y": x * {factor}}}  # {prose}\n'
        )
        monkeypatch.delitem(sys.modules, "an_instrument", raising=False)
        importlib.invalidate_caches()
        return importlib.import_module("an_instrument")

    return write


def test_a_table_is_measured_again_when_what_made_it_changed(instrument, tmp_path, capsys):
    made = []

    def part(of="a", weights=None, **changed):
        module = instrument(**changed)
        make = lambda: made.append(1) or module.measure(np.arange(3))
        return Bench(tmp_path, of=of).part("t", make, code=module, of=weights)["y"]

    np.testing.assert_array_equal(part(), [0, 3, 6])
    part()
    part(prose="words do not count")
    assert len(made) == 1
    np.testing.assert_array_equal(part(factor="44"), [0, 44, 88])  # the instrument's code
    assert "made again" in capsys.readouterr().out
    part(factor="44", of="b")  # the config
    part(factor="44", of="b", weights="w")  # the model
    assert len(made) == 4
    part(factor="44", of="b", weights="w")
    assert len(made) == 4


def test_programs_are_shared_by_what_they_are(tmp_path):
    """A name that forgets what the function closes over gave the second model the first one's program."""
    bench, rows = Bench(tmp_path, group=2), {"x": np.arange(3.0)}
    TRACED.clear()

    def scaled(by):
        def fn(weights, row):
            TRACED.append(by)
            return row["x"] * by + weights

        return fn

    np.testing.assert_array_equal(bench.over(scaled(2.0), 1.0, rows, ""), [1, 3, 5])
    np.testing.assert_array_equal(bench.over(scaled(3.0), 1.0, rows, ""), [1, 4, 7])
    np.testing.assert_array_equal(bench.over(scaled(2.0), 5.0, rows, ""), [5, 7, 9])
    np.testing.assert_array_equal(bench.over(scaled(np.arange(2.0)), 0.0, rows, ""), [[0, 0], [0, 1], [0, 2]])
    np.testing.assert_array_equal(bench.over(scaled(np.ones(2)), 0.0, rows, ""), [[0, 0], [1, 1], [2, 2]])
    assert len(TRACED) == 4


def test_identity():
    @dataclasses.dataclass(frozen=True)
    class Point:
        x: int
        of: object

    make = lambda k: lambda x: x + k
    one = object()
    equal = [(make(1), make(1)), (Point(1, one), Point(1, one)), ({"a": [1]}, {"a": [1]}), (np.ones(2), np.ones(2))]
    equal.append((functools.partial(make, 2), functools.partial(make, 2)))
    for a, b in equal:
        assert identity(a) == identity(b) and hash(identity(a)) == hash(identity(b))
    unlike = [make(1), make(2), make(1.0), make(True), lambda x: x, Point(1, one), Point(1, object()), np.ones(2)]
    unlike += [np.zeros(2), np.ones(2, int), jnp.ones(3), functools.partial(make, 2), one, object(), jax.random.key(0)]
    assert len({identity(thing) for thing in unlike}) == len(unlike)


def test_sizes_are_checked():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Sizes(sizes.Study):
        MAY_BE_ZERO = ("first",)
        first: int = 0
        n: int = 1
        flag: bool = False
        names: tuple[str, ...] = ("b",)

    assert Sizes(name="a").first == 0
    with pytest.raises(ValueError, match="a: n must be at least 1, found 0"):
        Sizes(name="a", n=0)
    with pytest.raises(ValueError, match="a: names is empty, expected at least one"):
        Sizes(name="a", names=())
    assert command.values("chain_of_steps", "quick").name == "chain_of_steps"
