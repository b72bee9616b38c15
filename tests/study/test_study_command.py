"""The run folder that studies go on in."""

import numpy as np
import pytest
from rich.console import Console

from vrjax.study import command
from vrjax.study.tables import running


def test_a_running_study_has_its_folder_alone(tmp_path):
    how = {"kind": "realdpo", "fresh": False, "console": Console(quiet=True)}
    folder, about, made = tmp_path / "run", {"config": {"n": 1, "sizes": (2, 3)}}, []

    def measured(here):
        return here.part("t", lambda: made.append(1) or {"x": np.arange(3)})["x"]

    with running(folder, about, **how) as here:
        measured(here)
        with pytest.raises(BlockingIOError, match="in use"), running(folder, about, **how):
            pass
    other = how | {"console": Console(quiet=True), "shared": True}
    with running(folder, about, shared=True, **how), running(folder, about, **other) as here:
        np.testing.assert_array_equal(measured(here), np.arange(3))
    assert len(made) == 1  # tuples and lists are one thing in JSON
    with (
        pytest.raises(ValueError, match="another config: config.n"),
        running(folder, {"config": {"n": 2}}, **how),
    ):
        pass
    with running(folder, about, **how | {"fresh": True}) as here:
        measured(here)
    assert len(made) == 2
    other = {"kind": "vchain", "fresh": True, "console": Console(quiet=True)}
    with pytest.raises(ValueError, match="of kind 'realdpo', not 'vchain'"), running(folder, about, **other):
        pass
    assert (folder / "tables").is_dir()  # one paper's --fresh clears no run of another


@pytest.mark.parametrize("error, status", [(ValueError("bad"), 2), (KeyboardInterrupt(), 130), (None, 0)])
def test_exit_status(error, status, capsys):
    def job(study, options, console):
        assert study is None and options.deep == 3
        if error is not None:
            raise error

    options = {"more": {"--deep": {"type": int}}}
    assert command.main("study", None, job, ["--deep", "3"], options=options) == status
    assert capsys.readouterr().err.startswith({2: "study: bad", 130: "stopped", 0: ""}[status])
