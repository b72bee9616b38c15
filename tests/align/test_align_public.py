"""RealDPO's offline part with a whole tiny model: losers that can be resumed, pairs that training reads."""

import dataclasses

import numpy as np
import pytest

from tests.align.realdpo_folder import write
from tests.models import tiny_wan
from vrjax import cli
from vrjax.align import cache, pairs, public
from vrjax.align.preprocess import Preprocess
from vrjax.models import pipeline

FRAMES, SIZE = 5, (16, 16)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_wan.build(tmp_path_factory.mktemp("i2v"), "i2v", experts=2)


@pytest.fixture
def root(tmp_path):
    """Two real clips, of more pixels and frames than the model takes."""
    rng = np.random.default_rng(0)
    clips = [np.repeat(np.repeat(rng.uniform(-1, 1, (6, 4, 4, 3)), 8, 1), 8, 2) for _ in range(2)]
    write(tmp_path / "data", [(f"c{i}", f"clip {i}", c, []) for i, c in enumerate(clips)])
    return tmp_path / "data"


def test_losers_and_pairs(model, root, tmp_path, capsys):
    pipe = pipeline.open(model)
    options = {"count": 2, "frames": FRAMES, "size": SIZE, "steps": 2}
    assert public.sample_losers(pipe, root, **options) == 4
    files = sorted((root / "negative_samples").glob("*/*.mp4"))
    first = {f: f.read_bytes() for f in files}
    assert len(files) == 4 and len(set(first.values())) == 4
    files[1].unlink()
    assert public.sample_losers(pipe, root, **options) == 1 and files[1].read_bytes() == first[files[1]]

    public.encode(pipe, root, tmp_path / "pairs", frames=FRAMES, size=SIZE, dtype="float32")
    row = cache.Encoded(tmp_path / "pairs", losers=2)[1]
    pair = pairs.read(root)[1]
    video = Preprocess(FRAMES, *SIZE)(pair.win)
    np.testing.assert_allclose(row["latent"], pipe.vae.encode(video), atol=1e-5)
    np.testing.assert_allclose(row["lose"][1], pipe.vae.encode(Preprocess(FRAMES, *SIZE)(pair.lose[1])), atol=1e-5)
    np.testing.assert_allclose(row["text"], pipe.text(["clip 1"])[0], atol=1e-6)
    assert row["image"].shape[-1] == pipe.folder.cfg.in_channels - pipe.folder.cfg.out_channels
    assert row["image"][0, ..., :4].min() == 1  # Wan's mask: the first frame is given

    assert "clip" not in capsys.readouterr().err
    public.encode(pipe, root, tmp_path / "pairs", frames=FRAMES, size=SIZE, dtype="float32")
    assert "0 arrays encoded" in capsys.readouterr().out


def test_command_and_misuse(model, root, tmp_path, capsys):
    words = ["losers", root, "--model", model, "--frames", FRAMES, "--size", "16x16", "--steps", 2, "--count", 1]
    cli.main([str(w) for w in [*words, "--pairs", tmp_path / "pairs"]])
    assert "2 losers sampled" in capsys.readouterr().out
    assert len(cache.Encoded(tmp_path / "pairs", losers=1)) == 2
    for wrong, said in (
        ([*words[:-1], -1], "--count must not be negative"),
        (["losers", tmp_path / "none", *words[2:]], "prompt.txt: missing"),
        ([*words[:4], "--frames", 6, "--size", "16x16"], "frames"),
    ):
        with pytest.raises(SystemExit) as stop:
            cli.main([str(w) for w in wrong])
        assert stop.value.code == 2 and said in capsys.readouterr().err


def test_models_with_other_conditions_are_refused(model, root, tmp_path):
    pipe = pipeline.open(model)
    pipe.folder = (
        dataclasses.replace(pipe.folder, kind="flf2v")
        if dataclasses.is_dataclass(pipe.folder)
        else (pipe.folder._replace(kind="flf2v"))
    )
    with pytest.raises(ValueError, match="needs first and last pictures"):
        public.sample_losers(pipe, root, count=1, frames=FRAMES, size=SIZE)
    with pytest.raises(ValueError, match="two-expert image-to-video"):
        public.encode(pipe, root, tmp_path, frames=FRAMES, size=SIZE)
