"""Planning in the key-and-door grid: steps left of what was read, and the exact world's own row."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.world_model import beside, cells, fewer, names, roads
from tests.world.world_toys import SPEC, untrained
from vrjax.world import exact, learned
from vrjax.world.exact import grid
from vrjax.world.learned import Spec, library, reader

KEY = jax.random.key(6)
HOME = exact.get("grid")


def test_steps_left_of_what_was_read():
    """Places half way between cells are those of the nearer one; the key is held where it is the agent's."""
    state = jax.jit(HOME.make)(KEY)
    left = cells.table(state, names.TASK)
    (x, y), (kx, ky) = state.agent, state.key
    decoded = {
        "agent": jnp.stack([state.agent + jnp.array([0.4, -0.4]), state.key + 0.1]),
        "item": jnp.stack([state.key + 0.0, state.key - 0.2]),
    }
    expected = (left[0, y, x] + left[1, ky, kx]) / 2
    assert float(cells.cost(decoded, left)) == pytest.approx(expected)
    true = jax.tree.map(lambda a: jnp.asarray(a)[None], HOME.decode(state))
    assert float(cells.cost(true, left)) == float(grid.cost(true, left)) == left[0, y, x]
    assert np.asarray(cells.table(state, names.MESO))[0, ky, kx] == 0


def test_the_exact_world_gets_there_and_who_sees_another_layout_does_not():
    """The key, in six layouts; a learned world is planned through by the same program, of its own state."""
    spec = Spec(world="grid", moving=("agent", "item"), still=("door", "goal"), scale=2.0)
    w = dataclasses.replace(untrained(), spec=spec, reader=reader.init(KEY, 4, 6))
    keys = jax.random.split(KEY, 6)
    run = lambda arm: jax.vmap(lambda w, key: cells.reached(w, names.MESO, arm, key), (None, 0))
    share = lambda arm: float(jax.jit(run(arm))(w, keys).mean())
    assert share(names.EXACT) == 1.0 and share(names.ELSEWHERE) < 0.5
    assert jax.eval_shape(run(w.name), w, keys).shape == (6,)


def test_a_row_a_world():
    told = beside.page(cells.SAYS, {"here": {names.EXACT: {names.MESO: 1.0, names.TASK: 0.75}}}, 6)
    assert "| here | exact world | 1.00 | 0.75 |" in told and "Shares of 6 layouts" in told


def test_other_worlds_are_refused(capsys):
    with pytest.raises(ValueError, match="expected agent and item of grid"):
        cells.measured(untrained(spec=SPEC), 2, KEY)
    for says in (cells.SAYS, roads.SAYS):
        assert beside.main(says, ["/nowhere"]) == 2 and beside.main(says, ["push", "--count", "0"]) == 2
        first, second = capsys.readouterr().err.splitlines()
        assert first.startswith("world_model: no learned world /nowhere")
        assert second == "world_model: --count: found 0, expected at least 1"
    assert beside.main(roads.SAYS, ["push"]) == 2
    assert "expected one that was learned from drive" in capsys.readouterr().err


def test_fewer_denoising_steps():
    """Asked in sixteen, two and one; none below the second level of two; what is distilled has its own."""
    w = dataclasses.replace(learned.load("drive"), odometer=None)
    with pytest.raises(ValueError, match="expected a world that was learned from drive, with an odometer"):
        fewer.measured(w, 2, KEY)
    found = fewer.arms(w)
    assert list(found) == ["16 steps", "2 steps", "1 step"] and found["2 steps"].spec == w.spec
    assert found["16 steps"].spec.grid.sigmas[-2] == pytest.approx(w.spec.grid.sigmas[-2])
    distilled = dataclasses.replace(w, spec=dataclasses.replace(w.spec, solver="renoise"))
    assert list(fewer.arms(distilled)) == ["distilled, 2 steps"]


def test_errors_of_a_drive_that_stands(monkeypatch):
    """Three films of a car that drives off at 10 m/s: who stands is a metre further off with every step."""
    monkeypatch.setattr(fewer, "STEPS", (2,))
    w, count, length = learned.load("drive"), 3, fewer.AFTER[-1] + 1
    poses = jnp.zeros((length, 4)).at[:, 0].set(jnp.arange(length)).at[:, 3].set(10.0)
    frames = jnp.full((length, *w.spec.home.frame), 100, jnp.uint8)
    one = library.Films(frames, jnp.zeros((length, 2)), poses)
    told = fewer.told(w, jax.tree.map(lambda a: jnp.broadcast_to(a, (count, *a.shape)), one), KEY)
    assert list(told) == ["2 steps", fewer.STANDS, fewer.READ]
    assert [told[fewer.STANDS][f"metres {after}"] for after in fewer.AFTER] == pytest.approx(list(fewer.AFTER))
    assert told["2 steps"]["metres 1"] != told[fewer.STANDS]["metres 1"] and told[fewer.STANDS]["degrees 10"] == 0
    page = beside.page(fewer.SAYS, {"drive": told}, count)
    assert "| world | asked in |" in page and "| drive | a car that stands | 1.00 | 5.00 | 10.00 | 0.00 |" in page
