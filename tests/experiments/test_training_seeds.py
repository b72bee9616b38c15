"""Seeds trained together: each is the run it would be alone; killed, gone on with, not repeated."""

import argparse
import dataclasses
import json

import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file

from experiments.chain_of_steps import training
from vrjax.train import config as configs
from vrjax.train import loop
from vrjax.train.config import Checkpoint, Data, Validate

CONFIG = tiny.config(
    steps=4,
    data=Data(mix={"maze": 1.0}, batch=4),
    validate=Validate(every=0, clips=2, final_clips=3, steps=2, group=3),
    checkpoint=Checkpoint(every=2),
    dtype="float32",
)


def tensors(folder):
    return load_file(folder / "model" / "diffusion_pytorch_model.safetensors")


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    root = tmp_path_factory.mktemp("together")
    return root, training.train(CONFIG, [0, 3], root, together=2, workers=0)


def test_each_seed_is_the_run_that_it_is_alone(together, tmp_path):
    root, found = together
    alone = loop.run(training.of_seed(CONFIG, 3), root=tmp_path)
    assert alone["solved"] == found[3]["solved"] and alone["name"] == found[3]["name"] == "tiny-3"
    ours, theirs = tensors(root / "tiny-3"), tensors(tmp_path / "tiny-3")
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, atol=2e-3)  # a rounding, made larger by Adam's first updates
    read = lambda where: [json.loads(line) for line in (where / "tiny-3" / "metrics.jsonl").read_text().splitlines()]
    mine, alone_rows = read(root), read(tmp_path)
    assert [r["step"] for r in mine] == [1, 2, 3, 4]
    np.testing.assert_allclose([r["loss"] for r in mine], [r["loss"] for r in alone_rows], rtol=1e-3)
    other = tensors(root / "tiny-0")
    assert not np.allclose(next(iter(other.values())), next(iter(ours.values())))


def test_a_killed_command_goes_on(together, tmp_path, monkeypatch):
    root, found = together
    looked = training.Together._look

    def killed(self, number, *rest):
        if number == 3:
            raise KeyboardInterrupt
        looked(self, number, *rest)

    monkeypatch.setattr(training.Together, "_look", killed)
    with pytest.raises(KeyboardInterrupt):
        training.train(CONFIG, [0, 3], tmp_path, together=2, workers=0)
    assert not (tmp_path / "tiny-0" / "results.json").exists()
    monkeypatch.setattr(training.Together, "_look", looked)
    again = training.train(CONFIG, [0, 3], tmp_path, together=2, workers=0)
    assert again == found
    for seed in (0, 3):
        ours, theirs = tensors(tmp_path / f"tiny-{seed}"), tensors(root / f"tiny-{seed}")
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)

    def no(*args, **named):
        raise AssertionError("trained again")

    monkeypatch.setattr(training.Together, "_train", no)
    assert training.train(CONFIG, [0, 3], tmp_path, together=2, workers=0) == found


def test_clips_made_by_other_processes_are_those_of_the_stream():
    here, there = [], []
    for workers, out in ((0, here), (2, there)):
        with training.clips(CONFIG, [0, 3], 1, workers) as batches:
            out.extend(batches)
    data = loop.batches(training.of_seed(CONFIG, 3), tuple(range(4)))
    assert len(here) == len(there) == 3
    next(data)
    for a, b in zip(here, there, strict=True):
        alone = next(data)
        for name in ("latent", "image", "text"):
            assert a[name].shape[0] == 2 and np.array_equal(a[name], b[name])
            assert np.array_equal(a[name][1], alone[name])


def test_the_gate_is_on_the_mean():
    found = {k: {"solved": {"maze": {"solved": rate}}} for k, rate in enumerate((0.5, 0.8))}
    assert training.gate(found) == {
        "maze": {"seeds": {"0": 0.5, "1": 0.8}, "mean": 0.65, "gate": [0.6, 0.97], "met": True}
    }
    found[1]["solved"]["maze"]["solved"] = 0.6
    assert not training.gate(found)["maze"]["met"]


def test_another_recipe_has_another_name():
    options = {"causal": True, "steps": 700, "clips": 8, "every": 100}
    config = training.asked(configs.load(training.FOLDER / "entrant.py"), argparse.Namespace(**options))
    assert config.name == "entrant-causal-700-updates" and config.model.causal and config.steps == 700
    assert (config.validate.final_clips, config.validate.every) == (8, 100)
    assert training.of_seed(config, 5).seed == 5
    with pytest.raises(ValueError, match="procedural worlds"):
        training.Together(dataclasses.replace(CONFIG, mesh={"data": 1}), [0], training.FOLDER, workers=0, fresh=False)
