"""What a paper has committed of its full run is what `--judge` makes of its tables: results, and tables in its README.

A paper without committed tables has nothing to be in step with; then such blocks of its README are empty.
"""

import importlib
import json
import pathlib

import pytest

from vrjax.files import records, writing
from vrjax.report import claims as files
from vrjax.study import archive, command, judging, readme

PAPERS = ("chain_of_steps", "realdpo", "vchain", "vimogen", "world_model")
MOST = 12e6
ROOT = pathlib.Path(__file__).parent.parent.parent / "experiments"


@pytest.mark.parametrize("paper", PAPERS)
def test_results_and_readme_are_what_the_committed_tables_say(paper):
    home = ROOT / paper
    if not (home / archive.FILE).exists():
        blocks = readme.blocks((home / "README.md").read_text("utf-8"))
        assert not (home / files.FILE).exists() and not any(blocks.values())
        return
    verdicts = importlib.import_module(f"experiments.{paper}.verdicts")
    told = judging.judge(paper, verdicts.judged, type(command.values(paper, "full")), archive.read(home / archive.FILE))
    assert judging.out_of_step(paper, told, home) == []


@pytest.mark.parametrize("paper", PAPERS)
def test_the_sizes_of_a_run_come_back_from_what_it_keeps(paper):
    full = command.values(paper, "full")
    stored = json.loads(json.dumps(writing.to_dict(full)))
    assert records.from_dict(type(full), stored) == full


def test_all_committed_tables_together_are_small():
    assert sum(file.stat().st_size for file in ROOT.rglob(archive.FILE)) < MOST
