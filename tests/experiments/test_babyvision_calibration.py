"""The tables of puzzles: what the command prints and writes, and what it refuses."""

import numpy as np
import pytest

from experiments.babyvision import calibration, leaks
from vrjax.bench.babyvision import planted as plants
from vrjax.bench.babyvision import trivial
from vrjax.tasks import puzzles


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
        assert cells[0][1] == "1.000" and cells[0][3 + plants.KINDS.index("missing")] == "0/3"
    elif what == "leaks":
        assert [row[1] for row in cells] == ["0/3"] * 2 and cells[0][2:5] == ["", "", ""]  # a maze has no options
        assert float(cells[1][2]) > 0 and cells[1][4] == "0.25"
    else:
        assert all(float(rate) > 1 for row in cells for rate in row[1:])


def planted(items, mark):
    """Items whose right option is marked faintly."""
    out = []
    for item in items:
        image = item.image.copy()
        x0, y0, x1, y1 = np.rint(item.annotation.boxes[item.annotation.right[0]] * len(image)).astype(int)
        image[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2] -= np.uint8(mark) * (image[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2] > mark)
        told = (item.task_id, item.type, item.subtype, image, item.question, item.kind, item.options, item.answer)
        out.append(puzzles.Item(*told, annotation=item.annotation))
    return out


def test_a_probe_finds_what_gives_an_answer_away():
    """A right option that is two levels darker; without that its interval holds chance. Nothing but pixels is in the
    files."""
    seen, asked = ([puzzles.make("Find the same", i, split=split) for i in range(120)] for split in ("train", "test"))
    fair = leaks.by_options(seen, asked)
    assert fair.low <= 0.25 <= fair.high and fair.chance == 0.25
    assert leaks.by_options(planted(seen, 2), planted(asked, 2)).low > 0.6
    file = leaks.by_file(seen, asked)
    assert file.low <= 0.35 and leaks.by_options([puzzles.make("Maze", 1)], [puzzles.make("Maze", 2)]) is None
    assert all(leaks.chunks(item) == {"IHDR", "IDAT", "IEND"} for item in asked[:3])


def test_what_it_refuses(capsys):
    for words, said in (
        (["drawn", "Mase"], "unknown subtype 'Mase', did you mean 'Maze'"),
        (["drawn", "--size", "5"], "size is 5, expected 32 to 1024"),
        (["speed", "--items", "0"], "--items is 0, expected 1 or more"),
    ):
        assert calibration.main(words) == 2
        told = capsys.readouterr().err
        assert said in told and told.count("\n") == 1
