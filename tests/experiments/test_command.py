"""The run folder that studies go on in."""

import json

import pytest

from vrjax.study import command


def test_a_run_goes_on_only_with_what_it_was_made_of(tmp_path):
    folder = tmp_path / "run"
    about = {"config": {"n": 1, "sizes": (2, 3)}, "weights": "a"}
    command.settle(folder, about)
    (folder / "table").write_text("measured")
    command.settle(folder, about)  # tuples and lists are one thing in JSON
    assert (folder / "table").exists()
    for other in ({**about, "weights": "b"}, {"config": about["config"]}, {**about, "more": 1}):
        with pytest.raises(ValueError, match="was made with another (weights|more)"):
            command.settle(folder, other)
    (folder / "config.json").write_text("[1]")
    with pytest.raises(ValueError, match="not JSON"):
        command.settle(folder, about)
    command.settle(folder, {"config": {}}, fresh=True)
    assert not (folder / "table").exists() and json.loads((folder / "config.json").read_text()) == {"config": {}}


def test_fresh_deletes_only_run_folders(tmp_path):
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(ValueError, match="no run folder"):
        command.settle(tmp_path, {}, fresh=True)
    assert (tmp_path / "letters.txt").exists()


@pytest.mark.parametrize("error, status", [(ValueError("bad"), 2), (KeyboardInterrupt(), 130), (None, 0)])
def test_exit_status(error, status, capsys):
    def job():
        if error is not None:
            raise error

    assert command.status("study", job) == status
    assert capsys.readouterr().err.startswith({2: "study: bad", 130: "stopped", 0: ""}[status])
