"""From what was registered and found to verdicts: contrasts, checks, Holm over primaries, quick runs."""

import dataclasses
import io
import pathlib

import numpy as np
import pytest
from rich.console import Console

from vrjax.report import claims as files
from vrjax.report import seeds, statistics
from vrjax.report.claims import Missing
from vrjax.study import claims
from vrjax.study.claims import Finding
from vrjax.study.registration import Registration

CLAIM = {
    "id": "a", "paper": "p", "statement": "S.", "statistic": "s of {n:g}", "unit": "share", "direction": "greater",
    "smallest": 0.1, "role": "exploratory", "null": None, "gate": None, "control": None, "dose": None, "bounds": None,
    "notes": "registered", "how": {},
}  # fmt: skip


def asked(*changes):
    return Registration(pathlib.Path("claims.json"), tuple(CLAIM | c for c in changes or ({},)), {"all": 1.0})


def values(effect=0.5, seed=0, n=8, spread=0.05):
    rng = np.random.default_rng(seed)
    return effect + spread * rng.normal(size=(n, 1, 1)) + 0.3 * rng.normal(size=(n, 20, 2))


def settled(finding, change=None, *, quick=False):
    (row,) = claims.settle(asked(change or {}), {"a": finding}, quick=quick, resamples=500)
    return row


def test_a_finding_is_judged_by_the_rule():
    data = values()
    row = settled(Finding(data, fill={"n": 3.0}, arms=["x", "y"], beside={"untrained": 0.01}, notes="seen"))
    estimate = seeds.interval(data, resamples=500)
    assert (row.estimate, row.interval) == (estimate.value, estimate.interval)
    assert (row.seeds, row.instances, row.verdict, row.p) == (8, 160, "reproduced", 1 / 256)
    assert row.per_seed == tuple(data.mean((1, 2))) and row.share == seeds.components(data).share
    assert (row.statistic, row.notes, row.arms) == ("s of 3", "registered seen", ("x", "y"))
    assert row.beside == {"untrained": 0.01} and row.smallest == 0.1 and row.unit == "share"
    assert settled(Finding(data, design="crossed")).instances == 20
    assert settled(Finding(-data)).verdict == "not reproduced"
    assert settled(Finding(-data), {"direction": "less"}).verdict == "reproduced"
    assert settled(Finding(values(0.0)), {"direction": "equal", "smallest": 0.3}).verdict == "reproduced"


EQUAL = {"direction": "equal", "smallest": 0.5}


def test_of_two_contrasts_the_weaker_one_speaks():
    strong, weak = values(0.5), values(0.12, seed=1)
    found = {}
    for name, pair in (("both", {"s": strong, "w": weak}), ("weak", weak), ("strong", strong)):
        found[name] = settled(Finding(pair))
    both, weaker, stronger = found["both"], found["weak"], found["strong"]
    assert both.estimate == weaker.estimate and both.p == max(weaker.p, stronger.p)
    assert both.interval == weaker.interval and both.per_seed == weaker.per_seed
    assert [one.name for one in both.contrasts] == ["s", "w"] and both.contrasts[0].interval == stronger.interval
    assert settled(Finding({"s": strong, "w": -strong})).verdict == "not reproduced"  # one that fails is enough
    mirrored = settled(Finding({"s": -strong, "w": -weak}), {"direction": "less"})
    assert (mirrored.estimate, mirrored.p) == (-both.estimate, both.p)


def test_contrasts_that_should_all_be_equal_to_the_null():
    """The one that is farthest from it speaks, on whichever side it is; each must lie within its smallest effect."""
    near, far = values(0.02), -values(0.08, seed=1)
    alone = {name: settled(Finding(one), EQUAL) for name, one in (("near", near), ("far", far))}
    both = settled(Finding({"near": near, "far": far}), EQUAL)
    assert both.estimate == alone["far"].estimate < 0 and both.interval == alone["far"].interval
    assert both.p == max(one.p for one in alone.values())
    assert both.verdict == alone["near"].verdict == alone["far"].verdict == "reproduced"
    assert settled(Finding({"near": near, "off": values(2.0)}), EQUAL).verdict == "not reproduced"
    unsure = {"smallest": abs(alone["far"].estimate) * 1.01, "direction": "equal"}
    assert settled(Finding({"near": near, "far": far}), unsure).verdict == "inconclusive"


def test_every_contrast_has_its_own_smallest_effect(tmp_path):
    """Exact values: seeds differ by .01, so every interval ends within .02 of the mean, which is given."""
    spread = np.linspace(-0.01, 0.01, 8)[:, None, None] * np.ones((8, 20, 1))
    change = {"smallest": None, "contrasts": [{"name": "kept", "smallest": 0.5}, {"name": "lost", "smallest": 0.3}]}
    change |= {"role": "primary"}

    def judged(kept, lost, **more):
        return settled(Finding({"lost": lost + spread, "kept": kept + spread}), change | more)

    row = judged(0.7, 0.4)  # 1.4 and 1.33 times the smallest: the second is the weaker, though it is not by the ratio
    assert row.verdict == "reproduced" and row.estimate == pytest.approx(0.4) and row.smallest == 0.3
    assert [(one.name, one.smallest) for one in row.contrasts] == [("kept", 0.5), ("lost", 0.3)]  # as registered
    assert row.per_seed == row.contrasts[1].per_seed and row.interval == row.contrasts[1].interval
    row = judged(0.51, 0.4)
    assert row.verdict == "reproduced" and row.estimate == pytest.approx(0.51) and row.smallest == 0.5
    assert judged(0.45, 0.9).verdict == judged(0.9, 0.25).verdict == "not reproduced"  # surely below its own smallest
    assert judged(0.45, 0.9).estimate == pytest.approx(0.45) and judged(0.9, 0.25).estimate == pytest.approx(0.25)
    assert judged(0.499, 0.9).verdict == "inconclusive"  # not there, not surely below
    assert judged(0.7, 0.0).p > 0.4 and judged(0.0, 0.4).p > 0.4  # the larger of the two
    less = {"direction": "less"}
    assert judged(-0.7, -0.4, **less).verdict == "reproduced" and judged(-0.9, -0.25, **less).estimate < -0.2
    still = settled(Finding({"kept": np.ones((8, 20, 1)), "lost": 0.4 + spread}), change)
    assert still.verdict == "not tested" and still.failed == ("kept does not vary",) and still.holm == 1.0
    for one in (row, still):
        assert files.read(files.write(tmp_path, [one])) == (one,)
    text = files.table([row])
    assert "| kept: 0.5; lost: 0.3 share |" in text and "kept: 0.51 \\[" in text and "lost: 0.4 \\[" in text
    assert settled(Finding({"a": 0.45 + spread}), {"contrasts": [{"name": "a", "smallest": 0.5}]}).smallest == 0.5
    with pytest.raises(ValueError, match=r"a: expected values of the contrasts \['kept', 'lost'\], found \['kept'\]"):
        settled(Finding({"kept": spread}), change)
    with pytest.raises(ValueError, match=r"found \['a'\]"):
        settled(Finding(spread), change)


def test_gates_controls_and_doses_decide_whether_it_is_tested():
    change = {"gate": {"what": "solved", "low": 0.6, "high": 0.97}, "dose": {"what": "moved", "low": 0.05}}
    rates = [0.5, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]  # one seed below the gate is not dropped: the mean decides
    good = {"solved": rates, "moved": [0.2] * 8}
    assert settled(Finding(values(), measured=good), change).verdict == "reproduced"
    for measured in (good | {"moved": [0.0] * 8}, good | {"solved": [0.004] * 8}, {"moved": [0.2] * 8}):
        row = settled(Finding(values(), measured=measured), change)
        assert row.verdict == "not tested" and len(row.failed) == 1


def test_the_degenerate_case_is_one_rule_for_all():
    zeros = np.zeros((8, 20, 2))
    exact = statistics.clopper_pearson(0, 160).high
    row = settled(Finding(zeros), {"bounds": [-1, 1]})
    assert row.interval == pytest.approx((-exact, exact)) and row.verdict == "not reproduced" and row.p == 1.0
    few = settled(Finding(zeros[:, :1]), {"bounds": [-1, 1]})
    assert few.verdict == "inconclusive"  # nothing in 8 says less than nothing in 160
    row = settled(Finding(zeros))
    assert row.interval is None and row.verdict == "not tested"


def test_holm_is_over_all_registered_primaries():
    three = [{"id": name, "role": "primary", "gate": {"what": name, "low": 0.5}} for name in "abc"]
    good = {name: [1.0] * 8 for name in "abc"}
    found = {"a": Finding(values(), measured=good), "b": Finding(values(0.0, seed=2), measured=good)}
    a, b = claims.settle(asked(*three), found, quick=False, resamples=500)  # c was not measured
    assert a.holm == pytest.approx(3 / 256) and a.verdict == "reproduced" and b.holm is not None
    assert b.holm == pytest.approx(min(1.0, 2 * b.p))
    found["b"] = Finding(values(), measured={})  # its gate was not measured: it counts with p = 1
    a, b = claims.settle(asked(*three), found, quick=False, resamples=500)
    assert a.holm == pytest.approx(3 / 256) and (b.holm, b.verdict) == (1.0, "not tested")
    with pytest.raises(ValueError, match="3 primaries, but with 5 seeds"):
        claims.settle(asked(*three), {"a": Finding(values(n=5))}, quick=False)
    with pytest.raises(ValueError, match="claim 'd' was not registered"):
        claims.settle(asked(*three), {"d": Finding(values())}, quick=False)


def test_quick_runs_and_single_seeds_give_numbers_without_verdicts():
    assert settled(Finding(values()), quick=True).verdict is None
    alone = settled(Finding(values(n=1)), {"role": "primary"})
    assert alone.verdict is None and alone.interval is not None and alone.p == 0.5


def test_fewer_seeds_than_registered_give_no_verdict_and_say_so():
    registered = dataclasses.replace(asked({}, {"id": "b", "seeds": 5}), seeds=8)
    few, own = claims.settle(registered, {"a": Finding(values(n=5)), "b": Finding(values(n=5))}, quick=False)
    assert few.verdict is None and few.notes.endswith("5 of the 8 registered seeds: no verdict.")
    assert own.verdict == "reproduced" and "seeds" not in own.notes  # its own number was registered
    (whole,) = claims.settle(registered, {"a": Finding(values())}, quick=False)
    assert whole.verdict == "reproduced"


def test_every_claim_is_told_also_the_missing_ones():
    registered = asked({}, {"id": "b", "gate": {"what": "solved", "low": 0.5}}, {"id": "c"})
    rows = claims.settle(registered, {"a": Finding(values()), "b": Finding(values())}, quick=False, resamples=200)
    (lost,) = claims.missing(registered, rows)
    assert lost == Missing("c", "S.", "exploratory")
    out = io.StringIO()
    claims.tell(Console(file=out, width=300), [*rows, lost])
    a, b, c = out.getvalue().splitlines()
    assert "reproduced" in a and "8 seeds, n=160" in a and "missing" in c
    assert "not tested; gate: solved not measured, must be at least 0.5" in b


def test_how_a_number_with_its_interval_is_written():
    assert (
        claims.between(0.5, (0.25, 0.75)) == "+0.500 [+0.250, +0.750]" and claims.between(1.0, None) == "+1.000 [ - ]"
    )


def test_a_look_names_what_it_left_out_in_one_line_and_a_full_run_in_a_line_each():
    left = [Missing("made.a", "A.", "primary"), Missing("made.b", "B.", "exploratory")]
    told = {}
    for quick in (True, False):
        claims.tell(Console(file=(out := io.StringIO()), width=300), [settled(Finding(values()), quick=quick), *left])
        told[quick] = out.getvalue().splitlines()
    assert len(told[True]) == 2 and told[True][1].strip() == "registered, but not measured in this run: made.a, made.b"
    assert len(told[False]) == 3 and all("missing" in line for line in told[False][1:])
