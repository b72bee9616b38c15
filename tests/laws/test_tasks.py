"""What every task must do, on all of its splits. A new task is one file, and one row in WORLDS."""

import hashlib
import json
import time

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrjax import tasks
from vrjax.models.embedded import conditions
from vrjax.tasks import core
from vrjax.tasks.puzzles import drawing

# name -> (out-of-distribution splits, fingerprint of the clips 0 ... 4 of every split)
WORLDS = {
    "maze": (("long", "large"), "a0886484bc9e3eef"),
    "maze_goals": (("three", "large"), "e5249b988c90b64f"),
    "tictactoe": (("crowded", "large"), "1579bb8adae531a1"),
    "occluder": (("wide", "large"), "fcbb9095347a0556"),
    "ball": (("fast", "large"), "46eb7a38ab635833"),
    "pick": (("many", "large"), "ffdbf4e3e995abe8"),
    "entrant": ((), "a0ef2873f2f94d32"),
}
SIDES = {"entrant": 32}  # pixels, where it is not 40
each_world = pytest.mark.parametrize("world", [tasks.get(name) for name in WORLDS], ids=list(WORLDS))
seeds = st.integers(0, 2**62)
few = settings(max_examples=8, deadline=None)


def frozen(video, f):
    return np.repeat(video[f : f + 1], len(video), axis=0) if f >= 0 else np.repeat(video[f:], len(video), axis=0)


def test_every_world_is_in_the_table():
    assert set(tasks.names()) == set(WORLDS)


@each_world
def test_clips_are_what_they_are_said_to_be(world):
    assert world.splits[:3] == ("train", "val", "test") and world.splits[3:] == WORLDS[world.name][0]
    for split in world.splits:
        for seed in range(8):
            clip = world.make(seed, split)
            side = SIDES.get(world.name, 48 if split == "large" else 40)
            assert clip.video.shape == (9, side, side, 3) and clip.video.dtype == np.float32
            assert np.abs(clip.video).max() <= 1
            assert np.array_equal(clip.first_frame, clip.video[0])
            assert 3 <= len(clip.prompt.split()) <= 14 and clip.prompt.isascii()
            assert json.loads(json.dumps(clip.meta)) == clip.meta
            assert (clip.meta["world"], clip.meta["split"], clip.meta["seed"]) == (world.name, split, seed)


@each_world
@few
@given(data=st.data())
def test_verifier(world, data):
    clip = world.make(data.draw(seeds), data.draw(st.sampled_from(world.splits)))
    video, rng = clip.video, np.random.default_rng(0)
    assert world.score(clip, video) == 1.0 and world.solved(clip, video)
    for wrong in (
        frozen(video, 0),
        video[::-1],
        np.zeros_like(video),
        np.ones_like(video),
        rng.uniform(-1, 1, video.shape),
        rng.normal(size=video.shape),
        np.broadcast_to(rng.uniform(-1, 1, video[0].shape), video.shape),
    ):
        assert world.score(clip, wrong) == 0.0 and not world.solved(clip, wrong)
    still, alone = frozen(video, -1), world.decisive == (-1,)  # whether the last frame decides alone
    assert world.score(clip, still) == (0.5 if alone else 0.0) and world.solved(clip, still) == alone
    jump = still.copy()
    for frame in (0, *world.decisive):
        jump[frame] = video[frame]
    assert 0.5 < world.score(clip, jump) < 1.0 and world.solved(clip, jump)
    assert world.score(clip, video + 0.3 * rng.normal(size=video.shape)) == 1.0


def the_law(task, clips=24):
    """Of all that `tasks.names()` lists: truth 1, frozen first frame 0, hardly another clip's truth 1; it repeats."""
    made = [task.make(seed, "test") for seed in range(clips)]
    for clip in made:
        assert task.score(clip, clip.video) == 1.0 and task.score(clip, frozen(clip.video, 0)) == 0.0
        again = task.make(clip.meta["seed"], "test")
        assert np.array_equal(clip.video, again.video) and clip.meta == again.meta
    right = [task.score(a, b.video) == 1.0 for a in made for b in made if a is not b]
    assert np.mean(right) <= 0.05


@pytest.mark.parametrize("name", (*tasks.names(), *drawing.names()))
def test_the_law(name):
    the_law(tasks.get(name), clips=8 if name in drawing.names() else 24)


@each_world
@few
@given(data=st.data())
def test_one_wrong_block_is_noticed_in_any_frame(world, data):
    clip = world.make(data.draw(seeds), data.draw(st.sampled_from(world.splits)))
    frame = data.draw(st.integers(0, 8))
    y, x = (4 * data.draw(st.integers(0, side // 4 - 1)) for side in clip.video.shape[1:3])
    shown = core.nearest(clip.video[frame, y, x][None], world.colours)[0]
    other = data.draw(st.sampled_from([c for c in world.colours if core.INDEX[c] != shown]))
    torn = clip.video.copy()
    torn[frame, y : y + 4, x : x + 4] = core.COLOURS[core.INDEX[other]]
    if frame in [f % 9 for f in world.decisive]:
        assert world.score(clip, torn) == 0.0 and not world.solved(clip, torn)
    else:
        assert 0.5 <= world.score(clip, torn) < 1.0 and world.solved(clip, torn)


@each_world
@few
@given(data=st.data())
def test_candidates(world, data):
    clip = world.make(data.draw(seeds), data.draw(st.sampled_from(world.splits)))
    videos, prior, labels = world.candidates(clip), world.prior(clip), world.labels(clip)
    assert len(videos) == len(prior) == len(labels) == world.slots
    assert prior.dtype == np.float64 and prior.min() >= 0 and abs(prior.sum() - 1) < 1e-12
    choice = clip.meta["choice"]
    assert np.array_equal(videos[choice], clip.video) and labels[choice] == clip.answer and prior[choice] > 0
    for video, p in zip(videos, prior, strict=True):
        assert np.array_equal(video[0], clip.first_frame)
        assert world.score(clip, video) == float(p > 0) and world.solved(clip, video) == (p > 0)
    real = [v for v, label in zip(videos, labels, strict=True) if label]
    assert len({v[-1].tobytes() for v in real}) == len({label for label in labels if label}) == len(real) >= 2
    for padding in (v for v, label in zip(videos, labels, strict=True) if not label):
        assert np.array_equal(padding, frozen(clip.video, 0))
    assert len(world.candidates(clip, pad=False)) == len(world.prior(clip, pad=False)) == len(real)


@each_world
def test_read_and_symbols(world):
    for split in world.splits:
        clip = world.make(1, split)
        last = world.read(clip, clip.video[-1])
        assert last["right"] and last["answer"] == clip.answer
        assert np.array_equal(core.paint(last["raster"]), clip.video[-1])
        first = world.read(clip, clip.first_frame)
        assert not first["right"] and first["answer"] is None
        t, h, w, _ = clip.video.shape
        for name, grid in world.symbols(clip).items():
            assert grid.shape == (t, h // 8, w // 8) and grid.dtype == np.int64 and grid.min() >= 0, name
        assert world.symbols(clip)["answer"].any()


@each_world
def test_splits_are_disjoint(world):
    keys = {s: {world.key(world.make(seed, s).meta["layout"]) for seed in range(40)} for s in world.splits}
    assert len(keys["train"]) > 36  # so the instance space is not tiny
    for split, found in keys.items():
        home = split if split in ("train", "val") else "test"
        assert {core.fold(key) for key in found} == {home}
    assert not keys["train"] & keys["val"] and not (keys["train"] | keys["val"]) & keys["test"]


@each_world
def test_equal_on_every_machine(world):
    digest = hashlib.blake2b(digest_size=8)
    for split in world.splits:
        for seed in range(5):
            clip = world.make(seed, split)
            again = world.make(seed, split)
            assert np.array_equal(clip.video, again.video) and clip.meta == again.meta
            digest.update(clip.video.astype("<f4").tobytes() + repr((clip.prompt, clip.answer)).encode())
    assert digest.hexdigest() == WORLDS[world.name][1]


@each_world
def test_block_codec_is_exact(world):
    """The codec of the embedded models (block mean, nearest upsampling) loses nothing, even through bfloat16."""
    blocks = conditions.blocks(core.BLOCK)
    for split in world.splits:
        video = world.make(0, split).video
        assert np.array_equal(np.asarray(blocks.decode(blocks.encode(jnp.asarray(video)))), video)
        assert np.array_equal(core.block_mean(video), video[:, ::4, ::4])
        assert not (video.view(np.uint32) & 0xFFFF).any()


@each_world
def test_bad_input(world):
    clip = world.make(0, "test")
    for call in (world.score, world.solved):
        for video in (clip.video[:-1], clip.video[0], clip.video[..., :2], clip.video[:, :-4], np.zeros(3)):
            with pytest.raises(ValueError, match="shape"):
                call(clip, video)
        for value in (np.nan, np.inf):
            bad = clip.video.copy()
            bad[3, 5, 7, 1] = value
            with pytest.raises(ValueError, match="not finite"):
                call(clip, bad)
    with pytest.raises(ValueError, match="shape"):
        world.read(clip, clip.video)
    with pytest.raises(ValueError, match="unknown split 'nowhere'"):
        world.make(0, "nowhere")
    for seed in (1.5, "1", None):
        with pytest.raises(TypeError, match="seed"):
            world.make(seed)
    other = tasks.get("ball" if world.name != "ball" else "maze").make(0)
    with pytest.raises(ValueError, match="clip is of task"):
        world.score(other, other.video)
    with pytest.raises(ValueError, match="frames"):
        tasks.get(world.name, frames=1)
    with pytest.raises(ValueError, match="unknown option 'colour'"):
        tasks.get(world.name, colour=1)
    with pytest.raises(ValueError, match="unknown task 'chess'"):
        tasks.get("chess")


@each_world
def test_more_frames(world):
    world = tasks.get(world.name, frames=13)
    for split in world.splits:
        clip = world.make(3, split)
        assert len(clip.video) == 13
        assert world.score(clip, clip.video) == 1.0 and world.score(clip, frozen(clip.video, 0)) == 0.0
        assert world.score(clip, frozen(clip.video, -1)) == (0.5 if world.decisive == (-1,) else 0.0)


@each_world
def test_numpy_seeds_and_big_seeds(world):
    assert np.array_equal(world.make(np.int64(5)).video, world.make(5).video)
    clip = world.make(-(10**30))
    assert world.score(clip, clip.video) == 1.0


@each_world
def test_fast_enough_to_feed_training(world):
    world.make(0)
    start = time.process_time()
    for seed in range(1, 51):
        world.make(seed)
    assert (time.process_time() - start) / 50 < 0.010  # measured: below 0.002 on one old core


def test_a_new_world_is_five_functions():
    class Lamp(core.Task):
        """Switch on the lamp."""

        name = "lamp"
        colours = ("floor", "wall", "yellow")

        def draw(self, rng, split):
            return {"frames": self.frames, "lamps": sorted(rng.sample(range(25), 5))}

        def key(self, layout):
            return repr(layout["lamps"]).encode()

        def answers(self, layout):
            return [core.Answer(str(i), float(i == 1), lamp) for i, lamp in enumerate(layout["lamps"])]

        def film(self, layout, move):
            film = np.zeros((layout["frames"], 100), np.uint8)
            film[:, layout["lamps"]] = core.INDEX["wall"]
            if move is not None:
                film[2:, move] = core.INDEX["yellow"]
            return film.reshape(-1, 10, 10)

        def prompt(self, layout):
            return "Switch on the second lamp."

        def describe(self, layout, raster):
            return {}

        def symbols(self, clip):
            return {}

    world = Lamp()
    clip = world.make(0, "test")
    assert world.score(clip, clip.video) == 1.0 and clip.answer == "1"
    assert [world.score(clip, v) for v in world.candidates(clip)] == list(world.prior(clip))
    with pytest.raises(ValueError, match="no counterfactual"):
        world.counterfactual(clip)
