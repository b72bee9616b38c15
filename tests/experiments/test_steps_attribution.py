"""Attribution on clips: sites drawn before anything is known, statistics with known answers, maps of small models."""

import dataclasses
import inspect
import json
import types

import numpy as np
import pytest
from scipy import stats

from experiments.chain_of_steps import agreement, attribution, config, drawing
from tests import tiny
from vrjax.study import registration, subjects
from vrjax.study.tables import Bench

GRID = {"steps": 3, "shift": 3.0}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("tables"), group=3)


@pytest.fixture(scope="module")
def mazes():
    return subjects.suite("maze", "val", 3, 1, tiny.MODEL)


@pytest.fixture(scope="module")
def network(bench, mazes):
    return attribution.measure(bench, subjects.Subject("tiny", tiny.dit()), mazes, **GRID, per_cell=4)


def test_sites_are_drawn_alike_for_every_step_and_row():
    sites = attribution.drawn(5, 8, 7, 225, 11)
    assert sites.step.shape == sites.row.shape == (8 * 7 * 11,) and sites.token.shape == (5, 8 * 7 * 11)
    cells = sites.token.reshape(5, 8 * 7, 11)
    assert all(len(set(cell)) == 11 for clip in cells.tolist() for cell in clip) and cells.max() == 224
    assert np.array_equal(np.bincount(sites.step * 7 + sites.row), np.full(56, 11))
    again = attribution.drawn(5, 8, 7, 225, 11)
    assert np.array_equal(sites.token, again.token) and (sites.token[0] != sites.token[1]).any()


def test_numbers_are_kept_short():
    values = np.array([0.0, 1.0, -1e-7, 0.3, 1e-30], np.float32)
    kept = attribution.rounded(values)
    assert kept.dtype == np.float32 and np.allclose(kept, values, rtol=2.0**-11, atol=0)


def table_of(effect, attributed, **more):
    """A table of 4 steps, 3 blocks and the row behind them, 10 sites each."""
    step, row = (a.ravel().repeat(10) for a in np.mgrid[:4, :4])
    sizes = {name: np.abs(effect) for name in agreement.SIZES} | more
    return {
        "step": step,
        "row": row,
        "effect": effect,
        "attribution": attributed,
        "profile": np.ones((6, 4, 4)),
    } | sizes


def test_statistics_with_known_answers():
    rng = np.random.default_rng(0)
    effect, noise = (rng.standard_normal((6, 160)) for _ in range(2))
    same = table_of(effect, 2 * effect, stream=np.abs(noise), increment=np.abs(noise), edit=np.exp(-np.abs(effect)))
    assert np.allclose(agreement.agreement(same), 1) and np.allclose(agreement.beyond(same), 1)
    assert np.allclose(agreement.signed(same), 1) and np.allclose(agreement.of_estimate(same), 1)
    assert np.allclose(agreement.size(same, "edit"), -1) and np.allclose(agreement.over_size(same), 0)
    assert abs(agreement.size(same).mean()) < 0.15
    assert np.allclose(agreement.top(same), 1) and agreement.top(same, "edit").max() == 0
    here = same["row"] < 3
    other = table_of(effect, noise)
    wanted = [np.asarray(stats.spearmanr(abs(a[here]), abs(b[here])))[0] for a, b in zip(effect, noise, strict=True)]
    assert np.allclose(agreement.agreement(other), wanted)


def test_a_profile_alone_is_seen_through():
    """Effects that depend on step and block only, up to noise: the map agrees, and nothing of it is about tokens."""
    rng = np.random.default_rng(1)
    level = 10.0 * rng.permutation(16).repeat(10)
    effect, noise = (level + rng.random((6, 160)) for _ in range(2))
    table = table_of(effect, noise)
    assert agreement.agreement(table).min() > 0.95 and abs(agreement.beyond(table).mean()) < 0.1
    assert abs(agreement.over_profile(table).mean()) < 0.01
    flat = table_of(np.zeros((6, 160)), noise)
    assert not agreement.agreement(flat).any() and not agreement.beyond(flat).any()


def test_a_network_on_mazes(network, mazes):
    assert network["effect"].shape == network["attribution"].shape == (3, 3 * 3 * 4)
    assert network["profile"].shape == (3, 3, 3) and network["whole"].shape == (1, 3, 3, 36)
    assert all(np.isfinite(network[name]).all() for name in ("attribution", "effect", *agreement.SIZES))
    assert agreement.agreement(network).min() > 0.8 and agreement.of_estimate(network).min() > 0.8
    # one number of the whole map is the sampled site's
    at = network["step"][0], network["row"][0], network["token"][0, 0]
    assert network["whole"][0][at] == pytest.approx(float(network["attribution"][0, 0]), rel=1e-2)
    assert agreement.by_step(network["profile"]).sum() == pytest.approx(1)
    heat = agreement.profile([network], "Where")
    assert np.shape(heat.values) == (3, 3) and np.sum(heat.values) == pytest.approx(1)
    assert agreement.film(network, tiny.MODEL.patch).get_axes()


def test_the_null_model_beside_it(bench, mazes, network):
    table = attribution.measure(bench, subjects.NULL, mazes, **GRID, per_cell=4)
    others = {"null": {"maze/attribution": [table]}}
    told = agreement.tables(None, types.SimpleNamespace(models={"maze/attribution": [network]}, others=others))
    agree, when = told.values()
    assert [row["of"] for row in agree] == ["model"] * len(agreement.ROWS) + ["null model"] and json.dumps(told)
    assert [(row["of"], row["where"]) for row in when[:2]] == [("model", "blocks"), ("model", "estimate")]
    assert table["effect"].shape == (3, 3 * 4) and not table["row"].any()
    assert np.array_equal(table["stream"].shape, table["edit"].shape) and table["profile"].shape == (3, 3, 1)
    assert np.isnan(agreement.MEASURES["attribution"]({"maze/attribution": table})).all()
    early = agreement.MEASURES["decided_along"]
    ours, theirs = (early({"maze/attribution": found}) for found in (network, table))
    assert ((ours > 0) & (ours < 1)).all() and ((theirs >= 0) & (theirs <= 1)).all()
    assert np.median(theirs) < 0.1  # but for ties, the posterior knows its answer from the start


def test_entrants(bench):
    suite = subjects.suite("entrant", "val", 2, 1, tiny.MODEL)
    among = attribution.answers(suite)
    assert among["films"].shape[:2] == (2, 144) and (among["allowed"].sum(1) == 12).all()
    own = among["allowed"][0].argmax()
    assert among["rivals"][0, own].sum() == 22 and not among["rivals"][0, own, among["allowed"][0]].any()
    table = attribution.measure(bench, subjects.NULL, suite, **GRID, per_cell=2)
    assert table["right"].all() and (table["margin"] > 0.5).all()


def test_cost(bench, mazes):
    table = attribution.cost(bench, subjects.NULL, mazes, **GRID, pairs=2)
    assert {a.shape for a in table.values()} == {(1, 2)} and all((a > 0).all() for a in table.values())
    assert agreement.MEASURES["attribution_budget"]({"maze/cost": table}).shape == (1, 2)
    assert agreement.within_budget({"map": np.array([[8.0]]), "sampling": np.array([[2.0]])}) == 2


def test_what_the_page_draws():
    whole, final = np.zeros((1, 2, 3, 225), np.float16), np.zeros((1, 9, 10, 10, 3), np.float32)
    whole[0, 1, 0, 7] = 1
    model, null = np.ones((4, 2, 3)), np.zeros((4, 2, 1))
    null[:2, 1] = 1  # two of the clips have something to show
    models = {"maze/attribution": [{"profile": model, "whole": whole, "final": final}]}
    others = {"null": {"maze/attribution": [{"profile": null}], "entrant/attribution": [{"profile": 0 * null}]}}
    measured = types.SimpleNamespace(models=models, others=others)
    ours, theirs = drawing.maps(measured)
    assert np.allclose(ours.values, 1 / 6) and theirs.values.tolist() == [[0, 1]] and theirs.rows == ["estimate"]
    (picture,) = drawing.films(measured)
    assert picture.image[:4] == b"\x89PNG"
    pixels = np.asarray(agreement.film(models["maze/attribution"][0]).axes[0].images[0].get_array())
    assert (pixels != 255).any() and not drawing.films(types.SimpleNamespace(models={}, others={}))


def test_parts_and_claims():
    sizes = {name: 1 for name in ("trajectories", "paths", "memory", "disturbed", "swapped", "ensembles")}
    study = config.ChainOfSteps(name="tiny", **sizes, attributed=2)
    for part in (parts := agreement.parts(study)):
        inspect.signature(part.measure).bind(None, None, None, **part.given)
    assert len(parts) == 3 and not agreement.parts(dataclasses.replace(study, attributed=0))
    read, checked = set(), set()
    for claim in registration.read(agreement.__file__).claims:
        how = claim["how"]["measure"]
        if (mine := set(how.values() if isinstance(how, dict) else [how])) & set(agreement.MEASURES):
            read |= mine
            checked |= {claim["control"]["what"]} if claim["control"] else set()
    assert read == set(agreement.MEASURES) and checked == set(agreement.CONTROLS)


def test_ranks_of_half_precision_do_not_overflow():
    """Kept tables are float16, whose squares of ranks are not finite; newer SciPy ranks in the dtype it is given."""
    values = np.arange(4000, dtype=np.float16)[None] / 8
    assert agreement.ranks(values).dtype == np.float64
    np.testing.assert_allclose(agreement.spearman(values, values), 1.0)
