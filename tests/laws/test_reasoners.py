"""What every reasoner of `vrjax.reasoning.thoughts.reasoners` must do, and what each of them says it does beside.

A new reasoner is one file with its `REASONER` and `IMAGER`, and one row in `ROWS`.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrjax import tasks
from vrjax.reasoning.thoughts import files as thought_files
from vrjax.reasoning.thoughts import pictures, reasoners
from vrjax.reasoning.thoughts.keyframes import FirstThought, Imager, NextThought, Reasoner, VisualThoughts, think
from vrjax.reasoning.thoughts.reasoners import noisy as reasoner_noisy
from vrjax.reasoning.thoughts.reasoners import replay as reasoner_replay
from vrjax.reasoning.thoughts.reasoners.noisy import NoisyImager, NoisyReasoner
from vrjax.reasoning.thoughts.reasoners.oracle import Oracle, state_words
from vrjax.tasks.core import Draws


def frame(seed, h=4, w=6):
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), np.uint8)


def chain(n):
    captions = tuple(f"state {i}" for i in range(1, n))
    return VisualThoughts("p", "t", "c", "long", "state 0", captions, tuple(map(frame, range(n))))


def same(a, b):
    assert a[:6] == b[:6] and len(a.frames) == len(b.frames)
    for x, y in zip(a.frames, b.frames, strict=True):
        np.testing.assert_array_equal(x, y)


# The law ------------------------------------------------------------------------------------------------------------


class Letters:
    """States of two letters, which fall in turn: what a learned reasoner is given to read and draw."""

    def parse(self, text):
        return np.array(["ab".index(letter) for letter in text])

    def describe(self, row):
        return "".join("ab"[s] for s in row)

    def read(self, frame):
        return frame[0, :, 0].astype(int)

    def draw(self, row):
        return np.repeat(np.asarray(row, np.uint8)[None, :, None], 3, -1)


def asked(kind, clip):
    """(prompt, reasoner, imager) of each kind of reasoner."""
    reasoner, imager = reasoners.get(kind)
    if kind == "oracle":
        oracle = reasoner(tasks.get("ball"), clip, keyframes=3)
        return clip.prompt, oracle, oracle
    if kind == "replay":
        replay = reasoner(chain(3))
        return "p", replay, replay
    if kind == "learned":
        learned = reasoner(lambda row: np.maximum(row, np.roll(row, 1)), Letters(), keyframes=3)
        return "baaa", learned, learned
    if kind == "noisy":
        return "p", reasoner(Counting(), 0.5, 0), imager(Counting(), 0.5, 0)
    raise KeyError(kind)


# http asks a server: tests/reasoning/test_reasoners_http.py holds it to this law against a local one
ROWS = ("oracle", "replay", "learned", "noisy")


def obeys(prompt, reasoner, imager, limit=4):
    """The law: a pair answers its protocol, its chain is whole and ends, and asked again it says and draws the same."""
    assert isinstance(reasoner, Reasoner) and isinstance(imager, Imager)
    first = think(prompt, reasoner, imager, limit=limit)
    again = think(prompt, reasoner, imager, limit=limit)
    assert first.calls <= limit and (first.stopped, first.calls) == (again.stopped, again.calls)
    same(first.thoughts, again.thoughts)
    assert first.thoughts.input_prompt == prompt
    for n in range(1, len(first.thoughts.frames)):  # stateless: asked in another order it says the same
        before = first.thoughts.frames[: len(first.thoughts.frames) - n]
        edit, _ = reasoner.next(prompt, first.thoughts.consequences, before)
        assert edit == first.thoughts.key_frames[len(before) - 1]


def test_every_reasoner_has_its_row():
    assert {*ROWS, "http"} == set(reasoners.names())
    with pytest.raises(ValueError, match="unknown reasoner 'guess', expected one of http, learned"):
        reasoners.get("guess")


@pytest.mark.parametrize("kind", ROWS)
def test_a_reasoner_is_stateless_and_ends(kind):
    obeys(*asked(kind, tasks.get("ball").make(3)))


# Replay --------------------------------------------------------------------------------------------------------------


def test_a_folder_is_repeated(tmp_path):
    thought_files.write(tmp_path / "a", {f"case{n}": chain(n) for n in (1, 2, 4)})
    replays = reasoner_replay.folder(tmp_path / "a")
    for n in (1, 2, 4):
        replay = replays[f"case{n}"]
        thinking = think("p", replay, replay)
        same(thinking.thoughts, chain(n))
        assert (thinking.stopped, thinking.calls) == ("last", max(1, n - 1))
    with pytest.raises(ValueError, match="asked about 'q', but holds 'p'"):
        think("q", replay, replay)
    with pytest.raises(ValueError, match="what follows 4 frames, holds 4"):
        replay.next("p", "", [frame(0)] * 4)


# Oracle --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", tasks.names())
@pytest.mark.parametrize("keyframes", [1, 3])
def test_oracles_draw_the_film_of_every_world(name, keyframes):
    world = tasks.get(name)
    clip = world.make(5, "val")
    oracle = Oracle(world, clip, keyframes=keyframes)
    thinking = think(clip.prompt, oracle, oracle)
    thoughts = thinking.thoughts
    assert thinking.stopped == "last"
    assert thoughts.captions == oracle.captions
    assert len(thoughts.frames) == len(oracle.instants) <= keyframes
    for i, drawn in zip(oracle.instants, thoughts.frames, strict=True):
        # what the verifier reads off the keyframe is what the film shows
        seen = world.read(clip, pictures.to_float(drawn))
        np.testing.assert_array_equal(seen["raster"], world.read(clip, clip.video[i])["raster"])
    if keyframes > 1:
        assert oracle.instants[0] == 0 and world.read(clip, pictures.to_float(thoughts.frames[-1]))["right"]


def test_instants_can_be_chosen_and_are_checked():
    world = tasks.get("ball")
    clip = world.make(0)
    oracle = Oracle(world, clip, instants=(0, 2, 7))
    thoughts = think(clip.prompt, oracle, oracle).thoughts
    np.testing.assert_array_equal(thoughts.frames[1], pictures.to_uint8(clip.video[2]))
    for wrong in ((), (1, 2), (0, 2, 2), (0, 5, 3), (0, 9)):
        with pytest.raises(ValueError, match="instants"):
            Oracle(world, clip, instants=wrong)
    with pytest.raises(ValueError, match="keyframes is 0"):
        Oracle(world, clip, keyframes=0)
    with pytest.raises(ValueError, match="empty caption"):
        Oracle(world, clip, describe=lambda world, clip, frame: " ")
    with pytest.raises(ValueError, match="asked about"):
        oracle.first("Another question")
    with pytest.raises(ValueError, match="what follows 3 keyframes, knows 3"):
        oracle.edit(thoughts.frames, "x")


def test_the_imager_draws_what_it_is_told():
    world = tasks.get("ball")
    clip = world.make(1)
    oracle = Oracle(world, clip, instants=(0, 3, 8))
    first, second, third = think(clip.prompt, oracle, oracle).thoughts.frames
    assert oracle.decoys(0) == ()  # all films begin alike
    wrong = oracle.decoys(2)
    assert wrong and oracle.captions[2] not in wrong
    films = world.candidates(clip, pad=False)
    for text in wrong:
        drawn = oracle.edit([first, second], text)
        assert any(np.array_equal(drawn, pictures.to_uint8(film[8])) for film in films)
        assert not world.read(clip, pictures.to_float(drawn))["right"]
    np.testing.assert_array_equal(oracle.edit([first], oracle.captions[2]), third)  # too early, but as told
    np.testing.assert_array_equal(oracle.edit([first, second], "gibberish"), second)


def test_states_in_words():
    state = {"ball": (3, 4), "tail": None, "walls": True, "arrived": False, "ring": {"red dot": 2}, "path": "RRD"}
    assert state_words(state) == "ball 3 4, walls, not arrived, ring red dot 2, path RRD"
    assert state_words({"marks": [(1, 2, "red"), (3, 1, "blue")]}) == "marks 1 2 red 3 1 blue"


# Noise ---------------------------------------------------------------------------------------------------------------


class Counting:
    """An endless chain: caption "word i is here", frame i."""

    def first(self, prompt):
        return FirstThought("", "", "long", "word 0 is here")

    def next(self, prompt, consequences, frames):
        return NextThought(f"word {len(frames)} is here", False)

    def generate(self, text):
        return frame(0)

    def edit(self, frames, instruction):
        return frame(len(frames))


def noise(frame, before, draws):
    """Uniform noise in every pixel."""
    return np.random.default_rng(draws.bits()).integers(0, 256, frame.shape, np.uint8)


def run(rate, seed, prompt="p", limit=20):
    reasoner = NoisyReasoner(Counting(), rate, seed, replace=lambda text, i, draws: f"wrong {draws.below(1000)}")
    imager = NoisyImager(Counting(), rate, seed, replace=noise)
    return think(prompt, reasoner, imager, limit=limit).thoughts


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_errors_are_nested_in_the_rate_and_repeat(seed, low, high):
    low, high = sorted((low, high))
    clean, few, many = run(0.0, seed), run(low, seed), run(high, seed)
    same(run(low, seed), few)
    for i, true in enumerate(clean.captions):
        assert few.captions[i] in (true, many.captions[i])  # wrong at the low rate: equally wrong at the high one
        assert np.array_equal(few.frames[i], clean.frames[i]) or np.array_equal(few.frames[i], many.frames[i])


def test_rate_0_is_the_inner_chain_and_rate_1_errs_everywhere():
    inner = Counting()
    same(run(0.0, 3), think("p", inner, inner, limit=20).thoughts)
    wrong = run(1.0, 3)
    assert all(text.startswith("wrong") for text in wrong.captions)
    assert not any(np.array_equal(f, frame(i)) for i, f in enumerate(wrong.frames))


def test_the_rate_is_the_rate():
    texts, images = [], []
    for seed in range(60):
        noisy = run(0.3, seed, prompt=f"p{seed}")
        texts += [t.startswith("wrong") for t in noisy.captions]
        images += [not np.array_equal(f, frame(i)) for i, f in enumerate(noisy.frames)]
    for errors in (texts, images):  # 1260 draws: four standard errors are 0.052
        assert abs(np.mean(errors) - 0.3) < 0.052
    # captions of different prompts, and captions and images, err independently
    patterns = {tuple(t.startswith("wrong") for t in run(0.5, 0, prompt=p).captions) for p in "abcd"}
    assert len(patterns) == 4
    assert abs(np.corrcoef(texts, images)[0, 1]) < 0.12


def test_wrong_rates_are_refused():
    for rate in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="expected a probability"):
            NoisyReasoner(Counting(), rate, 0)
        with pytest.raises(ValueError, match="expected a probability"):
            NoisyImager(Counting(), rate, 0)


def test_ways_to_be_wrong():
    draws = Draws("t")
    assert sorted(reasoner_noisy.scrambled("a b c d e f", 1, draws).split()) == list("abcdef")
    assert reasoner_noisy.other_text(["x", "y"])("x", 1, draws) == "y"
    assert reasoner_noisy.other_text(["x"])("x", 1, draws) == "x"
    f, before = frame(1), [frame(0)]
    np.testing.assert_array_equal(reasoner_noisy.frozen(f, before, draws), before[0])
    np.testing.assert_array_equal(reasoner_noisy.frozen(f, [], draws), f)


def test_a_wrong_caption_leads_to_a_wrong_image():
    """Decoys through the oracle: every keyframe on which the films differ shows a wrong answer, with its caption."""
    world = tasks.get("maze")
    clip = world.make(2, "test")
    oracle = Oracle(world, clip, keyframes=4)
    thoughts = think(clip.prompt, NoisyReasoner(oracle, 1.0, 7, replace=reasoner_noisy.decoys(oracle)), oracle).thoughts
    last = pictures.to_float(thoughts.frames[-1])
    assert not world.read(clip, last)["right"]
    assert thoughts.captions[-1] in oracle.decoys(len(oracle.instants) - 1)
    assert thoughts.captions[0] == oracle.captions[0]
