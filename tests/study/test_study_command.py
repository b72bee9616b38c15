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
        with pytest.raises(ValueError, match="holds a run with another config: (weights|more)"):
            command.settle(folder, other)
    with pytest.raises(ValueError, match="of kind 'study', not 'tour'"):
        command.settle(folder, about, kind="tour", fresh=True)
    command.settle(folder, {"config": {}}, fresh=True)
    assert not (folder / "table").exists()
    assert json.loads((folder / "config.json").read_text())["config"] == {"config": {}}


@pytest.mark.parametrize("error, status", [(ValueError("bad"), 2), (KeyboardInterrupt(), 130), (None, 0)])
def test_exit_status(error, status, capsys):
    def job():
        if error is not None:
            raise error

    assert command.status("study", job) == status
    assert capsys.readouterr().err.startswith({2: "study: bad", 130: "stopped", 0: ""}[status])
