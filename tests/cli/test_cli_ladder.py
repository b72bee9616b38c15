"""`vrjax ladder`: worlds by name, what it refuses in one line, the card that it leaves."""

import json

import pytest

from tests.world.world_toys import untrained
from vrjax import cli
from vrjax.cli import ladder
from vrjax.report import ladders
from vrjax.world import exact, learned
from vrjax.world.ladder import facts


def call(*argv):
    """Exit status of a command line."""
    try:
        cli.main(["ladder", *map(str, argv)])
    except SystemExit as end:
        return end.code or 0
    return 0


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["psh"], "unknown world 'psh', did you mean 'push'? expected one of drive, grid, push, a folder of a learned"),
        (["push", "--only", "F1", "F7"], "--only: unknown check 'F7', expected one of F1, F2"),
        (["push", "--control", "frosen"], "--control: unknown control 'frosen', did you mean 'frozen'?"),
        (["push", "--steps", 2], "--steps: push is exact and denoises nothing"),
        (["push", "--slip", 2], "push: slip must be a probability in [0, 1], found 2.0"),
        (["drive", "--slip", 0.1], "--slip: drive has no coin of that name, push and grid do"),
        (["push", "--seed", -1], "--seed: found -1, expected 0 to 2**31 - 1"),
        (["worlds:mase"], "unknown task 'mase', did you mean 'maze'?"),
        (["worlds:maze_goals"], "films: clips of maze_goals have"),
        (["nowhere:maze"], "nowhere: no such folder"),
        (["learned:psh"], "unknown learned world 'psh', did you mean 'push'? expected one of drive, push"),
        (["."], "no learned world .: expected a folder with world.json"),
    ],
)
def test_what_is_refused(argv, line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(*argv) == 2
    found = capsys.readouterr().err
    assert found.startswith(f"vrjax: {line}") and found.count("\n") == 1
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_a_learned_world_leaves_a_card(tmp_path, capsys, monkeypatch):
    """And the model of mazes; each is printed check by check, and says what it was made of."""
    monkeypatch.chdir(tmp_path)
    learned.save(untrained(), tmp_path / "world")
    sizes = ["--runs", 4, "--frames", 3]
    assert call("world", "--only", "I4", "P1", "--steps", 1, *sizes) == 0
    shown = capsys.readouterr().out
    assert "I4  not applicable  novel camera" in shown and "P1  " in shown and "learned against push (quick)" in shown
    out = tmp_path / "runs" / "ladder-world"
    card = json.loads((out / "card.json").read_text())
    assert card["asked"] == "world" and card["steps"] == 1 and card["sizes"]["runs"] == 4 and card["generation"] == 0
    assert [row["verdict"] for row in card["rows"]][0] == "not applicable"
    assert "| I4 | 2 | novel camera | not applicable |" in (out / "card.md").read_text()
    assert (out / "card.png").read_bytes().startswith(b"\x89PNG")
    assert call("world", "--only", "I4", *sizes) == 2  # other steps
    assert "holds a run with another config" in capsys.readouterr().err
    assert call("worlds:maze", "--only", "I6", "--steps", 1, "--runs", 8, "--out", tmp_path / "maze") == 0
    assert "I6  failed" in capsys.readouterr().out  # of one step of denoising
    assert call("worlds:maze", "--control", "frozen", "--only", "I6", "--runs", 8, "--out", tmp_path / "frozen") == 0
    assert "I6  failed" in capsys.readouterr().out


def test_a_shipped_learned_world_by_its_name():
    w, truth, about = ladder.opened("learned:push", 1, None)
    assert (w.spec.world, w.spec.steps, truth.name, about["steps"]) == ("push", 1, "push", 1)


def test_the_exact_road_can_be_asked_everything():
    """By two cameras that look at common points; another world is the one that tests take."""
    w, truth, _ = ladder.opened("drive", None, None)
    assert w is truth and set(facts.get("drive").PAIR) <= set(w.cameras) and "BEV" in w.cameras
    assert ladder.opened("push", None, None)[0].cameras == exact.example("push").cameras


def test_the_figure_has_a_cell_a_check():
    rows = [{"name": f"F{i}", "generation": 1, "title": "a < b $x$", "verdict": v} for i, v in enumerate(ladders.TONES)]
    card = {"world": "w", "truth": "t", "quick": True, "generation": 0, "axes": {"faithfulness": {}}, "rows": rows}
    figure = ladders.verdicts(card)
    words = [text.get_text() for text in figure.axes[0].texts]
    assert [f"F{i}  {verdict}" for i, verdict in enumerate(ladders.TONES)] == [w for w in words if w.startswith("F")]
    assert len(figure.axes[0].patches) == 2 * len(rows)
