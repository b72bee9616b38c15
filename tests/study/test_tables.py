"""Tables are reused only where everything they came from is the same; programs are shared only where they are equal."""

import dataclasses
import functools
import importlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vrjax.study import config, tables
from vrjax.study.tables import Bench, identity, source


@pytest.fixture
def instrument(tmp_path, monkeypatch):
    """Writes a package `experiments` of two modules, and forgets what was known of it."""

    def write(factor="3", prose="", helper="0"):
        folder = tmp_path / "src" / "experiments" / "paper"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
        (folder.parent / "__init__.py").touch()
        (folder / "helper.py").write_text(f"SHIFT = {helper}\n")
        text = f'"""{prose}"""\nfrom experiments.paper import helper\n\n\ndef measure(x):\n    # {prose}\n'
        (folder / "measure.py").write_text(text + f"    return {{'y': x * {factor} + helper.SHIFT}}\n")
        for name in [name for name in sys.modules if name.split(".")[0] == "experiments"]:
            monkeypatch.delitem(sys.modules, name)
        importlib.invalidate_caches()
        tables._text.cache_clear()
        return importlib.import_module("experiments.paper.measure")

    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    yield write
    tables._text.cache_clear()


def test_a_table_is_measured_again_when_what_made_it_changed(instrument, tmp_path):
    made = []

    def part(of="a", weights=None, **changed):
        module = instrument(**changed)
        make = lambda: made.append(1) or module.measure(np.arange(3))
        return Bench(tmp_path, of=of).part("t", make, code=module, of=weights)["y"]

    np.testing.assert_array_equal(part(), [0, 3, 6])
    part()
    part(prose="words do not count")
    assert len(made) == 1
    np.testing.assert_array_equal(part(factor="4"), [0, 4, 8])  # the instrument's code
    np.testing.assert_array_equal(part(factor="4", helper="1"), [1, 5, 9])  # code that it imports
    part(factor="4", helper="1", of="b")  # the config
    part(factor="4", helper="1", of="b", weights="w")  # the model
    assert len(made) == 5
    part(factor="4", helper="1", of="b", weights="w")
    assert len(made) == 5


def test_a_torn_table_is_an_error(tmp_path):
    bench = Bench(tmp_path)
    bench.part("t", lambda: {"a": np.arange(9)})
    path = tmp_path / "t.npz"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match="t.npz: not a table"):
        bench.part("t", lambda: {"a": np.arange(9)})


def test_the_source_of_an_instrument_is_what_measures():
    from vrjax.reasoning.instruments import cka, readout

    assert len({source(cka), source(readout), source(Bench)}) == 3
    assert source(cka) == source(cka.sensitivity)
    known = tables._closure("vrjax.reasoning.instruments.ensemble")
    assert {"vrjax.flow.core", "vrjax.reasoning.instruments.ensemble"} <= known
    assert not [
        name for name in tables._closure("experiments.chain_of_steps.layers") if name.startswith("vrjax.report")
    ]


def test_programs_are_shared_by_what_they_are(tmp_path):
    """A name that forgets what the function closes over gave the second model the first one's program."""
    bench, rows = Bench(tmp_path, group=2), {"x": np.arange(3.0)}
    traced = []

    def scaled(by):
        def fn(weights, row):
            traced.append(by)
            return row["x"] * by + weights

        return fn

    np.testing.assert_array_equal(bench.over(scaled(2.0), 1.0, rows, ""), [1, 3, 5])
    np.testing.assert_array_equal(bench.over(scaled(3.0), 1.0, rows, ""), [1, 4, 7])
    np.testing.assert_array_equal(bench.over(scaled(2.0), 5.0, rows, ""), [5, 7, 9])
    np.testing.assert_array_equal(bench.over(scaled(np.arange(2.0)), 0.0, rows, ""), [[0, 0], [0, 1], [0, 2]])
    np.testing.assert_array_equal(bench.over(scaled(np.ones(2)), 0.0, rows, ""), [[0, 0], [1, 1], [2, 2]])
    assert len(traced) == 4


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
    class Sizes(config.Study):
        MAY_BE_ZERO = ("first",)
        first: int = 0
        n: int = 1
        flag: bool = False

    assert Sizes(name="a").first == 0
    with pytest.raises(ValueError, match="a: n must be at least 1, found 0"):
        Sizes(name="a", n=0)
    assert config.values("chain_of_steps", "quick").name == "chain_of_steps"
