"""A few hundred cheap cases of the fuzz (`fuzz_study.py` runs thousands): no traceback, nothing silently wrong."""

import pytest

from tests.cli import fuzz

CASES = {"commands": 30, "calls": 60, "folders": 24, "loras": 60, "pictures": 60, "clips": 16, "captions": 60}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return fuzz.bench(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", CASES)
def test_refused_or_taken_as_meant(kind, bench, monkeypatch):
    monkeypatch.setenv("VRJAX_CACHE", str(bench.root / "cache"))
    outcomes = [fuzz.one(kind, seed, bench) for seed in range(CASES[kind])]
    wrong = [f"{seed}: {found.kind}: {found.words}" for seed, found in enumerate(outcomes)]
    assert not [line for line, found in zip(wrong, outcomes, strict=True) if found.kind in ("traceback", "silent")]
    assert {found.kind for found in outcomes} == {"refused", "taken"}  # the cases are neither all sound nor all broken
