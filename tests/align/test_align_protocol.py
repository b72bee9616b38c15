"""Commands that are documented: they exist and their configs load."""

import pathlib
import re
import shlex

import pytest

from vrjax import cli
from vrjax.align import loop
from vrjax.align.config import AlignConfig

ROOT = pathlib.Path(__file__).parents[2]
CONFIGS = [ROOT / "configs" / "realdpo" / name for name in ("smoke.py", "wan.py")]


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
