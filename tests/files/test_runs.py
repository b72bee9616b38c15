"""Run folders: one config, one owner, and `fresh` that deletes runs only."""

import dataclasses
import errno
import fcntl
import json
import os

import pytest
import tiny

from vrjax.align.config import AlignConfig, Preference, Reference
from vrjax.files import records, writing
from vrjax.train.config import TrainConfig


def opened(folder, config, **options):
    with writing.Run(folder, config, **{"kind": "tour", **options}) as run:
        return run.notes


@pytest.fixture
def model(tmp_path):
    """A folder of weights as diffusers writes it."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"_class_name": "WanTransformer3DModel", "num_layers": 2}))
    (folder / "diffusion_pytorch_model.safetensors").write_bytes(b"weights")
    return folder


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("stored", [
    None,
    "{",
    "[1]",
    {"_class_name": "WanTransformer3DModel"},
    {"config": {"a": 1}, "versions": {}},
    {"schema": 1, "config": []},
    {"schema": 1, "kind": "sample", "config": {"a": 1}},
])  # fmt: skip
def test_nothing_but_a_run_of_this_kind_is_opened_or_cleared(model, fresh, stored):
    (model / "config.json").unlink()
    if stored is not None:
        (model / "config.json").write_text(stored if isinstance(stored, str) else json.dumps(stored))
    before = {p.name: p.read_bytes() for p in model.iterdir()}
    with pytest.raises(ValueError, match="is not a run|of kind 'sample', not 'tour'"):
        opened(model, {"a": 1}, fresh=fresh)
    assert {p.name: p.read_bytes() for p in model.iterdir()} == before


def test_a_study_cannot_clear_a_model_folder(model):
    """The defect: a model's `config.json` was taken for a run's, and `--fresh` deleted the weights."""
    with pytest.raises(ValueError, match="config.json is not a run's config"):
        writing.Run(model, {"config": {}}, kind="study", fresh=True)
    assert (model / "diffusion_pytorch_model.safetensors").read_bytes() == b"weights"


def test_fresh_clears_what_such_runs_make(tmp_path):
    folder = tmp_path / "run"
    assert opened(folder, {"a": 1}) == []
    for name in ("tables/t.npz", "seed-1.mp4", "notes.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    opened(folder, {"a": 2}, fresh=True, made=("tables", "seed-*.mp4"))
    assert {p.name for p in folder.iterdir()} == {".lock", "config.json", "notes.txt"}
    opened(folder, {"a": 3}, fresh=True)
    assert {p.name for p in folder.iterdir()} == {".lock", "config.json"}
    assert json.loads((folder / "config.json").read_text())["config"] == {"a": 3}


def test_differences_are_named_and_some_are_allowed(tmp_path):
    config = {"a": {"b": 1, "c": 2}, "mesh": {"data": 1}, "meshes": 1}
    opened(tmp_path / "r", config)
    with pytest.raises(ValueError, match=r"another config: a\.b \(was 1, now 2\), meshes \(was 1, now 2\); .*--name"):
        opened(tmp_path / "r", {**config, "a": {"b": 2, "c": 2}, "meshes": 2}, may_change=("mesh",), other="--name")
    (note,) = opened(tmp_path / "r", {**config, "mesh": {"data": 2}}, may_change=("mesh",))
    assert "mesh.data (was 1, now 2)" in note
    assert json.loads((tmp_path / "r" / "config.json").read_text())["config"]["mesh"] == {"data": 2}


def _younger(cls, **fields):
    """The class as a later version may have it: with more fields."""
    made = [(name, type(value), dataclasses.field(default=value)) for name, value in fields.items()]
    return dataclasses.make_dataclass(cls.__name__, made, bases=(cls,), frozen=True, kw_only=True)


@pytest.mark.parametrize("cls", [TrainConfig, AlignConfig])
def test_a_new_field_does_not_refuse_old_runs(tmp_path, cls):
    """The defect: preference runs were read back as training runs, so that any new field refused them."""
    old = tiny.config()
    if cls is AlignConfig:
        own = {"name": old.name, "model": old.model, "steps": old.steps, "data": old.data}
        old = AlignConfig(**own, preference=Preference(loss="sft"), reference=Reference(kind="none"))
    opened(tmp_path / "r", old)
    later = _younger(cls, sharpness=0.5)
    values = writing.to_dict(old)
    assert opened(tmp_path / "r", records.from_dict(later, values)) == []
    opened(tmp_path / "s", old)
    with pytest.raises(ValueError, match=r"sharpness \(was 0.5, now 0.7\)"):
        opened(tmp_path / "s", records.from_dict(later, {**values, "sharpness": 0.7}))


def test_one_owner_at_a_time_and_disks_without_locks(tmp_path, monkeypatch):
    with (
        writing.Run(tmp_path / "r", {}, kind="tour"),
        pytest.raises(BlockingIOError, match="in use by another process"),
    ):
        opened(tmp_path / "r", {})

    def none(*args):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(OSError, match="r cannot be locked .*choose a folder on another disk"):
        opened(tmp_path / "r", {})


def test_a_run_that_made_nothing_is_forgotten(tmp_path):
    """A mistake in the config that shows late must not stand in the way of the mended config."""
    for made in (False, True):
        with pytest.raises(ValueError, match="late"), writing.Run(tmp_path / "r", {"a": made}, kind="tour") as run:
            (tmp_path / "r" / "made").write_text("x") if made else None
            raise ValueError("late")
        assert (run.folder / "config.json").exists() == made
    with pytest.raises(ValueError, match="another config"):
        opened(tmp_path / "r", {"a": 3})


def test_rows_drop_what_comes_after_a_step(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"ste')
    rows = writing.Rows(path, step=2)
    rows.add({"step": 3, "loss": 1.0})
    rows.close()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3]
    assert os.listdir(tmp_path) == ["metrics.jsonl"]
