"""Registered claims: their file, their intervals, their records."""

import importlib
import pathlib

import numpy as np
import pytest

from vrjax.report import statistics
from vrjax.study import claims

PAPERS = ("chain_of_steps", "realdpo", "vchain")


@pytest.mark.parametrize("paper", PAPERS)
def test_every_paper_registers_its_claims(paper):
    verdicts = importlib.import_module(f"experiments.{paper}.verdicts")
    found = claims.registered(verdicts.__file__)
    assert len({asked["id"] for asked in found}) == len(found) >= 18
    for asked in found:
        assert asked["smallest"] > 0 and asked["statement"].endswith((".", "?", "1.", ")."))
        assert asked["direction"] in ("greater", "less", "equal")
        if "measure" in asked and paper == "chain_of_steps":
            assert callable(verdicts.MEASURES[asked["measure"]])


def test_names_are_filled_in_and_the_rest_is_left():
    asked = {"id": "a.{n:g}", "arms": ["of {n:g}", "b"], "smallest": 0.1}
    assert claims.filled(asked, n=3.0) == {"id": "a.3", "arms": ["of 3", "b"], "smallest": 0.1}


def test_a_registered_claim_is_judged():
    asked = {"id": "a", "paper": "p", "statement": "S.", "statistic": "s", "direction": "greater", "smallest": 0.1}
    row = claims.judged(asked, statistics.Estimate(0.5, 0.4, 0.6, 9), notes="seen")
    assert (row.verdict, row.n, row.margin, row.notes, row.interval) == ("reproduced", 9, 0.1, "seen", (0.4, 0.6))


def test_p_values_flip_whole_instances_and_holm_is_over_all():
    difference = np.ones((1, 5, 4))
    assert claims.p_value(difference, 10_000) == 2 / 2**5  # exact: five instances, both sides
    rows: dict = {"a": {}, "b": {}, "rival": {}}
    claims.add_holm(rows, {"a": 0.01, "b": 0.04})
    assert rows == {"a": {"holm": 0.02}, "b": {"holm": 0.04}, "rival": {}}
    claims.add_holm(rows, {})


def test_files_stand_beside_the_package():
    for paper in PAPERS:
        assert (pathlib.Path("experiments") / paper / "claims.json").exists()
