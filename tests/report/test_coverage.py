"""The rules on simulated studies: the command's rows, fewer of them and with fewer studies."""

import pytest

from vrjax.report import coverage


def test_intervals_cover_at_every_share_of_seeds():
    """Coverage of 1,000 studies is known to .007; the command asks the same of 2,000 in every shape."""
    rows = list(coverage.coverage(1000, 300, shapes=((12, 1),)))
    assert len(rows) == 20
    for row in rows:
        assert 0.93 - 0.01 <= row.found["coverage"], row
        assert row.found["coverage"] <= 0.97 + 0.01 or "0.9" not in row.study, row
    of = {row.study: row.found for row in rows}
    assert of["5 seeds, nested, 12 x 1, 0.9 of a mean's variance"]["bootstrap alone"] < 0.9
    shared = of["5 seeds, crossed, 12 x 1, 0.0 of a mean's variance"]
    assert shared["t alone"] < 0.6 and shared["wider of these"] < 0.93 <= shared["coverage"]


def test_next_to_nothing_differs():
    assert all(row.right for row in coverage.rare(300, 200))


def test_p_values_call_noise_noise():
    rows = list(coverage.false_positives(1500, 300, units=(12,)))
    assert [row for row in rows if row.found["rule"] > 0.06 + 0.012] == []
    of = {row.study: row.found for row in rows}
    worst = of["8 seeds, crossed, 12 x 1, normal, 0.5 of the mean's variance"]
    assert worst["larger of these"] > 0.06 and worst["instances flipped"] > 0.09 and worst["seeds flipped"] > 0.06


@pytest.mark.parametrize("spread, found", [(0.02, 0.8), (0.15, 0.0)])
def test_the_machinery_finds_what_is_there_and_nothing_else(spread, found):
    for row in coverage.machinery(60, 200, [(120, 3, spread, 7)], group=30):
        assert row.found["studies"] == 60 and row.found["noise reproduced"] <= 0.05, row
        assert row.found["twice that found"] >= found - 0.1, row
        assert row.found["smallest effect found"] <= row.found["twice that found"]


def test_the_command_says_what_is_not_as_wanted(capsys, monkeypatch):
    row = lambda right: lambda *_: iter([coverage.Row("a study", {"coverage": 0.9}, right)])
    monkeypatch.setattr(coverage, "PARTS", {"One": (row(True), 1), "Two": (row(True), 1)})
    assert coverage.main([]) == 0 and "all rows are as wanted" in capsys.readouterr().out
    monkeypatch.setattr(coverage, "PARTS", {"One": (row(True), 1), "Two": (row(False), 1)})
    assert coverage.main([]) == 1
    said = capsys.readouterr().out
    assert "| a study | 0.900 | NO |" in said and "1 rows are not as wanted" in said
