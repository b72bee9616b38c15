"""The survey's table, computed on MiniDrive; its three numbers on data whose answer is known."""

import jax
import numpy as np
import pytest

from vrjax.world import exact
from vrjax.world.ladder import conditions


@pytest.fixture(scope="module")
def rows():
    size = {"actors": 4, "static": 6, "pedestrians": 1, "height": 16, "width": 28}
    truth = exact.get("drive", cameras=("CAM_FRONT",), **size)
    return {row.name: row for row in conditions.table(truth, jax.random.key(0), runs=8)}


def test_the_table_is_computed_and_where_it_is_not_the_survey_s_that_is_seen(rows):
    assert list(rows) == [
        *conditions.GIVEN_ONCE,
        *conditions.FRAMES,
        "motion pose",
        "trajectory",
        "action",
        "instruction",
    ]
    assert set(rows) == set(conditions.SURVEY)
    marks = {name: row.marks for name, row in rows.items()}
    expected = conditions.SURVEY | {"motion pose": None, "canny": (True, False, True)}
    assert marks == expected, conditions.show(tuple(rows.values()))
    # Edges of a known road do tell where one is, here; the survey has no mark for it.
    assert [name for name, row in rows.items() if row.agrees is False] == ["canny"]
    assert [name for name, row in rows.items() if row.navigation] == ["trajectory", "action", "instruction"]
    assert rows["motion pose"].numbers is None and "limbs" in conditions.show(tuple(rows.values()))


def test_numbers_of_data_by_hand():
    """Scenes 3, ways 2, steps 4, and one number a moment."""
    rng = np.random.default_rng(0)
    scene, way = 10 * np.arange(3)[:, None, None, None], rng.normal(size=(1, 2, 4, 1))
    shift = np.arange(5.0)[None, None, :, None]
    moved = np.broadcast_to(shift, (3, 2, 5, 1))
    # The same in each scene, in time, and its shift can be read: a navigation mode.
    found = conditions.numbers("depth", np.broadcast_to(way, (3, 2, 4, 1)), moved)
    assert found.T > 0.5 and found.R == pytest.approx(1) and found.S == pytest.approx(1)
    # Of the scene, without time or shift.
    found = conditions.numbers("layout", np.broadcast_to(scene, (3, 2, 4, 1)), 0 * moved)
    assert found.T == 0 and found.R == pytest.approx(0) and np.isnan(found.S)
    # Both: the scene is most of it.
    found = conditions.numbers("depth", scene + 0.1 * way, moved)
    assert found.T < 0.2 and found.R < 0.2
    # The same everywhere and always: nothing can be said.
    assert np.isnan(conditions.numbers("depth", np.zeros((3, 2, 4, 1)), moved)).all()


def test_another_world_is_refused():
    with pytest.raises(ValueError, match="conditions: the table is computed on a world of the kind drive, found grid"):
        conditions.table(exact.get("grid"), jax.random.key(0))
