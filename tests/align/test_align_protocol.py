"""The rating parser, and commands that are documented: they exist and their configs load."""

import pathlib
import re
import shlex

import pytest

from vrjax import cli
from vrjax.align import loop, ratings
from vrjax.align.config import AlignConfig

ROOT = pathlib.Path(__file__).parents[2]
CONFIGS = [ROOT / "configs" / "realdpo" / name for name in ("smoke.py", "wan.py")]


@pytest.mark.parametrize(
    ("answer", "value"),
    [("8", 8), ("Score: 8/10", 8), ("I rate it 7.5.", 7.5), ("10", 10), ("0", 0), ("9 / 10, very good", 9)],
)
def test_ratings_are_read(answer, value):
    assert ratings.parse(answer) == value


@pytest.mark.parametrize("answer", ["", "great", "11", "between 6 and 8", "-3", "8/100", "v2.1.3"])
def test_what_is_no_rating_is_an_error(answer):
    with pytest.raises(ValueError):
        ratings.parse(answer)


def test_an_unparsed_answer_is_no_zero():
    """Released code's defect 6: a failed match counted as 0 and lowered the score in silence."""
    good = ["8"] * 5
    found = ratings.score({"a": good, "b": ["10"] * 5, "c": ["8", "8", "I cannot tell", "8", "8"]})
    assert found.mean == 90 and found.videos == 2
    assert found.unparsed == (ratings.Unparsed("c", 2, "I cannot tell", "no number"),)
    assert ratings.score({"c": ["?"] * 5}).mean is None
    with pytest.raises(ValueError, match="a: 4 answers, expected 5"):
        ratings.score({"a": good[:4]})


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_documented_commands_run(path, monkeypatch):
    """Released code's defect 8: the README's command did not exist. Here it is parsed, overrides and all."""
    command = re.search(r"^Command:\s+vrjax (.*)$", path.read_text(), re.M)
    assert command is not None
    words = shlex.split(command[1])
    assert words[:2] == ["align", path.relative_to(ROOT).as_posix()]
    seen = []
    monkeypatch.setattr(loop, "run", lambda config, **options: seen.append((config, options)))
    monkeypatch.setattr("vrjax.parallel.memory.reuse_host_memory", lambda: None)
    monkeypatch.chdir(ROOT)
    cli.main([*words, "--preference.beta", "250"])
    config, options = seen[0]
    assert isinstance(config, AlignConfig) and config.preference.beta == 250.0 and options["fresh"] is False
    if "--start" in words:
        assert config.start == words[words.index("--start") + 1]
