"""Score cards side by side: what `vrjax ladder` wrote, in one table; and the committed one."""

import json

import pytest

from experiments.world_model import cards


def card(world, verdicts, **more):
    rows = [
        {"name": name, "generation": 1, "title": "asks", "verdict": verdict, "why": f"{name} is 3 (at most 2)"}
        for name, verdict in verdicts.items()
    ]
    return {"asked": world, "control": None, "truth": "push", "quick": True, "generation": 0, "rows": rows} | more


@pytest.fixture()
def folders(tmp_path):
    found = [
        card("push", {"F1": "passed", "I1": "passed"}, generation=1),
        card("learned:push", {"F1": "failed", "I1": "not applicable"}, steps=1, quick=False),
        card("push", {"F1": "passed", "I1": "not tested"}, control="frozen"),
    ]
    for i, one in enumerate(found):
        (tmp_path / str(i)).mkdir()
        (tmp_path / str(i) / "card.json").write_text(json.dumps(one | {"seed": 0}))
    return [tmp_path / str(i) for i in range(len(found))]


def test_a_row_a_world_and_a_column_a_check(folders, capsys):
    assert cards.main([str(folder) for folder in folders]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    assert rows[0] == ["world", "held against", "generation", "F1", "I1"]
    assert rows[2:] == [
        ["push, quick sizes", "push", "1", "✓", "✓"],
        ["learned:push, 1 denoising step", "push", "0", "✗", ""],
        ["frozen of push, quick sizes", "push", "0", "✓", "?"],
    ]
    assert "  - F1 asks: F1 is 3 (at most 2)" in lines


def test_it_is_written_and_read_again(folders, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(cards, "KEPT", tmp_path / "cards.json")
    monkeypatch.setattr(cards, "PAGE", tmp_path / "ladder.md")
    assert cards.main(["--write", *map(str, folders)]) == 0
    assert cards.main([]) == 0
    first, second = capsys.readouterr().out.split("# Worlds on the ladder")[1:]
    assert first == second and (tmp_path / "ladder.md").read_text().strip().endswith(first.strip())


def test_what_holds_no_card_is_refused_in_one_line(folders, capsys, tmp_path):
    (folders[0] / "card.json").write_text('{"asked": 1')
    assert cards.main([str(folders[0])]) == 2 and cards.main([str(tmp_path)]) == 2
    torn, none = capsys.readouterr().err.splitlines()
    assert torn.startswith(f"world_model: {folders[0]}/card.json: no score card (")
    assert none.startswith(f"world_model: {tmp_path}: no card.json; `vrjax ladder WORLD")
