"""Planning in the key-and-door grid: steps left of what was read, and the exact world's own row."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.world_model import beside, cells, names, roads
from tests.world.world_toys import SPEC, untrained
from vrjax.world import exact
from vrjax.world.exact import grid
from vrjax.world.learned import Spec, reader

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
