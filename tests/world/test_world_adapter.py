"""Pipelines as worlds: the same clips as the pipeline's own, exact films, what is read, what is refused."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import MODEL, save_base

from tests.models import tiny_wan
from vrjax import tasks, world
from vrjax.models import pipeline
from vrjax.models.embedded import conditions
from vrjax.world import Instruction, adapter, ladder
from vrjax.world.adapter import films

KEY = jax.random.key(4)
PROMPT = "Draw the path through the maze from green to blue."


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    """An untrained tiny model of mazes."""
    folder = tmp_path_factory.mktemp("model")
    save_base(folder)
    (folder / "training.json").write_text('{"config": {"name": "tiny", "data": {"mix": {"maze": 1.0}}}}')
    return pipeline.open(folder)


@pytest.fixture(scope="module")
def w(pipe):
    return adapter.of_task(pipe, "maze", clips=6, steps=2)


step = jax.jit(lambda w, state, inputs, key: w.step(state, inputs, key))


# ------------------------------------------------------------------------------------------------ the pipeline's clips


def noise_of(w, key):
    """The noise of a step, as the sampler draws it."""
    return jax.random.normal(jax.random.split(key)[0], (1, *w.sampler.latent))


def test_a_step_is_the_clip_that_the_pipeline_samples(w, pipe):
    """Of the last frame of what was seen, from the same noise; and the next one of that clip's last frame."""
    clip = tasks.get("maze").make(0, "test")
    state = w.encode({"frames": clip.video[:3], "prompt": PROMPT})
    saying = Instruction(jnp.zeros(w.sampler.rows))  # nothing new: the prompt stays
    seen = clip.video[2]
    for turn in range(2):
        key = jax.random.fold_in(KEY, turn)
        state = step(w, state, saying, key)
        found = pipe.sample(PROMPT, image=seen, frames=9, steps=2, noise=noise_of(w, key))
        found = pipe.decode(found.final)[0]
        assert state.film.shape == (8, 40, 40, 3) == (w.frames_a_step, *w.frame)
        np.testing.assert_allclose(state.film, np.clip(found[1:], -1, 1), atol=2e-5)
        seen = np.asarray(w.render(state))
    np.testing.assert_array_equal(seen, state.film[-1])
    np.testing.assert_array_equal(w.film(state), state.film)
    assert np.ptp(state.film) > 0.1


def test_another_prompt_and_key_is_another_clip(w):
    state = w.make(KEY)
    one = step(w, state, w.parse(PROMPT), KEY)
    chex.assert_trees_all_equal(step(w, state, w.parse(PROMPT), KEY), one)
    for other in (step(w, state, w.parse("the blue square"), KEY), step(w, state, w.parse(PROMPT), jax.random.key(9))):
        assert np.abs(other.film - one.film).max() > 1e-3
    np.testing.assert_array_equal(w.encode({"frames": state.film, "prompt": w.parse(PROMPT)}).rows, one.rows)


def test_how_a_clip_comes_about(w):
    """The trajectory of a step ends in the clip that the step shows."""
    state = w.make(KEY)
    found = jax.jit(lambda w, s, i, key: w.denoise(s, i, key))(w, state, w.parse(PROMPT), KEY)
    assert found.x0.shape == (2, *w.sampler.latent)
    video = np.clip(np.asarray(conditions.blocks(4).decode(jnp.asarray(found.final))), -1, 1)
    np.testing.assert_allclose(video[1:], step(w, state, w.parse(PROMPT), KEY).film, atol=2e-5)


def test_seeds_are_one_program_and_rollouts_record_films(w):
    state, said = w.make(KEY), world.repeat(w.parse(PROMPT), 2)
    keys = jax.random.split(KEY, 2)
    run = lambda key: world.rollout(w, state, said, key, record=("films", "frames", "decoded"))[1]
    many = jax.vmap(run)(keys)
    assert many.films.shape == (2, 2, 8, 40, 40, 3)
    np.testing.assert_array_equal(many.films[:, :, -1], many.frames)
    np.testing.assert_allclose(run(keys[1]).films, many.films[1], atol=1e-5)
    assert many.decoded["shown"].shape == (2, 2, 8, 10, 10)


@pytest.mark.parametrize(("kind", "experts"), [("ti2v", 1), ("i2v", 2)])
def test_public_weights(kind, experts, tmp_path):
    """Of each way to give a picture: what `Pipeline.sample` and `decode` make of it."""
    pipe = pipeline.open(tiny_wan.build(tmp_path, kind, experts=experts))
    w = adapter.wrap(pipe, frames=5, size=(32, 32), steps=2, guidance=2.0)
    picture = np.random.default_rng(0).integers(0, 256, w.frame, dtype=np.uint8)
    state = step(w, w.encode({"frames": picture, "prompt": w.parse("a ball")}), w.parse("a cat"), KEY)
    noise = noise_of(w, KEY)
    found = pipe.sample("a cat", image=picture, frames=5, size=(32, 32), steps=2, guidance=2.0, noise=noise)
    found = pipe.decode(found.final)[0]
    assert w.frames_a_step == 4 == len(state.film)
    np.testing.assert_allclose(state.film, np.clip(found[1:], -1, 1), atol=1e-4)


def test_a_model_of_text_alone_begins_anew_with_every_step(tmp_path):
    """All frames of its clips are new, whatever was seen before."""
    w = adapter.wrap(pipeline.open(tiny_wan.build(tmp_path)), frames=5, size=(32, 32), steps=2)
    assert (w.frames_a_step, w.sampler.picture, w.sampler.settings.guidance) == (5, "no", (6.0,))
    states = [w.encode(np.full(w.frame, shade, np.float32)) for shade in (0.0, 0.5)]
    given = [w.sampler._given(w.parts, state.film[-1]) for state in states]
    assert given[0] == given[1] and w.parts.negative.shape == w.sampler.rows


def test_any_function_is_a_world():
    """A clip that goes on from the picture, one shade lighter a frame."""

    def brighten(parts, picture, rows, key):
        return picture + parts * rows[0] * (1 + jnp.arange(3.0))[:, None, None, None]

    w = adapter.wrap_function(brighten, frame=(2, 2, 3), rows=(1,), parts=jnp.float32(0.1))
    state = w.encode(np.zeros((2, 2, 3), np.float32))
    final, history = world.rollout(w, state, Instruction(jnp.array([[1.0], [0.0], [-1.0]])), KEY, record=("films",))
    found = np.asarray(history.films)[..., 0, 0, 0]
    np.testing.assert_allclose(found, [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.5, 0.4, 0.3]], atol=1e-6)
    np.testing.assert_allclose(w.render(final), 0.3, atol=1e-6)


# ------------------------------------------------------------------------------------------------------------- films


def test_films_are_the_tasks_clips(w):
    """Every clip's film, when its question is asked; the verifier agrees with `success`, on pictures that fail too."""
    task, home = tasks.get("maze"), w.home
    rng = np.random.default_rng(0)
    for i in range(4):
        clip = task.make(i, "test")
        state = jax.tree.map(lambda a, i=i: a[i], home.clips)
        np.testing.assert_array_equal(home.render(state), clip.first_frame)
        assert not home.success(state)
        after = home.step(state, home.parse(clip.prompt), KEY)
        np.testing.assert_array_equal(home.film(after), clip.video[1:])
        assert home.success(after) and task.solved(clip, clip.video)
        still = home.step(state, home.parse("Draw nothing."), KEY)
        np.testing.assert_array_equal(home.film(still), np.repeat(clip.video[:1], 8, 0))
        chex.assert_trees_all_equal(home.step(after, home.parse(clip.prompt), KEY).shown[-1], after.shown[-1])
        read = films.reader("maze")
        for spoil in (0.1, 2.0):
            video = (clip.video + rng.uniform(-spoil, spoil, clip.video.shape)).clip(-1, 1).astype(np.float32)
            seen = after._replace(**{name: jnp.asarray(a) for name, a in read(video[1:]).items()})
            assert bool(home.success(seen)) == task.solved(clip, video)
            np.testing.assert_array_equal(seen.shown[-1], task.read(clip, video[-1])["raster"])
        assert int(home.obeyed(state, jax.tree.map(lambda a: a[None], after), home.parse(clip.prompt))) == 1
        chex.assert_trees_all_equal(home.encode(home.decode(after)), after)


# ------------------------------------------------------------------------------------------------------------- ladder

SIZES = ladder.Sizes(runs=16, steps=4, frames=3, coins=100)
ASKED = ("F1", "F2", "I6", "P4")


@pytest.fixture(scope="module")
def cards(w):
    """The untrained model, the films themselves, and two controls."""
    control = lambda name: ladder.controls.get(name, w.home)
    subjects = {"model": w, "exact": w.home, "frozen": control("frozen"), "retrieval": control("retrieval")}
    subjects |= {"blurred": control("blurred")}
    return {
        name: ladder.run(x, KEY, truth=w.home if name != "model" else None, only=ASKED, sizes=SIZES)
        for name, x in subjects.items()
    }


def test_films_pass_what_can_be_asked_and_each_control_fails(cards):
    verdicts = {name: [row.verdict for row in card.rows] for name, card in cards.items()}
    assert set(verdicts["exact"]) == {"passed"}, cards["exact"].show()
    for name in ("model", "frozen", "retrieval"):
        assert cards[name].generation == 0
        assert cards[name]["F1"].verdict == cards[name]["I6"].verdict == "failed", cards[name].show()
    assert cards["model"]["F2"].verdict == "failed" and cards["blurred"]["F2"].verdict == "failed"
    assert cards["model"]["P4"].verdict == "failed" and cards["retrieval"]["P4"].verdict == "failed"
    assert cards["model"].truth == "films"


def test_the_overlap_of_colours_is_counted_by_hand(w):
    """One block of the path that is missing in one frame, of all the path's."""
    from vrjax.world.ladder.facts import films as facts

    first = jax.tree.map(lambda a: a[0], w.home.clips)
    true = w.home.step(first, w.home.parse(PROMPT), KEY)
    red, floor = (tasks.core.INDEX[name] for name in ("red", "floor"))
    t, y, x = np.argwhere(np.asarray(true.shown) == red)[-1]
    mine = true._replace(shown=true.shown.at[t, y, x].set(floor))
    shared, either = np.asarray(facts.matched(w.home.decode(mine), w.home.decode(true)))
    count = int((np.asarray(true.shown) == red).sum())
    assert (shared[red], either[red]) == (count - 1, count) and either[floor] == shared[floor] + 1
    walls = facts.violations({"shown": true.shown[None].at[0, :, 0, 0].set(floor), "film": true.film[None]}, None)
    wall = np.asarray(true.film[0, 0, 0]) == tasks.core.INDEX["wall"]
    assert float(walls["share of blocks where a wall is gone"][0]) == pytest.approx(0.01 if wall else 0.0)


def test_what_cannot_be_asked_of_a_film_is_said(w):
    card = ladder.run(w, KEY, only=("F3", "F4", "I1", "I2", "I4", "P3", "P5", "S1", "S2"), sizes=SIZES)
    assert {row.verdict for row in card.rows} == {"not applicable"} and card.generation == 0
    assert card["I1"].why == "adapter: takes no action"
    assert card["I2"].why == "films: knows one instruction only, no other can take its place"
    assert "one right answer each" in card["S1"].why == card["S2"].why


# ------------------------------------------------------------------------------------------------------------- refused


def test_what_is_refused(w, pipe, tmp_path):
    def line(match, call):
        with pytest.raises(ValueError, match=match) as error:
            call()
        assert "\n" not in str(error.value)

    state, frame = w.make(KEY), np.zeros(w.frame, np.float32)
    line(
        r"adapter: frames must have shape \(f, 40, 40, 3\), found \(1, 8, 8, 3\)",
        lambda: w.encode(np.zeros((8, 8, 3))),
    )
    line(r"adapter: observation has \['prompt'\], expected frames", lambda: w.encode({"prompt": PROMPT}))
    line(
        r"a prompt must have shape \(16, 8\), found", lambda: w.encode({"frames": frame, "prompt": Instruction(frame)})
    )
    line("adapter: unknown input 'action', expected one of instruction", lambda: w.step(state, np.zeros(2), KEY))
    line(r"instruction must have shape \(16, 8\)", lambda: w.step(state, Instruction(np.zeros(3)), KEY))
    line("adapter: found a ndarray, expected a State", lambda: w.step(frame, w.parse(PROMPT), KEY))
    line("prompt has 17 words", lambda: w.parse("a " * 17))
    plain = adapter.wrap(pipe, frames=5, size=(40, 40), steps=1)
    line("since no reader was given", lambda: plain.decode(plain.encode(frame)))
    line("cannot begin by itself", lambda: plain.make(KEY))
    line("frames=1, expected at least 2", lambda: adapter.wrap(pipe, frames=1, size=(40, 40)))
    line("frames_a_step is 4, that of films 8", lambda: adapter.wrap(pipe, home=w.home, frames=5, size=(40, 40)))
    line("clips of maze_goals have . right answers", lambda: adapter.of_task(pipe, "maze_goals", clips=2))
    line("clips=0, expected at least 1", lambda: adapter.of_task(pipe, "maze", clips=0))
    line(
        r"the function yields frames of shape \(2, 2, 3\), expected \(f, 2, 2, 3\)",
        lambda: adapter.wrap_function(lambda parts, p, rows, key: p, frame=(2, 2, 3), rows=(1,)),
    )
    mute = adapter.wrap_function(lambda parts, p, rows, key: p[None], frame=(2, 2, 3), rows=(1,))
    line("this world reads no text, found 'go'", lambda: mute.parse("go"))
    line("a function has no trajectory", lambda: mute.denoise(mute.encode(frame[:2, :2]), Instruction(np.ones(1)), KEY))
    line("a step of adapter yields 1 frames, one of films 8", lambda: ladder.run(mute, KEY, truth=w.home))
    with_clip = pipeline.open(tiny_wan.build(tmp_path / "clip", "i2v", clip=True))
    line("looks at its picture through CLIP too", lambda: adapter.wrap(with_clip))
    line("was trained on no task", lambda: adapter.of_task(tiny_wan.build(tmp_path / "public"), "maze"))


def test_the_weights_are_leaves(w):
    """Other weights of the same shapes share the program; what is static is equal for equal settings."""
    assert MODEL.dim == 24
    doubled = dataclasses.replace(w, parts=jax.tree.map(lambda a: 1.5 * a, w.parts))
    chex.clear_trace_counter()
    once = jax.jit(chex.assert_max_traces(lambda w, s, i, key: w.step(s, i, key), n=1))
    state = w.make(KEY)
    one, other = (once(who, state, w.parse(PROMPT), KEY).film for who in (w, doubled))
    assert np.abs(one - other).max() > 1e-3
