"""The preference run: folder, going on after a kill, stored reference errors, what stops it. One tiny model."""

import dataclasses
import functools
import json
import shutil

import numpy as np
import pytest
import tiny

from vrjax.align import data, logs, loop, step
from vrjax.align.config import AlignConfig, Preference, Reference, Rollout
from vrjax.files import records
from vrjax.models import wan
from vrjax.report import claims
from vrjax.train import config as configs
from vrjax.train import loop as training
from vrjax.train.config import Checkpoint, Data

Loop = functools.partial(training.Loop, prepare=loop.prepare)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.save_base(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Encoded pairs: random winners with random losers."""
    out = tmp_path_factory.mktemp("pairs")
    rows = tiny.batch(6)
    return tiny.encoded(out, rows["latent"], rows["lose"], rows["text"])


def config(base, folder, **changes):
    fields = {
        "start": base,
        "pairs": folder,
        "steps": 4,
        "data": Data(batch=4),
        "reference": Reference(kind="ema", decay=0.5, every=2),
        "checkpoint": Checkpoint(every=2),
    }
    return tiny.align(**(fields | changes))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, base, folder):
    root = tmp_path_factory.mktemp("runs")
    loop.run(config(base, folder), root=root)
    return root


def rows(root):
    return [json.loads(line) for line in (root / "tiny" / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_a_policy_and_its_reference(finished, base, folder):
    run = finished / "tiny"
    stored = json.loads((run / "config.json").read_text())
    assert records.from_dict(AlignConfig, stored["config"]) == config(base, folder)
    assert configs.load(run / "config.json", AlignConfig) == config(base, folder)
    assert stored["config"]["preference"]["beta"] == 20.0  # defect 2: the value that is used is the one on record
    found = rows(finished)
    assert [r["step"] for r in found] == [1, 2, 3, 4]
    assert {"accuracy", "margin", "win_gap", "lose_gap", "loser_dominant", "win_error_bin1", "lose_motion"} <= set(
        found[0]
    )
    # The margin of equal policies is beta = 20 times a rounding, and half of it the loss's.
    np.testing.assert_allclose(found[0]["loss"] + found[0]["margin"] / 2, np.log(2), atol=1e-6)
    assert abs(found[0]["margin"]) < 1e-5
    meta = json.loads((run / "checkpoints/4/meta/metadata").read_text())
    assert {"params", "reference", "optimizer", "key", "step"} == set(meta["digests"])
    start, exported = wan.load_dit(base), wan.load_dit(run / "model")
    assert np.abs(np.asarray(start.head.kernel[...]) - np.asarray(exported.head.kernel[...])).max() > 1e-3


def test_going_on_is_bitwise_with_a_moving_reference(finished, base, folder, tmp_path, capsys):
    """Released code's defect 7: the reference was not in the checkpoint, a resumed run started it anew."""
    root = shutil.copytree(finished, tmp_path / "runs")
    run = root / "tiny"
    shutil.rmtree(run / "checkpoints" / "4")
    shutil.rmtree(run / "model")
    (run / "results.json").unlink()
    loop.run(config(base, folder), root=root)
    assert "going on from step 2 of 4" in capsys.readouterr().out
    digests = [json.loads((r / "tiny/checkpoints/4/meta/metadata").read_text())["digests"] for r in (finished, root)]
    assert digests[0] == digests[1] and None not in digests[0].values()
    for name in ("metrics.jsonl", "model/diffusion_pytorch_model.safetensors"):
        assert (finished / "tiny" / name).read_bytes() == (run / name).read_bytes(), name
    # and the reference that went on is not the base: it had moved at update 2
    first = json.loads((run / "checkpoints/2/meta/metadata").read_text())["digests"]
    assert first["reference"] != first["params"]
    assert claims.read_details(run)["steps"] == 4


def test_stored_reference_errors_give_the_live_run(base, folder, tmp_path, capsys):
    """The same bank of draws, with the reference in memory and with its errors on disk: equal to rounding."""
    live = config(base, folder, reference=Reference(kind="frozen", draws=2), steps=2)
    kept = dataclasses.replace(live, reference=Reference(kind="precomputed", draws=2))
    loop.run(live, root=tmp_path / "live")
    loop.run(kept, root=tmp_path / "kept")
    assert "reference errors of 6 pairs at 2 draws each are stored" in capsys.readouterr().out
    for a, b in zip(rows(tmp_path / "live"), rows(tmp_path / "kept"), strict=True):
        for name in ("reference_win_error", "reference_lose_error", "win_error", "win_gap", "lose_gap"):
            np.testing.assert_allclose(a[name], b[name], atol=1e-6, err_msg=name)
    loop.run(kept, root=tmp_path / "again")
    assert "are stored" not in capsys.readouterr().out  # read, not measured anew
    changed = dataclasses.replace(kept, preference=Preference(beta=20.0, losers=2, bins=2, high=0.5))
    Loop(changed, tmp_path / "changed")
    assert "are stored" in capsys.readouterr().out  # other levels: other errors


def test_grossly_different_sides_stop_the_run_before_it_starts(base, tmp_path):
    batch = tiny.batch(6)
    wrong = config(base, tiny.encoded(tmp_path / "pairs", batch["latent"], batch["lose"] * 3.6, batch["text"]))
    with pytest.raises(ValueError, match="winners and losers differ trivially"):
        Loop(wrong, tmp_path / "run")
    Loop(dataclasses.replace(wrong, allow_separable=True), tmp_path / "run")


def test_online_runs_take_winners_from_the_worlds(base, tmp_path):
    """Real winners from a procedural world, losers sampled by the base inside the update."""
    made = Rollout(source="base", steps=2)
    trainer = Loop(
        tiny.online(start=base, rollout=made, data=Data(mix={"maze": 1.0}, batch=2), validate=tiny.align().validate),
        tmp_path,
    )
    batch = trainer._next_batch()
    assert "lose" not in batch
    state, metrics = trainer.update(trainer.state, trainer.network.base, batch, trainer.key)
    assert np.isfinite(float(metrics["loss"])) and float(metrics["lose_error"]) > 0
    assert isinstance(state, step.State) and int(state.step) == 1


def test_wrong_folders_and_models_are_named(base, folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="encode the pairs first"):
        Loop(config(base, str(tmp_path)), tmp_path / "run")
    with pytest.raises(ValueError, match="fewer than 3 losers"):
        Loop(config(base, folder, preference=Preference(losers=3)), tmp_path / "run")
    narrow = dataclasses.replace(tiny.MODEL, in_channels=5)
    with pytest.raises(ValueError, match="image condition has 2 channels, the pairs in .* have 3 channels"):
        data.pairs(config(base, folder, model=narrow))


def test_two_devices_equal_one(finished, base, folder, tmp_path):
    """`--mesh data 2` divides pairs, policy's and reference's alike."""
    loop.run(config(base, folder, mesh={"data": 2}), root=tmp_path)
    for found, wanted in zip(rows(tmp_path), rows(finished), strict=True):
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_collapsed_run_keeps_and_exports_nothing(base, folder, tmp_path, capsys):
    def sick_from(step, window=3):  # winners' error counts as too high from here on
        class Watch(logs.Watch):
            def see(self, now, row):
                return super().see(now, row | {"win_error": row["win_error"] * (1 if now < step else 100)})

        return lambda made: loop.prepare(made)._replace(watch=Watch(window=window))

    run = functools.partial(training.run, root=tmp_path)
    with pytest.raises(training.Diverged, match=r"collapsed at step 3: .* no checkpoint was saved before"):
        run(config(base, folder, name="early"), prepare=sick_from(1))
    assert not (tmp_path / "early" / "model").exists() and not (tmp_path / "early" / "results.json").exists()
    assert "step 2 is not kept" in capsys.readouterr().out
    text = (tmp_path / "early" / "report.html").read_text()
    assert "early collapsed at step 3" in text and "step 2 is not kept" in text and "rewards/margins" in text
    with pytest.raises(training.Diverged, match=r"ended sick: .* the last good checkpoint, step 2, is kept"):
        run(config(base, folder, name="late"), prepare=sick_from(4, window=8))  # too late for a whole window
    assert [p.name for p in (tmp_path / "late" / "checkpoints").iterdir()] == ["2"]
    assert not (tmp_path / "late" / "model").exists()
