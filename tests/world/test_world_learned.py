"""A learned world: parts by hand, steps against a rollout of the network, files, training."""

import dataclasses
import json
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import Cut

from configs.world_model import push as shipped
from tests.world.world_toys import NETWORK, SPEC, untrained
from vrjax import parallel, world
from vrjax.flow import Level
from vrjax.models import causal, family
from vrjax.train import state as states
from vrjax.train.config import Checkpoint, Data, Objective, Optim
from vrjax.world import exact, learned
from vrjax.world.exact import push
from vrjax.world.learned import patches, practice, reader, train

KEY = jax.random.key(5)
ACTIONS = np.random.default_rng(1).uniform(-1, 1, (4, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def w():
    return untrained()


@pytest.fixture(scope="module")
def begun(w):
    return jax.jit(lambda w: w.make(jax.random.key(1)))(w)


# --------------------------------------------------------------------------------------------------------------- parts


def test_squares_of_pixels_and_their_components():
    """All components lose nothing; fewer lose the variance that is said; latents have a mean square of 1."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(12, 12)) * np.linspace(2, 0.1, 12)[:, None]
    squares = rng.normal(size=(40, 4, 4, 12)) @ mixing
    frames = squares.reshape(40, 4, 4, 2, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(40, 8, 8, 3)
    whole, share = patches.fit(frames, 2, 12)
    assert share == pytest.approx(1)
    seen = jnp.asarray(frames, jnp.float32)
    np.testing.assert_allclose(patches.decode(whole, patches.encode(whole, seen)), frames, atol=1e-4)
    few, share = patches.fit(frames, 2, 5)
    latent = patches.encode(few, seen)
    assert latent.shape == (40, 4, 4, 5)
    assert float(jnp.mean((latent - latent.mean((0, 1, 2))) ** 2)) == pytest.approx(1, rel=1e-4)
    lost = np.mean((np.asarray(patches.decode(few, latent)) - frames) ** 2) * 12
    rows = squares.reshape(-1, 12)
    assert lost == pytest.approx((1 - share) * rows.var(0).sum(), rel=1e-3) and 0.5 < share < 1
    with pytest.raises(ValueError, match="patches: squares of 3 and 5 channels for frames of 8 x 8"):
        patches.fit(frames, 3, 5)


def test_a_reader_finds_a_spot():
    """Trained for seconds it reads a bright spot to a tenth of a pixel, among a dim one that it is not asked for."""

    def draw(key):
        places = jax.random.uniform(key, (2, 2), minval=1.5, maxval=6.5)
        at = jnp.stack(jnp.meshgrid(jnp.arange(8) + 0.5, jnp.arange(8) + 0.5), -1)
        spot = lambda place: jnp.exp(-jnp.sum((at - place) ** 2, -1) / 2)
        frame = jnp.stack([spot(places[0]), 0.5 * spot(places[1]), jnp.zeros((8, 8))], -1)
        return frame, places[:1]

    found, error = reader.fit(KEY, draw, 1, updates=150, batch=16, width=8)
    assert float(error) < 0.2
    frame, places = draw(jax.random.key(9))
    np.testing.assert_allclose(reader.read(found, frame), places, atol=0.4)
    slope = jax.grad(lambda frame: reader.read(found, frame)[0, 0])(frame)
    assert np.isfinite(slope).all() and np.abs(slope).max() > 1e-3


def test_films_show_what_was_done():
    """Row t of the actions led to frame t: where nothing is in the way the agent moved by just that; blocks are met."""
    home: Any = exact.get("push", blocks=1, walls=0)
    names = ("agent", "blocks", "goal")
    filmed = lambda shoved: jax.jit(jax.vmap(lambda key: practice.film(home, names, key, 6, shoved=shoved)))
    films, shoves = (filmed(shoved)(jax.random.split(KEY, 64)) for shoved in ((), ("blocks",)))
    assert films.frames.shape == (64, 6, 16, 16, 3) and films.places.shape == (64, 6, 3, 2)
    assert not np.asarray(films.actions)[:, 0].any()
    moved = np.diff(films.places[:, :, 0], axis=1)
    off = lambda actions: np.linalg.norm(moved - actions, axis=-1) < 1e-4
    free = off(films.actions[:, 1:]).mean()
    assert free > 0.5 and off(films.actions[:, :-1]).mean() < 0.1
    pushed = np.abs(np.diff(films.places[:, :, 1], axis=1)).max(-1) > 0.05
    assert pushed.any(1).mean() > 0.3 and np.ptp(films.places[:, :, 2], axis=1).max() == 0
    # The frames are the places': the agent's pupil is white where it stands.
    centre = np.floor(films.places[:, :, 0]).astype(int)
    alone = films.frames[np.arange(64)[:, None], np.arange(6), centre[..., 1], centre[..., 0]]
    assert np.mean(np.asarray(alone)[..., 1] > 0.2) > 0.9
    assert (np.abs(np.diff(shoves.places[:, :, 1], axis=1)).max(-1) > 0.05).mean() > 1.4 * pushed.mean()
    blind = jax.jit(lambda key: practice.film(home, (), key, 4))(KEY)  # an agent that only wanders
    assert blind.places.shape == (4, 0, 2) and np.ptp(blind.actions[1:], axis=0).min() > 0
    with pytest.raises(ValueError, match="push: 'told' is no place, expected some of agent, blocks, goal"):
        practice.check(home, ("agent", "told"))
    with pytest.raises(ValueError, match=r"push: shoved=\('goal',\), expected the first of \('blocks', 'goal'\)"):
        practice.film(home, names, KEY, 2, shoved=("goal",))


def test_films_of_a_world_with_an_end_are_of_all_that_leads_there():
    """The grid: the key is taken in some films and held from the start in others, doors are gone through."""
    home, names = exact.get("grid"), ("agent", "item", "door", "goal")
    shot = jax.jit(jax.vmap(lambda key: practice.film(home, names, key, 4, shoved=("item",))))
    places = np.asarray(shot(jax.random.split(KEY, 64)).places)
    at = lambda thing: np.all(places[:, :, 0] == places[:, :, thing], -1)
    held = at(1)
    assert 0.3 < held[:, 0].mean() < 0.9 and np.all(held[:, 1:] >= held[:, :-1])
    assert 0.02 < (held[:, -1] & ~held[:, 0]).mean() < 0.5
    assert at(2).any() and at(3)[:, 0].mean() < 0.5
    assert np.abs(np.diff(places[:, :, 0], axis=1)).sum(-1).max() == 1


def test_a_shove_begins_behind_the_thing():
    """Along +x: from behind straight on, past the thing's place; from elsewhere first to the place behind it."""
    way, beside = jnp.array([0.5, 0.0]), jnp.array([9.0, 0.4])
    np.testing.assert_allclose(practice._shove(jnp.array([4.0, 1.0]), way, beside), [5.0, 1.2])  # a little aside
    for away in ([-4.0, 1.0], [0.0, 3.0]):
        found = practice._shove(jnp.array(away), way, beside)
        np.testing.assert_allclose(found, [away[0] - practice.BEHIND, away[1]])


def test_things_are_shoved_to_the_midst_as_well_as_to_the_edge():
    """What ends at an edge cannot be shoved from there: films begin before that, and things are shoved to all sides."""
    home: Any = exact.get("push", blocks=1, walls=0)
    shot = jax.jit(jax.vmap(lambda key: practice.film(home, ("agent", "blocks"), key, 6, shoved=("blocks",))))
    blocks = np.asarray(shot(jax.random.split(KEY, 128)).places)[:, :, 1]
    moved = np.diff(blocks, axis=1)
    pushed = np.linalg.norm(moved, axis=-1) > 0.1
    midst = np.all(np.abs(blocks[:, :-1] - 8) < 4, -1)
    inward = np.sum((8 - blocks[:, :-1]) * moved, -1) > 0
    assert midst.mean() > 0.45 and (pushed & midst).mean() > 0.2 and (pushed & midst & inward).mean() > 0.05


# --------------------------------------------------------------------------------------------------------------- steps


def test_steps_are_a_rollout_of_the_network():
    """One denoising step a frame, from the same noise: what `causal.rollout` makes of the same given frame."""
    w = untrained(spec=dataclasses.replace(SPEC, steps=1))
    begun = jax.jit(lambda w: w.make(jax.random.key(1)))(w)
    final, history = world.rollout(w, begun, ACTIONS, KEY, record=("states", "frames"))
    key_of = lambda t: jax.random.split(world.step_key(KEY, t))[0]
    noise = np.concatenate([jax.random.normal(key_of(t), (1, *begun.latent.shape)) for t in range(4)])
    actions = np.concatenate([np.zeros((1, 2), np.float32), ACTIONS])
    options = {"chunk": 1, "window": 3, "positions": "relative", "given": begun.latent[None], "actions": actions}
    alone = causal.rollout(w.network, None, noise, steps=(1000,), shift=1.0, **options)
    np.testing.assert_allclose(history.states.latent, alone.latents[1:], rtol=0, atol=2e-5)
    shown = np.clip(patches.decode(w.patches, alone.latents[1:]), -1, 1)
    np.testing.assert_allclose(history.frames, shown, rtol=0, atol=2e-5)
    assert int(final.memory.cache.seen) == 5


def test_frames_before_are_remembered(w):
    """What is encoded of a film is what steps would remember of it, and it matters."""
    frames = np.random.default_rng(2).uniform(-1, 1, (3, 16, 16, 3)).astype(np.float32)
    told = {"frames": frames, "actions": np.concatenate([np.zeros((1, 2)), ACTIONS[:2]]).astype(np.float32)}
    state = w.encode(told, KEY)
    shorter = w.encode(frames[-1], KEY)
    latents = patches.encode(w.patches, jnp.asarray(frames))
    assert int(state.memory.cache.seen) == 3 and int(shorter.memory.cache.seen) == 1
    np.testing.assert_array_equal(state.latent, latents[-1])
    context, memory = w.network.context(ahead=True), causal.Memory(2, 3, 0, "relative")
    cache = causal.cache.empty(w.network, memory, 4, 4)
    for latent, action in zip(latents, told["actions"], strict=True):
        cache = causal.cache.after(w.network, cache, memory, latent[None], 0.0, context, actions=action[None])
    chex.assert_trees_all_close(state.memory.cache, cache, atol=1e-5)
    step = jax.jit(lambda w, state: w.step(state, ACTIONS[0], KEY).latent)
    assert np.abs(step(w, state) - step(w, shorter)).max() > 1e-3
    for name, place in state.still.items():
        np.testing.assert_array_equal(w.decode(state)[name], place)


def test_frames_are_remembered_under_noise(w):
    """The memory holds the frame made noisy, at the level that it is said to have; what is shown is the frame."""
    noisy = untrained(spec=dataclasses.replace(SPEC, context=0.3))
    frames = np.random.default_rng(2).uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
    state = noisy.encode(frames, KEY)
    context, memory = w.network.context(ahead=True), causal.Memory(2, 3, 0, "relative")
    cache = causal.cache.empty(w.network, memory, 4, 4)

    def after(cache, latent, action, key):
        dim = 0.7 * latent + 0.3 * jax.random.normal(key, latent.shape)
        return causal.cache.after(w.network, cache, memory, dim[None], 300.0, context, actions=action[None])

    latents = patches.encode(w.patches, jnp.asarray(frames))
    for latent, key in zip(latents, jax.random.split(KEY, 2), strict=True):
        cache = after(cache, latent, np.zeros(2, np.float32), key)
    chex.assert_trees_all_close(state.memory.cache, cache, atol=1e-5)
    np.testing.assert_array_equal(state.latent, latents[-1])
    stepped, plain = noisy.step(state, ACTIONS[0], KEY), w.step(state, ACTIONS[0], KEY)
    np.testing.assert_array_equal(stepped.latent, plain.latent)
    cache = after(cache, stepped.latent, ACTIONS[0], jax.random.fold_in(KEY, learned.world.BESIDE))
    chex.assert_trees_all_close(stepped.memory.cache, cache, atol=1e-5)
    assert np.abs(stepped.memory.cache.keys - plain.memory.cache.keys).max() > 1e-2
    with pytest.raises(ValueError, match=r"learned: context=1.0, expected a level in \[0, 1\)"):
        dataclasses.replace(SPEC, context=1.0)


def test_a_regression_knows_no_chance(w, begun):
    step = jax.jit(lambda w, state, key: w.step(state, ACTIONS[0], key).latent)
    keys = jax.random.split(KEY)
    assert np.abs(step(w, begun, keys[0]) - step(w, begun, keys[1])).max() > 1e-2
    sure = untrained(spec=dataclasses.replace(SPEC, steps=1, regression=True))
    state = sure.make(KEY)
    np.testing.assert_array_equal(step(sure, state, keys[0]), step(sure, state, keys[1]))
    # It answers from nothing: the latent is what the network says of zeros at level 1, turned about.
    of, memory = learned.world.cached.of(sure.network.cfg), state.memory
    asked = of.chunk(sure.network, memory, jnp.zeros((1, 4, 4, 6)), Level(1.0, 1000.0), {"actions": ACTIONS[:1]})
    np.testing.assert_allclose(step(sure, state, keys[0]), -asked.v[0], atol=1e-5)


def test_a_plan_through_it(w, begun):
    """What does not move stays where it was read; costs and their gradients are finite."""
    options: Any = {"horizon": 2, "candidates": 3, "iterations": 1, "refine": 2, "elites": 2}
    found = world.plan(w, begun, push.cost, KEY, "gradient+cem", **options)
    assert np.isfinite(found.cost) and (np.asarray(found.finite) == 1).all() and found.inputs.shape == (2, 2)
    assert np.abs(found.inputs).max() > 0
    _, told = world.rollout(w, begun, found.inputs, KEY)
    assert set(told.decoded) == {"agent", "blocks", "goal"} and told.decoded["blocks"].shape == (2, 1, 2)
    np.testing.assert_array_equal(told.decoded["goal"], np.tile(begun.still["goal"], (2, 1)))


def test_what_is_refused(w, begun):
    other = untrained(seed=3)
    with pytest.raises(ValueError, match=f"learned: the State is of another model .* expected {int(other.mark):08x}"):
        other.step(begun, ACTIONS[0], KEY)
    wider = untrained(cfg=dataclasses.replace(NETWORK, window=5))
    with pytest.raises(ValueError, match="learned: the State remembers .* expected"):
        jax.jit(lambda w, state: w.step(state, ACTIONS[0], KEY))(wider, begun)
    with pytest.raises(ValueError, match="learned: found a dict, expected a State of this world"):
        w.step({}, ACTIONS[0], KEY)
    with pytest.raises(ValueError, match=r"learned: frames must have shape \(f, 16, 16, 3\), found \(1, 8, 8, 3\)"):
        w.encode(np.zeros((8, 8, 3)), KEY)
    with pytest.raises(ValueError, match=r"learned: actions must have shape \(2, 2\), found \(1, 2\)"):
        w.encode({"frames": np.zeros((2, 16, 16, 3)), "actions": np.zeros((1, 2))}, KEY)
    blind = dataclasses.replace(w, reader=None)
    with pytest.raises(ValueError, match="learned: its states cannot be decoded"):
        blind.decode(begun)
    for change, message in (
        ({"action": 3}, "a network of 3 numbers an action, push has 2"),
        ({"chunk": 2}, "several frames a chunk"),
        ({"text_len": 2}, r"conditions \['actions', 'text'\], expected actions alone"),
    ):
        with pytest.raises(ValueError, match=message):
            learned.world.fits(SPEC, dataclasses.replace(NETWORK, **change))
    with pytest.raises(ValueError, match="learned: steps=2, expected 1: a regression answers at once"):
        dataclasses.replace(SPEC, regression=True)


def test_a_folder_holds_the_world(w, begun, tmp_path):
    learned.save(w, tmp_path / "world", {"seed": 0})
    again = learned.load(tmp_path / "world")
    assert again.spec == w.spec and int(again.mark) == int(w.mark)
    chex.assert_trees_all_equal(jax.tree.leaves(again), jax.tree.leaves(w))
    learned.save(untrained(seed=3), tmp_path / "other")
    (tmp_path / "other" / "parts.safetensors").replace(tmp_path / "world" / "parts.safetensors")
    with pytest.raises(ValueError, match="parts.safetensors: fingerprint .* expected .* of world.json"):
        learned.load(tmp_path / "world")
    with pytest.raises(FileNotFoundError, match="no learned world .*nowhere"):
        learned.load(tmp_path / "nowhere")


# ------------------------------------------------------------------------------------------------------------ training


def config(**options):
    made: dict[str, Any] = {
        "name": "tiny", "model": NETWORK, "spec": SPEC, "steps": 6, "frames": 3, "reading": 2, "measured": 2,
        "data": Data(batch=2), "optim": Optim(lr=1e-2, warmup=1), "checkpoint": Checkpoint(every=2), "dtype": "float32",
    }  # fmt: skip
    return train.WorldConfig(**made | options)


def test_a_run_goes_on_behind_its_own_frames_from_a_learned_world(w, tmp_path):
    """It keeps the squares and the reader of the world that it starts from, whatever its own seed."""
    learned.save(w, tmp_path / "world")
    own: dict[str, Any] = {"start": str(tmp_path / "world" / "network"), "seed": 9, "forcing": "self", "steps": 2}
    further: Any = train.run(config(counts="frame", diverged=1e3, **own), root=tmp_path)
    chex.assert_trees_all_equal((further.patches, further.reader), (w.patches, w.reader))
    rows = [json.loads(line) for line in (tmp_path / "tiny" / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 2 and all(row["grad_norm"] > 0 for row in rows) and int(further.mark) != int(w.mark)
    with pytest.raises(ValueError, match="self-forcing compares frames, found counts='velocity'"):
        config(**own)
    with pytest.raises(ValueError, match="starts from a world of push: .*squares of 4, expected .*squares of 8"):
        train.run(config(counts="frame", patch=8, **own), root=tmp_path / "other")


def test_what_a_network_rolls_out_is_compared_with_the_film(w):
    """One that answers that nothing changes is as far off, in every step, as the film has come from its first frame."""
    made = config(
        model=dataclasses.replace(NETWORK, previous=True, predicts="change"), forcing="self", counts="frame",
    )  # fmt: skip
    network, state, _ = states.make(made, parallel.run_mesh({}))
    batch = {"seed": np.zeros(2, np.uint32), "number": np.arange(2, dtype=np.uint32)}
    _, metrics = jax.jit(train.body(network))(state, {}, w.patches, batch, KEY)
    x0, _ = jax.vmap(lambda n: train.seen(SPEC, 3, w.patches, None, 0, n))(batch["number"])
    wanted = np.mean(np.square(x0[:, :1] - x0[:, 1:]))
    np.testing.assert_allclose(metrics["loss"], wanted, rtol=1e-4)
    np.testing.assert_allclose(metrics["relative"], wanted / np.mean(np.square(x0[:, 1:])), rtol=1e-4)


def test_a_run_ends_in_a_world_and_goes_on_bit_for_bit(tmp_path, monkeypatch):
    w = train.run(config(context=0.2), root=tmp_path / "whole")
    rows = [json.loads(line) for line in (tmp_path / "whole" / "tiny" / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 6 and rows[-1]["relative"] < 0.98 < rows[0]["relative"] < 1.02
    told = learned.files.about(tmp_path / "whole" / "tiny" / "world")["about"]
    assert 0.5 < told["variance"] <= 1 and np.shape(told["drift"]["learned"]) == (6, 2)
    pipeline = train.batches.pipeline
    monkeypatch.setattr(train.batches, "pipeline", lambda *a, **how: Cut(pipeline(*a, **how), 5))
    with pytest.raises(OSError, match="the power is gone"):
        train.run(config(context=0.2, reading=0, measured=0), root=tmp_path / "cut")
    monkeypatch.undo()
    again = train.run(config(context=0.2, reading=0, measured=0), root=tmp_path / "cut")
    assert again.reader is None and w.reader is not None
    chex.assert_trees_all_equal(jax.tree.leaves(again.network), jax.tree.leaves(w.network))
    chex.assert_trees_all_equal(again.patches, w.patches)
    # What it is measured against is the exact world.
    keys = jax.random.split(states.run_key(config(), train.MEASURED), 2)
    film = lambda key: practice.film(SPEC.home, SPEC.names, jax.random.split(key)[0], 7, shoved=("blocks",))
    seen = jax.jit(jax.vmap(film))(keys)
    wanted = np.linalg.norm(seen.places[:, :1, :2] - seen.places[:, 1:, :2], axis=-1).mean(0)
    np.testing.assert_allclose(told["drift"]["frozen"], wanted, atol=1e-4)
    still = np.mean((seen.frames[:, :1] - seen.frames[:, 1:]) ** 2, (0, 2, 3, 4))
    np.testing.assert_allclose(told["drift"]["frozen_frames"], still, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [{"forcing": "diffusion"}, {"counts": "frame"}, {"spec": dataclasses.replace(SPEC, steps=1, regression=True)}],
)
def test_every_kind_of_training_lowers_its_error(w, options):
    """From the error of answering zero, which is what a network of this house begins with."""
    made = config(**options)
    network, state, _ = states.make(made, parallel.run_mesh({}))
    update, told = jax.jit(train.body(network)), []
    for i in range(5):
        batch = {"seed": np.zeros(2, np.uint32), "number": np.arange(2 * i, 2 * i + 2, dtype=np.uint32)}
        state, metrics = update(state, {}, w.patches, batch, KEY)
        told.append(float(metrics["relative"]))
    assert told[0] == pytest.approx(1, abs=1e-4) and told[-1] < 0.98


def test_what_errors_count():
    """Of velocities all alike, of frames by the square of their level; the first frame's are nobody's."""
    sigma = jnp.array([[0.5, 0.2, 1.0], [1.0, 0.5, 0.4]])
    frames = np.asarray(train._weights(config(counts="frame"), sigma))
    np.testing.assert_allclose(frames, [[0, 0.04, 1], [0, 0.25, 0.16]], rtol=1e-6)
    np.testing.assert_array_equal(train._weights(config(), sigma), [[0, 1, 1], [0, 1, 1]])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"frames": 2}, "frames=2, expected 2 or more and at least the model's window"),
        ({"context": 0.5, "forcing": "diffusion"}, "context=0.5, expected a level"),
        ({"reading": 0}, "what is measured must be read"),
        ({"spec": dataclasses.replace(SPEC, context=0.2)}, "spec.context=0.2, but frames are shown with noise up to 0"),
        ({"objective": Objective(drop=0.0, low=0.6)}, "to be asked at level 0.500, but none below 0.818 is trained"),
        ({"spec": dataclasses.replace(SPEC, moving=(), still=())}, "spec names nothing"),
        ({"data": Data(cache="clips")}, "a world's films are drawn"),
        ({"spec": dataclasses.replace(SPEC, moving=("agent", "moon"))}, "push: 'moon' is no place"),
        ({"spec": dataclasses.replace(SPEC, world="pull")}, "unknown world 'pull'"),
    ],
)
def test_runs_that_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        config(**options)


def test_the_shipped_pushing_world_says_how_far_it_strays():
    """What `world.json` says, the README says; it is a good deal nearer than what is held still, and small."""
    assert learned.names("push") == ("push",) and set(learned.names()) >= {"drive", "push"}
    told, folder = learned.files.about("push"), learned.place("push")
    own, found = (folder / "README.md").read_text(), told["about"]["drift"]
    cfg = shipped.config().model
    count = sum(np.prod(leaf.shape, dtype=int) for leaf in jax.tree.leaves(family.of(cfg).abstract(cfg)))
    assert f"{count:,} weights" in own and "vrjax learn configs/world_model/push.py" in own
    for step in (1, 2, 6, 12):
        (agent, block), (at, there) = found["learned"][step - 1], found["frozen"][step - 1]
        frames = f"{found['frames'][step - 1]:.4f} | {found['frozen_frames'][step - 1]:.4f}"
        assert f"| {step} | {agent:.3f} | {at:.3f} | {block:.3f} | {there:.3f} | {frames} |" in own
        assert agent < 0.2 * at and block < 0.2 * there
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 2.5e6


def test_the_config_of_the_pushing_world():
    """It is a run, of a small network on frames of four tokens."""
    made = shipped.config()
    of = family.of(made.model)
    count = sum(leaf.size for leaf in jax.tree.leaves(of.abstract(made.model)))
    assert 7e5 < count < 9e5 and of.tokens(made.model, (made.frames, 2, 2, 96)) == 24
    assert practice.check(made.spec.home, made.spec.names) == {"agent": (2,), "blocks": (1, 2), "goal": (2,)}
