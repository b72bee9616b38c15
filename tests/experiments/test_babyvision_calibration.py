"""The tables of puzzles: what the command prints and writes, and what it refuses."""

import pytest

from experiments.babyvision import calibration
from vrjax.bench.babyvision import planted, trivial


@pytest.mark.parametrize("what", calibration.TABLES)
def test_a_table_of_two_subtypes(what, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(calibration, "HOME", tmp_path)
    assert calibration.main([what, "maze", "Rotation patterns", "--items", "3", "--write"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("Maze: ") and "\nRotation Patterns: " in told
    lines = (tmp_path / f"{what}.md").read_text("utf-8").splitlines()
    assert lines[0] == f"# {what}: 3 items, 64 pixels"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[4:]]
    assert [row[0] for row in cells] == ["Maze", "Rotation Patterns"] if what != "trivial" else len(cells) == 6
    if what == "trivial":
        assert all(0 <= float(share) <= 1 for row in cells for share in row[2:]) and len(cells[0]) == 2 + len(
            trivial.SOLVERS
        )
    elif what == "drawn":
        assert cells[0][1] == "1.000" and cells[0][3 + planted.KINDS.index("missing")] == "0/3"
    else:
        assert all(float(rate) > 1 for row in cells for rate in row[1:])


def test_what_it_refuses(capsys):
    for words, said in (
        (["drawn", "Mase"], "unknown subtype 'Mase', did you mean 'Maze'"),
        (["drawn", "--size", "5"], "size is 5, expected 32 to 1024"),
        (["speed", "--items", "0"], "--items is 0, expected 1 or more"),
    ):
        assert calibration.main(words) == 2
        told = capsys.readouterr().err
        assert said in told and told.count("\n") == 1
