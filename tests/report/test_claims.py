"""The verdict rule by hand-made cases and properties; the file format by hostile and torn input."""

import io
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

BASE = dict(paper="2603.16870", statement="Averaging helps.", statistic="paired difference of solved-rates", n=400)


def make(id="cos.ensemble", **changes):
    return c.Claim(id, **(BASE | dict(estimate=0.05, interval=(0.02, 0.08), null=0.0, direction="greater") | changes))


@pytest.mark.parametrize(
    "direction, margin, interval, verdict",
    [
        ("greater", 0, (1, 5), "reproduced"),
        ("greater", 0, (0, 5), "inconclusive"),  # an interval that touches the null does not exclude it
        ("greater", 0, (-2, 5), "inconclusive"),
        ("greater", 0, (-5, 0), "inconclusive"),
        ("greater", 0, (-5, -1), "not reproduced"),
        ("greater", 3, (-2, 2), "not reproduced"),  # excludes the smallest effect of interest
        ("greater", 3, (-2, 3), "inconclusive"),
        ("greater", 3, (1, 2), "reproduced"),  # surely there, surely small
        ("less", 0, (-5, -1), "reproduced"),
        ("less", 0, (1, 5), "not reproduced"),
        ("less", 3, (-2, 2), "not reproduced"),
        ("less", 3, (-4, 2), "inconclusive"),
        ("different", 0, (-5, -1), "reproduced"),
        ("different", 0, (-1, 1), "inconclusive"),
        ("different", 2, (-1, 1), "not reproduced"),
        ("equal", 2, (-1, 1), "reproduced"),
        ("equal", 2, (-1, 3), "inconclusive"),
        ("equal", 2, (3, 5), "not reproduced"),
        ("equal", 2, (-5, -3), "not reproduced"),
    ],
)
@pytest.mark.parametrize("null", [0.0, 0.5, -2.0])
def test_judge(direction, margin, interval, verdict, null):
    # In units of 1/128 every shift by the null is exact, and a touched boundary stays touched.
    low, high = (null + end / 128 for end in interval)
    assert c.judge((low + high) / 2, (low, high), null, direction=direction, margin=margin / 128) == verdict


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(-1, 1), st.floats(0, 0.5))
def test_less_is_greater_mirrored(estimate, half, null, margin):
    there = c.judge(estimate, (estimate - half, estimate + half), null, direction="greater", margin=margin)
    back = c.judge(-estimate, (-estimate - half, -estimate + half), -null, direction="less", margin=margin)
    assert there == back


@given(st.floats(-1, 1), st.floats(0.01, 1), st.floats(0, 0.3))
def test_a_wider_interval_never_gains_a_verdict(estimate, half, margin):
    narrow, wide = ((estimate - k * half, estimate + k * half) for k in (1, 2))
    first = c.judge(estimate, narrow, 0.0, margin=margin)
    second = c.judge(estimate, wide, 0.0, margin=margin)
    assert second in (first, "inconclusive") or (first, second) == ("reproduced", "not reproduced") and margin > 0


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


def test_small_effects_are_marked():
    assert make(interval=(0.01, 0.02), estimate=0.015, margin=0.03).small
    assert not make(margin=0.03).small
    assert not make(direction="equal", margin=0.2).small


def test_claim_normalises_numpy_and_lists():
    row = make(estimate=np.float32(0.05), interval=[np.float64(0.02), 0.08], n=np.int64(7), arms=["single", "hidden"])
    assert type(row.estimate) is float and row.interval == (0.02, 0.08) and row.n == 7
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
        (dict(n=0), "n"),
        (dict(n=2.5), "n"),
        (dict(verdict="proved"), "verdict"),
        (dict(direction="up"), "direction"),
        (dict(direction="greater", margin=-1.0), "margin"),
        (dict(direction="equal"), "margin"),
        (dict(direction="less"), "the rule says 'not reproduced', found 'reproduced'"),
        (dict(id=""), "id"),
        (dict(statement=" "), "statement"),
        (dict(notes=3), "notes"),
        (dict(arms="single"), "arms"),
        (dict(arms=[3]), "arms"),
    ],
)
def test_bad_claims_name_the_field_in_memory_and_in_files(changes, field, tmp_path):
    row = dict(id="x", paper="p", statement="s", statistic="t", estimate=0.2, interval=[0.1, 0.3], n=5, null=0.0)
    row = row | dict(verdict="reproduced") | changes
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"claims": [row]}))
    number = json.dumps(row)  # Python writes NaN and Infinity, which the reader refuses before it sees a field
    expected = "NaN|Infinity" if "NaN" in number or "Infinity" in number else re.escape(field)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}.*({expected})"):
        c.read(path)


def test_round_trip_and_details(tmp_path):
    second = dict(direction="less", null_interval=(-0.01, 0.01), margin=0.01, arms=("a", "b"), notes="é")
    rows = [make(), make("cos.low", **second)]
    path = c.write(tmp_path, rows, details={"arms": {"single": {"nfe": 20}}})
    assert path == tmp_path / "results.json"
    assert c.read(path) == c.read(tmp_path) == tuple(rows)
    assert c.read_details(tmp_path) == {"arms": {"single": {"nfe": 20}}}
    named = {"id", "paper", "statement", "statistic", "estimate", "interval", "n", "null", "verdict"}
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
    page["claims"][0]["p_value"] = 0.01
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


def test_small_and_estimated_null_show_in_the_table():
    row = make(interval=(0.01, 0.02), estimate=0.015, margin=0.03, null=0.001, null_interval=(0.0, 0.002))
    assert r"reproduced \(small\)" in c.table([row]) and r"0.001 \[0, 0.002\]" in c.table([row])
    with pytest.raises(ValueError, match="row 0: expected 2 cells, found 1"):
        tables.markdown(["a", "b"], [["x"]])
