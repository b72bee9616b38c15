"""The stream of clips: the same in every order of asking, and what the models expect."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrjax import tasks
from vrjax.data import batches as streams
from vrjax.data import worlds
from vrjax.models.embedded import conditions

MIX = {"maze": 0.5, "pick": 0.3, "tictactoe": 0.2}


def stream(mix=None, *, seed=0, clips=None):
    return worlds.Stream(mix or MIX, "train", seed, 4, 16, 32, clips, {})


def take(n, **kwargs):
    it = worlds.pipeline(**({"mix": MIX, "batch": 4, "seed": 0} | kwargs))
    return [next(it) for _ in range(n)]


def assert_equal(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        for name in ("latent", "image", "text"):
            np.testing.assert_array_equal(x[name], y[name])


@pytest.fixture(scope="module")
def batches():
    return take(5)


def test_shapes_and_types(batches):
    for name, shape in {"latent": (4, 9, 10, 10, 3), "image": (4, 9, 10, 10, 4), "text": (4, 16, 32)}.items():
        assert batches[0][name].shape == shape and batches[0][name].dtype == np.float32
    assert set(batches[0]) == {"latent", "image", "text"}


def test_equal_arguments_equal_batches(batches):
    assert_equal(take(5), batches)
    assert_equal(take(5, mix=dict(reversed(MIX.items()))), batches)
    assert_equal(take(5, mix=MIX | {"ball": 0.0}), batches)
    assert not np.array_equal(take(1, seed=1)[0]["latent"], batches[0]["latent"])
    assert not np.array_equal(batches[0]["latent"], batches[1]["latent"])


def test_rows_are_what_the_models_encode(batches):
    """Against the codec, the condition and the words of `vrjax.models`, which are written in JAX."""
    blocks = conditions.blocks(4)
    batch = take(1, extras=True)[0]
    assert_equal([batch], batches[:1])
    for row, clip in enumerate(batch["clip"]):
        latent = np.asarray(blocks.encode(jnp.asarray(clip.video)))
        np.testing.assert_array_equal(batch["latent"][row], latent)
        np.testing.assert_array_equal(batch["image"][row], conditions.first_frame(latent[0], 9))
        np.testing.assert_array_equal(batch["text"][row], conditions.text(clip.prompt, 16, 32))
        assert clip.meta["world"] == batch["world"][row] and clip.meta["split"] == "train"
        assert (
            tasks.get(clip.meta["world"]).score(clip, np.asarray(blocks.decode(jnp.asarray(batch["latent"][row]))))
            == 1.0
        )
        for name, array in conditions.example(clip).items():
            np.testing.assert_array_equal(array, batch[name][row])


@pytest.mark.parametrize("clips", [None, 6])  # 6 clips in batches of 4: states inside and at the edge of an epoch
@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_resume_goes_on_where_it_stopped(done, clips):
    whole = take(6, clips=clips)
    it = worlds.pipeline(MIX, batch=4, seed=0, clips=clips)
    for _ in range(done):
        next(it)
    state = json.loads(json.dumps(it.get_state()))
    rest = [next(it) for _ in range(6 - done)]  # going on does not disturb the state that was taken
    again = worlds.pipeline(MIX, batch=4, seed=0, clips=clips)
    next(again)
    again.set_state(state)
    assert again.get_state() == state
    assert_equal([next(again) for _ in range(6 - done)], whole[done:])
    assert_equal(rest, whole[done:])


@pytest.mark.parametrize("clips", [None, 6])
def test_processes_share_each_batch_in_order(clips):
    whole = take(3, clips=clips)
    parts = [take(3, clips=clips, rows=(2 * p, 2 * p + 1)) for p in range(2)]
    joined = [{k: np.concatenate([a[k], b[k]]) for k in a} for a, b in zip(*parts, strict=True)]
    assert_equal(joined, whole)


@settings(max_examples=25, deadline=None)
@given(local=st.integers(1, 5), count=st.integers(1, 6), steps=st.integers(1, 4), skip=st.integers(0, 10**9))
def test_sharded_indices_partition_the_stream(local, count, steps, skip):
    """For any number of processes, batch and position: their rows together are the unsharded batch, in order."""

    class Counter(worlds.Stream):
        def __init__(self):
            pass

        def __getitem__(self, i):
            return {"place": i}

    batch = local * count
    rows = [streams._Held(Counter(), batch, tuple(range(p * local, (p + 1) * local))) for p in range(count)]
    for step in range(skip, skip + steps):
        seen = [r[step * local + i]["place"] for r in rows for i in range(local)]
        assert seen == list(range(step * batch, (step + 1) * batch))
    assert all(len(r) % local == 0 for r in rows)


@settings(max_examples=25, deadline=None)
@given(clips=st.integers(1, 64), epoch=st.integers(0, 10**6), seed=st.integers(0, 2**63))
def test_an_epoch_shows_every_clip_once(clips, epoch, seed):
    s = POOL
    s.clips, s.seed = clips, seed
    order = [s.item(epoch * clips + i) for i in range(clips)]
    assert sorted(order) == list(range(clips))
    if clips > 20:
        assert order != [s.item((epoch + 1) * clips + i) for i in range(clips)]


@given(
    weights=st.lists(st.floats(0.01, 10.0), min_size=3, max_size=3),
    start=st.integers(0, 2**40),
    stride=st.integers(1, 64),
    seed=st.integers(0, 2**63),
)
@settings(max_examples=30, deadline=None)
def test_every_window_of_every_process_has_the_mix(weights, start, stride, seed):
    s = POOL
    share = np.array(weights) / sum(weights)
    s.edges, s._offset = np.cumsum(share), seed
    found = np.bincount([s.world(start + k * stride) for k in range(512)], minlength=3)
    # A draw would be off by up to 4 * sqrt(512 * 0.25) = 45; a resonance of the stride with the order, by 256. Of the
    # strides here, multiples of 48 and 61 lie closest to whole turns: they are off by up to 25.3 and 31.4.
    assert np.abs(found - 512 * share).max() <= {48: 26, 61: 32}.get(stride, 24)
    unstrided = np.bincount([s.world(start + k) for k in range(512)], minlength=3)
    assert np.abs(unstrided - 512 * share).max() <= 6


POOL = stream(clips=8)


def test_remembered_clips_are_the_same_clips():
    s, fresh = stream(clips=5), stream(clips=5)
    for i in range(15):
        a, b = s[i], fresh._clip(fresh.item(i))
        np.testing.assert_array_equal(a["latent"], conditions.example(b)["latent"])
    assert len(s._made) == 5
    kept = sum(colours.nbytes + index.nbytes for colours, index, _ in s._made.values())
    assert kept < 5 * 1100  # 900 blocks of one byte each, and a palette; as float32 latents they are 5 * 10800


def test_memory_is_exact_for_more_than_256_colours(monkeypatch):
    noise = np.random.default_rng(0).uniform(-1, 1, (9, 40, 40, 3)).astype(np.float32)
    make = tasks.Task.make
    monkeypatch.setattr(tasks.Task, "make", lambda *args: make(*args)._replace(video=noise, first_frame=noise[0]))
    s = stream(clips=1)
    np.testing.assert_array_equal(s[0]["latent"], s[1]["latent"])


@pytest.mark.parametrize("where", ["nan", "shape", "channels"])
def test_a_bad_clip_stops_the_run_and_is_named(monkeypatch, where):
    """Bad data met in the background thread arrives as the error of `next`, after the batches before it."""
    victim = stream().clip(9)  # in the third batch
    make = tasks.Task.make

    def broken(world, seed, split="train"):
        clip = make(world, seed, split)
        if clip.meta["seed"] != victim.meta["seed"]:
            return clip
        video = clip.video.copy()
        video[3, 5, 7, 1] = np.nan
        return clip._replace(video={"nan": video, "shape": clip.video[:, :36], "channels": clip.video[..., :2]}[where])

    monkeypatch.setattr(tasks.Task, "make", broken)
    it = worlds.pipeline(MIX, batch=4, seed=0)
    assert_equal([next(it), next(it)], take(2))
    name = f"clip {victim.meta['world']}/train seed {victim.meta['seed']}"
    words = {"nan": r"video\[3, 5, 7, 1\] is nan", "shape": r"\(9, 9, 10, 3\), expected \(9, 10, 10, 3\)"}
    with pytest.raises(ValueError, match=f"{name}: .*{words.get(where, 'expected .t, h, w, 3.')}"):
        next(it)


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"mix": {}}, "mix={}"),
        ({"mix": {"maze": 0.0}}, "not all of them 0"),
        ({"mix": {"maze": -1.0, "ball": 2.0}}, "finite weights >= 0"),
        ({"mix": {"maze": float("nan")}}, "finite weights >= 0"),
        ({"mix": {"maze": 1.0, "labyrinth": 0.0}}, "unknown task 'labyrinth'"),
        ({"mix": {"labyrinth": 1.0}}, "unknown task 'labyrinth'"),
        ({"split": "training"}, "unknown split 'training'"),
        ({"batch": 0}, "batch=0"),
        ({"rows": ()}, "rows=.*expected some of the 4 rows"),
        ({"clips": 0}, "clips=0"),
        ({"options": {"ball": {}}}, r"options: for \['ball'\]"),
        ({"options": {"maze": {"walls": 3}}}, "unknown option 'walls'"),
        ({"options": {"maze": {"frames": 13}}}, "latents .* differ.*'maze': .13, 10, 10, 3."),
        ({"codec_factor": 7}, "not divisible by codec_factor=7"),
    ],
)
def test_wrong_arguments(wrong, words):
    with pytest.raises(ValueError, match=words):
        worlds.pipeline(**({"mix": MIX, "batch": 4, "seed": 0} | wrong))


def test_other_geometries():
    batch = take(1, mix={"maze": 1.0}, codec_factor=8, text_len=14, text_dim=8)[0]
    assert batch["latent"].shape == (4, 9, 5, 5, 3) and batch["text"].shape == (4, 14, 8)
    longer = take(1, mix={"maze": 1.0}, options={"maze": {"frames": 13}})[0]
    assert longer["latent"].shape == (4, 13, 10, 10, 3)
