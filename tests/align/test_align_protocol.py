"""Commands that are documented: they exist and their configs load."""

import json
import pathlib
import re
import shlex
import sys

import pytest
import tiny

from vrjax import cli
from vrjax.align.config import AlignConfig
from vrjax.files import writing
from vrjax.train import loop

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
    monkeypatch.setattr(loop, "run", lambda config, **options: seen.append((config, options)) or {})
    monkeypatch.setattr(sys.modules["vrjax.parallel.mesh"], "reuse_host_memory", lambda: None)
    monkeypatch.chdir(ROOT)
    cli.main([*words, "--preference.beta", "250"])
    config, options = seen[0]
    assert isinstance(config, AlignConfig) and config.preference.beta == 250.0 and options["fresh"] is False
    if "--start" in words:
        assert config.start == words[words.index("--start") + 1]


@pytest.mark.parametrize("command, other", [("train", tiny.align), ("align", tiny.config)])
@pytest.mark.parametrize("suffix", [".py", ".json"])
def test_a_config_of_the_other_kind_is_refused(command, other, suffix, tmp_path, monkeypatch, capsys):
    """The defect: `vrjax train` trained a preference run's config as a plain one."""
    monkeypatch.chdir(tmp_path)
    path, config = tmp_path / f"given{suffix}", other()
    stored = {"config": writing.to_dict(config)}
    code = f"import tiny\n\n\ndef config():\n    return tiny.{other.__name__}()\n"
    path.write_text(code if suffix == ".py" else json.dumps(stored))
    with pytest.raises(SystemExit) as ended:
        cli.main([command, str(path)])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1 and not (tmp_path / "runs").exists()
    expected = {"train": "TrainConfig", "align": "AlignConfig"}[command]
    assert f"expected {'a ' * (suffix == '.json')}{expected}" in said or "unknown fields" in said
