"""The verdict rule by hand-made cases and properties; the file format by hostile and torn input."""

import io
import itertools
import json
import math
import os
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from vrjax.report import claims as c
from vrjax.report import tables

BASE = dict(paper="2603.16870", statement="Averaging helps.", statistic="paired difference of solved-rates")
BASE |= dict(seeds=5, instances=400)


def make(id="cos.ensemble", **changes):
    return c.Claim(id, **(BASE | dict(estimate=0.05, interval=(0.02, 0.08), null=0.0, direction="greater") | changes))


@pytest.mark.parametrize(
    "direction, smallest, interval, verdict",
    [
        ("greater", 0, (1, 5), "reproduced"),
        ("greater", 0, (0, 5), "inconclusive"),  # an interval that touches the null does not exclude it
        ("greater", 0, (-2, 5), "inconclusive"),
        ("greater", 0, (-5, 0), "inconclusive"),
        ("greater", 0, (-5, -1), "not reproduced"),
        ("greater", 3, (-2, 2), "not reproduced"),  # excludes the smallest effect of interest
        ("greater", 3, (-2, 3), "inconclusive"),
        ("greater", 3, (1, 2), "not reproduced"),  # surely there, surely too small
        ("greater", 3, (1, 4), "inconclusive"),  # there, but the estimate is below the smallest of interest
        ("greater", 3, (1, 5), "reproduced"),  # the estimate is exactly the smallest of interest
        ("less", 0, (-5, -1), "reproduced"),
        ("less", 0, (1, 5), "not reproduced"),
        ("less", 3, (-2, 2), "not reproduced"),
        ("less", 3, (-4, 2), "inconclusive"),
        ("less", 3, (-5, -1), "reproduced"),
        ("less", 3, (-4, -1), "inconclusive"),
        ("equal", 2, (-1, 1), "reproduced"),
        ("equal", 2, (-1, 3), "inconclusive"),
        ("equal", 2, (3, 5), "not reproduced"),
        ("equal", 2, (-5, -3), "not reproduced"),
    ],
)
@pytest.mark.parametrize("null", [0.0, 0.5, -2.0])
def test_judge(direction, smallest, interval, verdict, null):
    # In units of 1/128 every shift by the null is exact, and a touched boundary stays touched.
    low, high = (null + end / 128 for end in interval)
    assert c.judge((low + high) / 2, (low, high), null, direction=direction, smallest=smallest / 128) == verdict


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(-1, 1), st.floats(0, 0.5))
def test_less_is_greater_mirrored(estimate, half, null, smallest):
    there = c.judge(estimate, (estimate - half, estimate + half), null, direction="greater", smallest=smallest)
    back = c.judge(-estimate, (-estimate - half, -estimate + half), -null, direction="less", smallest=smallest)
    assert there == back


@given(st.floats(-1, 1), st.floats(0.01, 1), st.floats(0, 0.3))
def test_a_wider_interval_never_gains_a_verdict(estimate, half, smallest):
    narrow, wide = ((estimate - k * half, estimate + k * half) for k in (1, 2))
    first = c.judge(estimate, narrow, 0.0, smallest=smallest)
    second = c.judge(estimate, wide, 0.0, smallest=smallest)
    assert second in (first, "inconclusive")


def test_a_primary_needs_its_p_and_all_else_must_hold():
    sure = dict(direction="greater", smallest=0.02, primary=True)
    for holm, verdict in ((0.05, "reproduced"), (0.0501, "inconclusive")):
        assert c.judge(0.05, (0.02, 0.08), holm=holm, **sure) == verdict
    with pytest.raises(ValueError, match="holm: expected a number"):
        c.judge(0.05, (0.02, 0.08), **sure)
    assert c.judge(0.01, (0.0, 0.015), holm=1.0, **sure) == "not reproduced"  # no p is needed to be too small
    assert c.judge(0.05, (0.02, 0.08), tested=False) == c.judge(0.05, None) == "not tested"


@pytest.mark.parametrize(
    "check, passed",
    [
        (c.Check("gate", "solved", 0.6, 0.6, 0.97), True),
        (c.Check("gate", "solved", 0.98, 0.6, 0.97), False),
        (c.Check("control", "swap flips", 0.89, 0.9), False),
        (c.Check("control", "no swap flips", 0.05, None, 0.05), True),
        (c.Check("dose", "samples that differ", None, 0.05), False),
    ],
)
def test_what_fails_makes_a_claim_not_tested(check, passed, tmp_path):
    row = make(checks=[check])
    assert check.passed is passed and row.verdict == ("reproduced" if passed else "not tested")
    assert bool(row.failed) is not passed and all(check.what in why for why in row.failed)
    assert c.read(c.write(tmp_path, [row])) == (row,)
    if not passed:
        assert check.what in c.table([row]) and "must be" in c.table([row])


def test_all_contrasts_must_hold():
    """A claim is not tested before it is not reproduced, and that before it is open."""
    assert c.all_of(["reproduced"] * 2) == "reproduced"
    for worse, better in itertools.combinations(("not tested", "not reproduced", "inconclusive", "reproduced"), 2):
        assert c.all_of([better, worse, better]) == worse


def test_a_statistic_that_does_not_vary_is_not_tested(tmp_path):
    row = make(interval=None)
    assert row.verdict == "not tested" and "does not vary" in c.table([row])
    assert c.read(c.write(tmp_path, [row])) == (row,)


def test_a_quick_run_has_the_key_and_no_verdict(tmp_path):
    row = make(verdict=None)
    path = c.write(tmp_path, [row])
    assert json.loads(path.read_text())["claims"][0]["verdict"] is None and c.read(path) == (row,)
    assert "| – |" in c.table([row])


def test_excess_of_an_estimated_null():
    """Two independent normal estimates: the combined half-width is the root of the summed squares."""
    low, high = c.excess(0.5, (0.47, 0.53), 0.3, (0.26, 0.34))
    assert (low, high) == pytest.approx((0.15, 0.25))
    assert c.excess(0.5, (0.4, 0.7), 0.3) == pytest.approx((0.1, 0.4))
    # Asymmetric ends: the null's upper side lowers the difference.
    low, high = c.excess(0.5, (0.5, 0.6), 0.3, (0.3, 0.35))
    assert (low, high) == pytest.approx((0.15, 0.3))
    # An estimated null makes the verdict harder, never easier.
    assert c.judge(0.35, (0.31, 0.39), 0.3) == "reproduced"
    assert c.judge(0.35, (0.31, 0.39), 0.3, null_interval=(0.26, 0.34)) == "inconclusive"


def test_excess_matches_newcombe_example():
    """Newcombe (1998), table II, method 10: 56/70 against 48/80 gives 0.0524 to 0.3339."""
    from vrjax.report.statistics import wilson

    a, b = wilson(56, 70), wilson(48, 80)
    assert c.excess(float(a.value), a.interval, float(b.value), b.interval) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_claim_normalises_numpy_and_lists():
    row = make(
        estimate=np.float32(0.05), interval=[np.float64(0.02), 0.08], seeds=np.int64(7), arms=["single", "hidden"]
    )
    assert type(row.estimate) is float and row.interval == (0.02, 0.08) and row.seeds == 7
    assert row.arms == ("single", "hidden") and row.verdict == "reproduced"
    with pytest.raises(AttributeError):
        row.verdict = "not reproduced"


@pytest.mark.parametrize(
    "changes, field",
    [
        (dict(estimate=float("nan")), "estimate"),
        (dict(estimate=True), "estimate"),
        (dict(estimate="0.3"), "estimate"),
        (dict(interval=(0.3, 0.1)), "interval"),
        (dict(interval=(0.1, float("inf"))), "interval"),
        (dict(interval=(0.1,)), "interval"),
        (dict(null=None), "null"),
        (dict(seeds=0), "seeds"),
        (dict(instances=2.5), "instances"),
        (dict(role="main"), "role"),
        (dict(p=1.5), "p"),
        (dict(direction="greater", role="primary"), "holm"),
        (dict(share="half"), "share"),
        (dict(per_seed=[1, None]), "per_seed"),
        (dict(beside=[1.0]), "beside"),
        (dict(beside={"null": "low"}), "beside.null"),
        (dict(checks=[3]), "checks"),
        (dict(checks=[dict(kind="gate", what="solved", value=0.5)]), "checks"),
        (dict(checks=[dict(kind="door", what="solved", value=0.5, low=0.1)]), "kind"),
        (dict(contrasts=[dict(name="a", estimate=0.1, interval=None)]), "contrasts"),
        (dict(verdict="proved"), "verdict"),
        (dict(direction="up"), "direction"),
        (dict(direction="greater", smallest=-1.0), "smallest"),
        (dict(direction="equal"), "smallest"),
        (dict(direction="less"), "the rule says 'not reproduced', found 'reproduced'"),
        (dict(id=""), "id"),
        (dict(statement=" "), "statement"),
        (dict(notes=3), "notes"),
        (dict(arms="single"), "arms"),
        (dict(arms=[3]), "arms"),
    ],
)
def test_bad_claims_name_the_field_in_memory_and_in_files(changes, field, tmp_path):
    row = dict(id="x", paper="p", statement="s", statistic="t", estimate=0.2, interval=[0.1, 0.3], seeds=5, null=0.0)
    row = row | dict(instances=9, verdict="reproduced") | changes
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"claims": [row]}))
    number = json.dumps(row)  # Python writes NaN and Infinity, which the reader refuses before it sees a field
    expected = "NaN|Infinity" if "NaN" in number or "Infinity" in number else re.escape(field)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}.*({expected})"):
        c.read(path)


def test_round_trip_and_details(tmp_path):
    second = dict(direction="less", null_interval=(-0.01, 0.01), smallest=0.01, arms=("a", "b"), notes="é")
    second |= dict(role="primary", p=0.03, holm=0.2, per_seed=(0.1, 0.0), share=0.3, beside={"untrained": 0.0})
    second |= dict(contrasts=(c.Contrast("a", 0.1, (0.0, 0.2), 0.03), c.Contrast("b", 0.2, None, 0.01)))
    rows = [make(), make("cos.low", **second)]
    path = c.write(tmp_path, rows, details={"arms": {"single": {"nfe": 20}}})
    assert path == tmp_path / "results.json"
    assert c.read(path) == c.read(tmp_path) == tuple(rows)
    assert c.read_details(tmp_path) == {"arms": {"single": {"nfe": 20}}}
    named = {"id", "paper", "statement", "statistic", "estimate", "interval", "seeds", "instances", "null", "verdict"}
    assert all(named <= set(row) for row in json.loads(path.read_text())["claims"])


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "not a results file"),
        ('{"claims": [', "not a results file"),
        ("[]", "expected an object"),
        ("{}", "field 'claims': expected a list, found nothing"),
        ('{"claims": {}}', "expected a list, found dict"),
        ('{"claims": [], "more": 1}', "unknown field 'more'"),
        ('{"claims": [], "claims": []}', "'claims' stands there twice"),
        ('{"claims": [3]}', r"claims\[0\]: expected an object"),
        ('{"claims": [{"id": NaN}]}', "NaN"),
        ('{"claims": [{"id": "x"}]}', "missing field 'paper'"),
        ("[" * 100_000, "not a results file"),
    ],
)
def test_torn_and_foreign_files(text, message, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"results.json.*{message}"):
        c.read(path)


def test_unknown_and_missing_fields_and_double_ids(tmp_path):
    path = c.write(tmp_path, [make()])
    page = json.loads(path.read_text())
    page["claims"][0]["p_value"] = 0.01  # it is called p
    path.write_text(json.dumps(page))
    with pytest.raises(ValueError, match=r"results.json: claims\[0\]: unknown field 'p_value'"):
        c.read(path)
    del page["claims"][0]["p_value"], page["claims"][0]["null"]
    path.write_text(json.dumps(page))
    with pytest.raises(ValueError, match=r"claims\[0\]: missing field 'null'"):
        c.read(path)
    page["claims"] = [json.loads(json.dumps(c.asdict(make())))] * 2
    path.write_text(json.dumps(page))
    with pytest.raises(ValueError, match=r"claims\[1\]: field 'id': 'cos.ensemble' stands there twice"):
        c.read(path)
    with pytest.raises(ValueError, match="more than once"):
        c.write(tmp_path, [make(), make()])


def test_a_tampered_verdict_is_refused(tmp_path):
    path = c.write(tmp_path, [make(interval=(-0.01, 0.08))])
    path.write_text(path.read_text().replace("inconclusive", "reproduced"))
    with pytest.raises(ValueError, match="the rule says 'inconclusive', found 'reproduced'"):
        c.read(path)


def test_write_is_atomic(tmp_path, monkeypatch):
    path = c.write(tmp_path, [make()])
    before = path.read_bytes()
    with pytest.raises(ValueError, match="details"):
        c.write(tmp_path, [make()], details={"loss": math.nan})
    with pytest.raises(ValueError, match="details"):
        c.write(tmp_path, [make()], details={"loss": object()})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left on the disk"):
        c.write(tmp_path, [make("other")])
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_of_a_paper_without_results_all_that_it_registers_is_missing(tmp_path):
    (tmp_path / "claims.json").write_text('{"claims": [{"id": "a", "statement": "S.", "role": "primary"}], "bill": {}}')
    assert c.gather([tmp_path]) == {str(tmp_path): (c.Missing("a", "S.", "primary"),)}
    (tmp_path / "claims.json").write_text('{"claims": [{"id": "a"}], "bill": {}}')
    with pytest.raises(ValueError, match="claims.json: field 'claims': expected id, statement, role of each"):
        c.gather([tmp_path])


def test_what_the_full_run_found_stands_beside(tmp_path):
    full = c.Published(0.108, (0.026, 0.191), 8, "reproduced")
    row = make(verdict=None, full=full)
    assert str(full) == "0.108 [0.026, 0.191], reproduced"
    assert str(c.Published(0.1, None, 8, "not tested", "old")) == "0.1 [does not vary], not tested (old)"
    assert c.read(c.write(tmp_path, [row])) == (row,)
    rich = io.StringIO()
    Console(file=rich, width=400).print(c.table([row, make("b")], "rich"))
    for text in (c.table([row, make("b")]), rich.getvalue()):
        assert "full run" in text and text.count("reproduced") == 2
    assert "full run" not in c.table([make()])
    for wrong in ({"verdict": "maybe"}, {"estimate": None}, {"extra": 1}, {"interval": (2, 1)}):
        page = dict(estimate=1.0, interval=None, seeds=8, verdict=None) | wrong
        with pytest.raises(ValueError, match="field full: "):
            make(full=page)


def test_gather(tmp_path):
    c.write(tmp_path / "a.json", [make("one")])
    (tmp_path / "run").mkdir()
    c.write(tmp_path / "run", [make("two")])
    (tmp_path / "training").mkdir()
    paths = [tmp_path / "a.json", tmp_path / "run", tmp_path / "training"]
    found = c.gather(paths)
    assert [[r.id for r in rows] for rows in found.values()] == [["one"], ["two"], []]
    assert "no claims" in c.table(found) and "training" in c.table(found)
    with pytest.raises(FileNotFoundError, match="absent"):
        c.gather([tmp_path / "absent"])


def test_a_registered_claim_without_results_is_shown_as_missing(tmp_path):
    asked = [dict(id=name, statement=f"{name} holds.", role="primary", more=1) for name in ("one", "two", "three")]
    path = c.write(tmp_path, [make("three"), make("one")], registered=asked)
    rows = c.gather([path])[str(path)]
    assert [row.id for row in rows] == ["one", "two", "three"] and isinstance(rows[1], c.Missing)
    for style in ("markdown", "verdicts", "rich"):
        page = c.table({"run": rows}, style)
        if style == "rich":
            out = io.StringIO()
            Console(file=out, width=200).print(page)
            page = out.getvalue()
        (line,) = [line for line in page.splitlines() if "two holds" in line]
        assert "missing" in line
    with pytest.raises(ValueError, match="claim 'four' was not registered"):
        c.write(tmp_path, [make("four")], registered=asked)
    page = json.loads(path.read_text())
    page["registered"][0] = {"id": "one"}
    path.write_text(json.dumps(page))
    with pytest.raises(ValueError, match="field 'registered': expected id, statement, role"):
        c.gather([path])


HOSTILE = (
    "<script>alert(1)</script> | a [x](http://e.vil) `c` **b**\n| new | row |\x1b[31mred\u202e [bold]tag[/] $m$ @you"
)


def test_markdown_escapes_hostile_text():
    text = c.table([make(notes="unused", statement=HOSTILE), make("second")])
    lines = text.splitlines()
    assert len(lines) == 4
    # Unescaped bars are the cell walls: as many as in the head line, whatever the text holds.
    walls = [len(re.findall(r"(?<!\\)\|", line)) for line in lines]
    assert len(set(walls)) == 1
    for raw in ("<script", "[x](", "http://", "\x1b", "\u202e", " @you"):
        assert raw not in text
    assert "0.05 [0.02, 0.08]" not in text and r"0.05 \[0.02, 0.08\]" in text
    assert "reproduced" in lines[2]


def test_rich_table_shows_hostile_text_literally():
    page = c.table([make(statement=HOSTILE)], style="rich")
    out = io.StringIO()
    Console(file=out, width=400, force_terminal=False, legacy_windows=False).print(page)
    text = out.getvalue()
    assert "[bold]tag[/]" in text and "\x1b" not in text and "\u202e" not in text
    assert "0.05 [0.02, 0.08]" in text and "reproduced" in text
    with pytest.raises(ValueError, match="style"):
        c.table([], style="html")


def test_claims_fit_a_terminal_of_eighty_columns():
    ends = {"estimate": 0.25, "interval": (0.125, 0.375), "p": 0.01}
    both = make("both", contrasts=(c.Contrast("over one", **ends), c.Contrast("over two", **ends)), statement=HOSTILE)
    failed = make("gated", verdict="", checks=(c.Check("gate", "solved", 0.1, low=0.5),))
    assert failed.verdict == "not tested"
    out = io.StringIO()
    page = c.brief({"runs/a": [both, failed, c.Missing("lost", "It is lost.", "primary")], "runs/[b]bare": []})
    Console(file=out, width=80, force_terminal=False, legacy_windows=False).print(page)
    lines = out.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines) and sum("0.25 [0.125, 0.375]" in line for line in lines) == 2
    text = out.getvalue()
    for found in (
        "runs/a",
        "over two:",
        "[/] $m$",
        "not tested",
        "solved",
        "missing",
        "It is lost.",
        "no claims",
        "[b]bare",
    ):
        assert found in text, found
    assert "\x1b" not in text and "\u202e" not in text


def test_small_effects_and_estimated_nulls_show_in_the_table():
    row = make(interval=(0.01, 0.02), estimate=0.015, smallest=0.03, null=0.001, null_interval=(0.0, 0.002))
    assert "not reproduced" in c.table([row]) and r"0.001 \[0, 0.002\]" in c.table([row])
    with pytest.raises(ValueError, match="row 0: expected 2 cells, found 1"):
        tables.markdown(["a", "b"], [["x"]])
