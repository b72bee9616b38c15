"""RealDPO's folders, the encoded cache, the separability check and the stream of pairs: light, no model."""

import json
import shutil

import numpy as np
import pytest

from tests.align.realdpo_folder import write
from vrjax.align import cache, pairs, separability
from vrjax.align.preprocess import Preprocess
from vrjax.files import tensors
from vrjax.models.embedded import conditions

PRE = Preprocess(frames=5, height=32, width=32)
CODEC = cache.Encoder("blocks-8", conditions.blocks(8).encode)
TEXT = cache.Encoder("length", lambda prompt: np.full((4, 8), len(prompt), np.float32))


def video(seed, frames=5, side=64):
    """Smooth moving gradients: what a codec keeps."""
    t, y, x = np.meshgrid(np.arange(frames), np.linspace(0, 3, side), np.linspace(0, 3, side), indexing="ij")
    rng = np.random.default_rng(seed)
    return np.stack([np.sin(a * x + b * y + 0.3 * t) for a, b in rng.uniform(0.3, 1, (3, 2))], -1).astype(np.float32)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("train_data")
    write(
        root,
        [
            (f"48731{i}", f"A person waves, take {i}.", video(i), [video(100 + 10 * i + k) for k in range(3)])
            for i in range(3)
        ],
    )
    return root


@pytest.fixture
def root(written, tmp_path):
    return shutil.copytree(written, tmp_path / "train_data")


def test_the_layout_round_trips(written):
    found = pairs.read(written)
    assert [p.name for p in found] == ["487310", "487311", "487312"]
    assert found[1].prompt == "A person waves, take 1."
    assert found[1].win == written / "videos" / "487311.mp4"
    assert [p.relative_to(written).as_posix() for p in found[1].lose] == [
        f"negative_samples/487311/{k}.mp4" for k in range(3)
    ]
    assert found[1].first_frame == written / "first_frames" / "videos_487311.png"
    full = Preprocess(frames=5, height=64, width=64)
    # the codec is lossy: a few grey levels on smooth pictures
    assert np.abs(full(found[1].win) - video(1)).mean() < 0.03
    assert np.abs(full(found[1].lose[2]) - video(112)).mean() < 0.03
    assert len(pairs.read(written, losers=1)[0].lose) == 1 and pairs.read(written, losers=0)[0].lose == ()


def test_winner_and_loser_of_the_same_file_have_the_same_latent(root, tmp_path):
    """Released code's defect 1: losers reached the VAE as raw pixels."""
    pair = pairs.read(root)[0]
    shutil.copy(pair.win, pair.lose[1])
    cache.encode(pairs.read(root), tmp_path / "out", preprocess=PRE, codec=CODEC, text=TEXT, say=lambda line: None)
    row = cache.Encoded(tmp_path / "out", losers=3)[0]
    np.testing.assert_array_equal(row["lose"][1], row["latent"])
    assert np.abs(row["lose"][0] - row["latent"]).max() > 0.1
    assert np.abs(row["latent"]).max() <= 1.0 and row["latent"].shape == (5, 4, 4, 3)


def test_nothing_is_skipped(root):
    """Released code's defect 5: every exception moved on to the next clip in silence."""
    (root / "negative_samples" / "487311" / "1.mp4").unlink()
    with pytest.raises(FileNotFoundError, match=r"487311/1\.mp4: missing"):
        pairs.read(root)
    shutil.rmtree(root / "negative_samples" / "487311")
    with pytest.raises(FileNotFoundError, match=r"487311/0\.mp4: missing, expected losers 0 to 2"):
        pairs.read(root)
    (root / "videos" / "487312.mp4").write_bytes(b"not a video")
    with pytest.raises(ValueError, match=r"487312\.mp4"):
        cache.encode(
            pairs.read(root, losers=0), root / "out", preprocess=PRE, codec=CODEC, text=TEXT, say=lambda line: None
        )
    assert not (root / "out" / "pairs.json").exists()
    (root / "videos" / "487312.mp4").unlink()
    with pytest.raises(FileNotFoundError, match=r"487312\.mp4: missing, listed in .*video\.txt, line 3"):
        pairs.read(root, losers=0)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("video.txt", "../secret.mp4\n\n\n", "is not a path inside the folder"),
        ("video.txt", "/etc/passwd\n\n\n", "is not a path inside the folder"),
        ("video.txt", "videos/487310.mp4\n", "prompt.txt has 3 lines, video.txt 1"),
        ("video.txt", "videos/487310.mp4\nvideos/487310.mp4\nvideos/487310.mp4\n", "lines 1 and 2 have the same stem"),
        ("prompt.txt", "a\n\nc\n", "prompt.txt, line 2: the caption is empty"),
    ],
)
def test_hostile_and_wrong_lists_are_named(root, file, text, message):
    (root / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        pairs.read(root)


# -------------------------------------------------------------------------------------------------------------- cache


def test_the_key_holds_everything_the_latent_depends_on(written, tmp_path):
    """Released cache: the key had no VAE, dtype, crop or preprocessing; a change was served stale arrays."""
    path = pairs.read(written)[0].win
    store = cache.Cache(tmp_path)
    first = store.latent(path, PRE, CODEC)
    assert store.made == 1 and store.latent(path, PRE, CODEC) == first and store.made == 1
    others = {
        store.latent(pairs.read(written)[1].win, PRE, CODEC),
        store.latent(path, Preprocess(frames=5, height=32, width=32, crop=False), CODEC),
        store.latent(path, Preprocess(frames=4, height=32, width=32), CODEC),
        store.latent(path, PRE, cache.Encoder("blocks-8, other weights", CODEC.encode)),
        cache.Cache(tmp_path, dtype="bfloat16").latent(path, PRE, CODEC),
    }
    assert len(others) == 5 and first not in others
    copy = shutil.copy(path, tmp_path / "renamed.mp4")
    assert store.latent(copy, PRE, CODEC) == first  # the content counts, not the name
    np.testing.assert_allclose(store.read("latents", "latent", first), CODEC.encode(PRE(path)), atol=1e-6)
    about = tensors.read(store.path("latents", first)).metadata["made"]
    assert json.loads(about)["codec"] == "blocks-8"


def test_a_torn_array_and_a_false_key_are_named(written, tmp_path):
    store = cache.Cache(tmp_path)
    at = store.latent(pairs.read(written)[0].win, PRE, CODEC)
    file = store.path("latents", at)
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ValueError, match="torn or padded"):
        store.read("latents", "latent", at)
    with pytest.raises(ValueError, match="is not a key"):
        store.read("latents", "latent", "../../etc/passwd")
    bad = cache.Encoder("nan", lambda v: CODEC.encode(v) * np.nan)
    with pytest.raises(ValueError, match="not finite"):
        store.latent(pairs.read(written)[0].win, PRE, bad)


def test_encoding_goes_on_where_it_stopped(written, tmp_path):
    calls = []
    counting = cache.Encoder("blocks-8", lambda v: calls.append(1) or CODEC.encode(v))
    settings = {"preprocess": PRE, "text": TEXT, "say": lambda line: None}
    cache.encode(pairs.read(written, losers=1), tmp_path, codec=counting, **settings)
    assert len(calls) == 6
    cache.encode(pairs.read(written), tmp_path, codec=counting, **settings)
    assert len(calls) == 12
    encoded = cache.Encoded(tmp_path, losers=2)
    row = encoded[2]
    assert len(encoded) == 3 and row["lose"].shape == (2, 5, 4, 4, 3) and row["pair"] == 2
    assert row["image"].shape == (5, 4, 4, 4) and row["image"][0, 0, 0, 0] == 1 and row["image"][1:, ..., 0].max() == 0
    np.testing.assert_array_equal(row["image"][3, ..., 1:], row["latent"][0])
    with pytest.raises(ValueError, match="3 of 3 pairs have fewer than 4 losers"):
        cache.Encoded(tmp_path, losers=4)
    encoded.cache.path("latents", encoded.rows[1][1]).unlink()
    with pytest.raises(FileNotFoundError, match="lists it"):
        cache.Encoded(tmp_path, losers=2)


def test_preprocessing_crops_to_the_aspect_and_takes_every_nth_frame(tmp_path):
    from vrjax.data import mp4

    film = np.zeros((9, 32, 64, 3), np.float32)
    film[:, :, 16:48] = np.linspace(-0.8, 0.8, 9)[:, None, None, None]
    mp4.write(tmp_path / "wide.mp4", film)
    square = Preprocess(frames=4, height=32, width=32)(tmp_path / "wide.mp4")
    np.testing.assert_allclose(square.mean((1, 2, 3)), [-0.8, -0.4, 0.0, 0.4], atol=0.05)
    squeezed = Preprocess(frames=4, height=32, width=32, crop=False)(tmp_path / "wide.mp4")
    assert abs(squeezed[0, :, :4].mean()) < 0.1  # the black sides are still there
    with pytest.raises(ValueError, match="9 frames, expected at least 10"):
        Preprocess(frames=10, height=32, width=32)(tmp_path / "wide.mp4")


# ------------------------------------------------------------------------------------------------------- separability


def test_the_released_caches_defect_is_found():
    """Losers encoded from pixels 0 ... 255 instead of -1 ... 1."""
    rng = np.random.default_rng(0)
    good = [(rng.normal(0, 0.76, (4, 8, 8, 4)), rng.normal(0, 0.76, (3, 4, 8, 8, 4))) for _ in range(16)]
    fine = separability.check(good)
    assert not fine.gross and fine.notes == () and 0.3 < fine.auc["std"] < 0.7
    separability.refuse(fine, "run")
    raw = [(w, l * 3.5) for w, l in good]  # the shipped extremes: +-3 against -8.6 ... 11.4
    found = separability.check(raw)
    assert {"std", "min", "max"} <= set(found.gross)
    with pytest.raises(ValueError, match="run: winners and losers differ trivially .*allow_separable"):
        separability.refuse(found, "run")


def test_a_hair_of_overshoot_is_noted_but_not_gross():
    rng = np.random.default_rng(0)
    win = [np.sign(rng.normal(size=(4, 8, 8, 3))) for _ in range(8)]
    found = separability.check([(w, (w * 1.02)[None]) for w in win])
    assert found.auc["max"] == 1.0 and found.gross == () and any("max" in note for note in found.notes)
    with pytest.raises(ValueError, match="at least 2 pairs"):
        separability.check([(win[0], win[0][None])])
