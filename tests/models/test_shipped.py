"""The shipped models: what their folders say, and which of them serves a task."""

import json
import pathlib
import re

import jax
import numpy as np
import pytest

import vrjax
from vrjax import cli, tasks
from vrjax.cli import evaluate
from vrjax.models import motion as motion_models
from vrjax.models import wan
from vrjax.models.embedded import folders, shipped
from vrjax.motion import program

JUDGES = ("predicates", "recogniser")
README = pathlib.Path(shipped.__file__).with_name("README.md").read_text()


@pytest.mark.parametrize("name", [name for name in shipped.names() if name not in shipped.motions()])
def test_folders_say_what_was_trained_and_what_it_solves(name):
    folder, own = shipped.path(name), (shipped.path(name) / "README.md").read_text()
    found = json.loads((folder / shipped.RATES).read_text())
    assert {row["world"] for row in found["rates"]} == set(folders.find(folder).tasks) == set(shipped.rates(name))
    assert {(row["split"], row["n"]) for row in found["rates"]} == {("test", 200)}
    assert "vrjax train configs/chain_of_steps/" in own and "JAX 0.10.2" in own
    for row in found["rates"]:  # the README's table is what was measured
        solved, low, high = (100 * row[key] for key in ("solved", "low", "high"))
        assert f"| {row['world']} | {name} | {solved:.1f} % [{low:.1f}, {high:.1f}] |" in README
    assert sum(p.stat().st_size for p in folder.iterdir()) < 2e6


@pytest.mark.parametrize("name", shipped.motions())
def test_a_model_of_motions_says_what_it_solves(name):
    folder, own = shipped.path(name), (shipped.path(name) / "README.md").read_text()
    found = json.loads((folder / shipped.RATES).read_text())
    assert found["asked"]["clips"] == 200 and found["asked"]["path"] == "position" and shipped.rates(name) == {}
    assert "vrjax train configs/vimogen/small.py" in own and "JAX 0.10.2" in own
    assert set(found["solved"]) == set(program.SETS)
    for split, rows in found["solved"].items():  # the README's table is what was measured
        assert rows["ground truth"]["predicates"] == 1.0
        for row, share in rows.items():
            assert share["n"] == 200
            cells = [(100 * share[judge], *(100 * x for x in share[f"{judge} interval"])) for judge in JUDGES]
            said = " | ".join("{:.1f} % [{:.1f}, {:.1f}]".format(*cell) for cell in cells)
            assert f"| {split} | {row} | {said} |" in own
    # In S a motion of training does as well; what is composed anew none of them does.
    seen = {split: {row: share["recogniser"] for row, share in rows.items()} for split, rows in found["solved"].items()}
    assert seen["S"]["from text"] >= 0.80 > seen["S"]["frozen pose"]
    assert seen["C"]["from text"] > seen["C"]["nearest caption"]
    model = shipped.load(name)
    assert isinstance(model, motion_models.MotionDiT) and model.motion_embedding.kernel.dtype == "float32"
    assert sum(p.stat().st_size for p in folder.iterdir()) < 3e6


def test_a_model_of_motions_is_asked_for_no_world(tmp_path, monkeypatch, capsys):
    folder_of(tmp_path, "maze", {"maze": 1.0}, [("maze", "test", 0.7)])
    small = motion_models.MotionConfig(dim=16, ffn_dim=16, heads=2, layers=1, freq_dim=8, text_dim=8)
    empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), motion_models.abstract(small))
    motion_models.save_dit(empty, tmp_path / "bodies")
    config = {"name": "bodies", "model": {"family": "motion"}, "data": {"mix": {"maze": 1.0}, "motions": {}}}
    (tmp_path / "bodies" / "training.json").write_text(json.dumps({"config": config}))
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    assert shipped.names() == ("bodies", "maze") and shipped.motions() == ("bodies",)
    assert shipped.of_motions() == "bodies" and shipped.rates("bodies") == {}
    assert shipped.taught() == ("maze",) and shipped.knowing("maze") == "maze"
    assert isinstance(shipped.load("bodies"), motion_models.MotionDiT)
    assert isinstance(shipped.load("maze"), wan.WanDiT)
    said = "a network of the family 'motion', expected 'wan', which has worlds; vrjax.models.motion.load_dit reads it"
    with pytest.raises(ValueError, match=re.escape(said)):
        vrjax.load("bodies")
    for argv in (["eval", "--model", "bodies"], ["sample", "maze", "--model", "bodies"]):
        with pytest.raises(SystemExit) as end:
            cli.main(argv)
        assert end.value.code == 2 and said in capsys.readouterr().err


def test_the_default_models_are_good_at_what_the_page_shows():
    assert shipped.rates(shipped.knowing("entrant"))["entrant"] >= 0.60
    assert min(shipped.rates("reasoner").values()) >= 0.60
    assert shipped.taught() == tasks.names()
    assert [shipped.knowing(task) for task in ("entrant", "maze_goals", "pick")] == ["entrant", "reasoner", "worlds"]


def folder_of(root, name, mix, solved=None):
    """A folder as a trained model's, of which only the JSON is read."""
    (root / name).mkdir()
    (root / name / "config.json").write_text((shipped.path("worlds") / "config.json").read_text())
    (root / name / "training.json").write_text(json.dumps({"config": {"name": name, "data": {"mix": mix}}}))
    weights = "diffusion_pytorch_model.safetensors"
    (root / name / weights).symlink_to(shipped.path("worlds") / weights)
    if solved is not None:
        rows = [{"world": world, "split": split, "solved": rate} for world, split, rate in solved]
        (root / name / shipped.RATES).write_text(json.dumps({"rates": rows}))


def test_a_task_gets_the_model_that_knows_it_best(tmp_path, monkeypatch):
    folder_of(tmp_path, "a", {"maze": 0.5, "ball": 0.5}, [("maze", "test", 0.4), ("maze", "long", 1.0)])
    folder_of(tmp_path, "b", {"maze": 1.0}, [("maze", "test", 0.7), ("pick", "test", 1.0)])
    folder_of(tmp_path, "c", {"maze": 1.0})  # nobody has judged it
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    assert shipped.knowing("maze") == "b" and shipped.knowing("ball") == "a"
    assert shipped.taught() == ("ball", "maze")
    with pytest.raises(ValueError, match="no shipped model was trained on 'pick', only on ball, maze"):
        shipped.knowing("pick")
    assert evaluate.asked(None, ["maze", "ball"]) == {tmp_path / "b": ["maze"], tmp_path / "a": ["ball"]}
    assert evaluate.asked(None, None) == {tmp_path / "a": ["ball"], tmp_path / "b": ["maze"]}
    assert evaluate.asked(pathlib.Path("a"), None) == {tmp_path / "a": ["ball", "maze"]}
    assert evaluate.asked(tmp_path / "b", ["pick"]) == {tmp_path / "b": ["pick"]}
    assert vrjax.load("maze").tasks() == ("maze",) and repr(vrjax.load("ball")) == "Lab(a: ball, maze)"


def test_a_task_nobody_was_trained_on_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    for argv in (["sample", "maze"], ["eval", "--worlds", "maze"]):
        with pytest.raises(SystemExit) as end:
            cli.main(argv)
        assert end.value.code == 2
    said = capsys.readouterr().err
    assert len(re.findall("no shipped model was trained on 'maze'", said)) == 2


def test_the_entrant_is_sampled_by_its_specialist():
    run = vrjax.load("entrant").sample("entrant", clip=0, seeds=2, steps=20)
    ends = [run.verdicts()[i] for i in (19, 39)]
    assert [end["step"] for end in ends] == [19, 19] and any(end["solved"] for end in ends)
