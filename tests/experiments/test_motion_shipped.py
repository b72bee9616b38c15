"""A model that ships is the trained one, in half the bytes."""

import json

import jax
import numpy as np
import pytest

from experiments.vimogen import shipped
from vrjax.models import motion as motion_models

SMALL = motion_models.MotionConfig(dim=16, ffn_dim=16, heads=2, layers=1, freq_dim=8, text_dim=8, predicts="clean")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "model"
    folder.mkdir()
    motion_models.save_dit(motion_models.init(SMALL, jax.random.key(0)), folder)
    (folder / "training.json").write_text(json.dumps({"config": {"name": "tiny"}}))
    return folder


def test_weights_are_the_trained_ones_rounded(trained, tmp_path):
    out = tmp_path / "a" / "motion"
    shipped.main([str(trained), "--to", str(out)])
    before, after = motion_models.load_dit(trained), motion_models.load_dit(out)
    assert after.cfg == before.cfg and after.cfg.predicts == "clean"
    for ours, theirs in zip(jax.tree.leaves(after), jax.tree.leaves(before), strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_array_equal(ours, np.asarray(theirs).astype(np.float16).astype(np.float32))
    size = lambda folder: (folder / "model.safetensors").stat().st_size
    header = 8 + int.from_bytes((trained / "model.safetensors").read_bytes()[:8], "little")
    assert size(out) - header == pytest.approx((size(trained) - header) / 2, abs=200)  # shorter offsets in the header
    for name in ("config.json", "training.json"):
        assert json.loads((out / name).read_text()) == json.loads((trained / name).read_text())


def test_what_cannot_ship_is_one_line(trained, tmp_path, capsys):
    model = motion_models.load_dit(trained)
    model.motion_embedding.bias.set_value(model.motion_embedding.bias + 1e6)
    motion_models.save_dit(model, tmp_path / "big")
    for folder, said in ((tmp_path / "none", "training.json"), (tmp_path / "big", "training.json")):
        with pytest.raises(SystemExit) as end:
            shipped.main([str(folder), "--to", str(tmp_path / "out")])
        assert end.value.code == 2 and said in capsys.readouterr().err
    (tmp_path / "big" / "training.json").write_text("{}")
    with pytest.raises(ValueError, match="motion_embedding.bias and 0 more do not fit float16"):
        shipped.halve(tmp_path / "big", tmp_path / "out")
    assert not (tmp_path / "out").exists()
