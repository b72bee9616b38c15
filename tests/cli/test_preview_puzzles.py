"""`vrjax preview babyvision`: the puzzles that are asked for come to the sheet as they are, and errors are one line."""

import numpy as np
import pytest
from PIL import Image

from vrjax import cli
from vrjax.report.puzzle_sheet import puzzle_sheet
from vrjax.tasks import puzzles


def test_a_sheet_of_puzzles(tmp_path, capsys):
    """Colours of a puzzle are on it, those of a subtype that was not asked for are not; its question is in the axes."""
    out = tmp_path / "new" / "sheet.png"
    assert not cli.main(["preview", "babyvision", "MAZE", "rotation patterns", "--seeds", "4", "--out", str(out)])
    assert capsys.readouterr().out.strip() == f"2 subtypes of babyvision, test, puzzle 4: {out}"
    assert np.asarray(Image.open(out)).shape[0] > 600
    figure = puzzle_sheet(["Maze"], index=4, size=64)
    item = puzzles.make("Maze", 4, difficulty=2)
    shown = [axis.get_images()[0].get_array() for axis in figure.axes]
    np.testing.assert_array_equal(shown[2], item.image)
    np.testing.assert_array_equal(shown[3], item.answer_image)
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert " ".join(titles[2].split()) == item.question and titles[3] == f"difficulty 2: {item.answer}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["Mase"], "unknown subtype 'Mase', did you mean 'Maze'"),
        (["--seeds", "1-3"], "--seeds names 3 puzzles, expected one"),
        (["--split", "dev"], "split is 'dev', expected one of train, val, test"),
        (["--up-axis", "1"], "--up-axis is of motion files"),
    ],
)
def test_what_cannot_be_shown(words, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["preview", "babyvision", *words])
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1
    with pytest.raises(ValueError, match="subtypes is empty"):
        puzzle_sheet([])
