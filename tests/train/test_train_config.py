"""Configs: every file in configs/ loads, JSON goes both ways, mistakes are named."""

import dataclasses
import json
import pathlib

import pytest
import tiny

from vrjax import tasks
from vrjax.files import records, writing
from vrjax.tasks.puzzles import drawing
from vrjax.train import config as configs

FOLDER = pathlib.Path(__file__).parents[2] / "configs"
FILES = sorted(p for p in FOLDER.glob("**/*.py") if "TrainConfig" in p.read_text() and p.parent.name != "pods")


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_config_files(path):
    config = configs.load(path)
    assert set(config.data.mix) <= {*tasks.names(), *drawing.names()}
    doc = path.read_text().split('"""')[1]
    assert (
        f"vrjax train configs/{path.relative_to(FOLDER)}" in doc and "Expected time" in doc and "Expected score" in doc
    )


def test_json_goes_both_ways(tmp_path):
    config = tiny.config(start="x", lora=configs.Lora(rank=3), rules={"embed": ("data", "fsdp"), "mlp": None})
    values = json.loads(json.dumps(writing.to_dict(config)))
    again = records.from_dict(configs.TrainConfig, values)
    assert writing.to_dict(again) == writing.to_dict(config)
    assert again.lora == config.lora and again.model == config.model and isinstance(again.optim.muon_patterns, tuple)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"config": values}))
    assert configs.load(file).steps == config.steps
    with pytest.raises(ValueError, match=r"config\.optim: unknown fields \['lrr'\]"):
        records.from_dict(configs.TrainConfig, {**values, "optim": {"lrr": 1}})


def test_differences_are_named():
    a, b = writing.to_dict(tiny.config()), writing.to_dict(tiny.config(seed=2))
    b["optim"]["lr"] = 1
    assert writing.differences(a, b) == ["optim.lr (was 0.003, now 1)", "seed (was 0, now 2)"]
    assert writing.differences(a, a) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, found 0"),
        ({"accumulate": 3}, "batch 4 is not divisible by accumulate 3"),
        ({"name": "../up"}, "plain folder name"),
        ({"name": ""}, "plain folder name"),
        ({"data": configs.Data(mix={})}, "finite weights > 0"),
        ({"data": configs.Data(mix={"maze": float("nan")})}, "finite weights > 0"),
        ({"checkpoint": configs.Checkpoint(keep=1)}, "keep must be at least 2"),
        ({"lora": configs.Lora()}, "set start"),
    ],
)
def test_impossible_configs(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(tiny.config(), **changes)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.py", "x = 1", r"has no config\(\) function"),
        ("a.py", "def config(): return 3", "returned int, expected TrainConfig"),
        ("a.py", "def config(:", "line 1"),
        ("a.json", "{", "not valid JSON"),
        ("a.json", "[]", "expected a JSON object"),
        ("a.yaml", "", "a config is a .py file"),
    ],
)
def test_bad_config_files(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        configs.load(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no config file"):
        configs.load(tmp_path / "missing.py")
