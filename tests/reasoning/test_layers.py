"""Taps against NumPy; swaps and ablations against runs that do the same thing by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vrjax.flow import Phase, Record, grids, sample
from vrjax.models import wan
from vrjax.reasoning.instruments import layers

SHAPE, LAYERS, STEPS, TOKENS = (2, 4, 4, 3), 3, 2, 8
GRID = grids.shifted(STEPS, shift=3.0)


@pytest.fixture(scope="module")
def models():
    """The same network under two texts, and its initial noise."""
    cfg = wan.WanConfig(
        dim=16,
        ffn_dim=32,
        heads=2,
        layers=LAYERS,
        in_channels=3,
        out_channels=3,
        text_dim=8,
        freq_dim=16,
        gate_init=1.0,
    )
    dit = wan.WanDiT(cfg, rngs=nnx.Rngs(0))
    dit.head.kernel.set_value(jax.random.normal(jax.random.key(9), dit.head.kernel.shape) * 0.3)
    a, b = 3.0 * jax.random.normal(jax.random.key(1), (2, 5, 8))
    x = jax.random.normal(jax.random.key(2), SHAPE)
    return functools.partial(dit.velocity, a), functools.partial(dit.velocity, b), x


# ------------------------------------------------------------------------------------------------------------- taps


def test_taps_equal_numpy():
    h = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    norms = np.sqrt((h**2).sum(1))
    np.testing.assert_allclose(layers.token_energy(jnp.asarray(h)), norms, rtol=1e-6)
    np.testing.assert_allclose(layers.energy(3)(jnp.asarray(h)), norms.reshape(3, 4).mean(1), rtol=1e-6)
    with pytest.raises(ValueError, match="12 tokens do not divide into 5 frames"):
        layers.energy(5)(jnp.asarray(h))


def test_maps_have_steps_blocks_frames_and_follow_the_stream(models):
    base, _, x = models
    energy = jax.jit(lambda x: sample(base(taps={"block.*": layers.energy(2)}), x, GRID).taps)(x)["block.*"]
    assert energy.shape == (STEPS, LAYERS, 2)
    whole = jax.jit(lambda x: sample(base(taps=layers.recorder("stream")), x, GRID).taps)(x)["block.*"]
    norms = np.linalg.norm(np.asarray(whole), axis=-1).reshape(STEPS, LAYERS, 2, TOKENS // 2).mean(-1)
    np.testing.assert_allclose(energy, norms, rtol=1e-5)


# ------------------------------------------------------------------------------------------------------------ swaps


@pytest.fixture(scope="module")
def swept(models):
    """Final states of every mode, one compiled program each."""
    base, other, x = models
    mask = np.arange(TOKENS) % 3 == 0
    run = lambda mode, **how: jax.jit(
        lambda x: layers.swap_sweep(base, other, x, GRID, layers=LAYERS, mode=mode, **how)
    )(x)
    out = {mode: run(mode, mask=mask if mode == "tokens" else None) for mode in layers.MODES}
    out["all steps"] = run("stream", steps=STEPS, how="map")
    return out


@pytest.mark.parametrize("mode", [*layers.MODES, "all steps"])
def test_sweeps_begin_with_the_two_plain_runs(models, swept, mode):
    base, other, x = models
    finals = swept[mode]
    assert finals.shape == (LAYERS + 2, *SHAPE)
    np.testing.assert_allclose(finals[0], sample(other(), x, GRID).final, atol=2e-5)
    np.testing.assert_allclose(finals[1], sample(base(), x, GRID).final, atol=2e-5)
    assert np.abs(finals[0] - finals[1]).max() > 1e-2  # the two conditions do differ
    for k in range(LAYERS):
        assert np.abs(finals[2 + k] - finals[1]).max() > 1e-4


@pytest.mark.parametrize("mode", layers.MODES)
def test_traced_swap_equals_a_single_block_edit_by_hand(models, swept, mode):
    """The same intervention with static sites `block.1...` and plain edits, outside any sweep."""
    base, other, x = models
    sites = [site.replace("*", "1") for site in layers.MODES[mode]]
    record = Record(steps=(0,), fields=())
    kept = sample(other(taps={site: lambda h: h for site in sites}), x, GRID, record=record).taps
    mask = (np.arange(TOKENS) % 3 == 0)[:, None] if mode == "tokens" else True
    edits = {site: lambda h, new=kept[site][0]: jnp.where(mask, new, h) for site in sites}
    final = jax.jit(lambda x: sample((Phase(1, base(edits=edits)), Phase(STEPS, base())), x, GRID).final)(x)
    np.testing.assert_allclose(swept[mode][2 + 1], final, atol=2e-5)


def test_swapping_the_stream_in_every_step_gives_the_other_run_after_the_last_block(models, swept):
    """After the last block nothing of the base condition is left, except in the head, which does not see the text."""
    np.testing.assert_allclose(swept["all steps"][-1], swept["all steps"][0], atol=2e-5)


def test_increments_of_a_run_into_itself_change_nothing(models):
    base, _, x = models
    for mode in ("increment", "attention"):
        finals = jax.jit(lambda x, mode=mode: layers.swap_sweep(base, base, x, GRID, layers=LAYERS, mode=mode))(x)
        np.testing.assert_allclose(finals, np.broadcast_to(finals[0], finals.shape), atol=2e-5)


def test_increments_add_up_to_the_block(models):
    """The definition the "increment" mode rests on: output = input + the three increments."""
    base, _, x = models
    taps = layers.recorder((*layers.STREAM, *layers.INCREMENTS))
    record = Record(steps=(0,), fields=())
    kept = jax.jit(lambda x: sample(base(taps=taps), x, GRID, record=record).taps)(x)
    added = sum(kept[site][0] for site in layers.INCREMENTS)
    np.testing.assert_allclose(kept["block.*"][0][1:], kept["block.*"][0][:-1] + added[1:], atol=1e-5)


# --------------------------------------------------------------------------------------------------------- ablation


def test_ablated_block_passes_its_input_on(models):
    base, _, x = models
    taps = layers.recorder("stream")
    record = Record(steps=(0,), fields=())

    def stream(k):
        return sample(base(taps=taps, edits=layers.ablate(k)), x, GRID, record=record).taps["block.*"][0]

    h = jax.jit(lambda: layers.sweep(stream, LAYERS))()
    assert h.shape[:2] == (LAYERS + 1, LAYERS)
    for k in range(1, LAYERS):
        np.testing.assert_allclose(h[k + 1, k], h[k + 1, k - 1], atol=1e-6)
        np.testing.assert_allclose(h[k + 1, :k], h[0, :k], atol=1e-5)  # earlier blocks see nothing of it
        assert np.abs(h[0, k] - h[0, k - 1]).max() > 1e-2


def test_ablation_sweep_windows(models):
    base, _, x = models
    go = lambda **how: jax.jit(lambda x: layers.ablation_sweep(base, x, GRID, layers=LAYERS, **how))(x)
    whole, late, ffn = go(), go(start=1, how="map"), go(sites=("block.*.ffn",))
    plain = sample(base(), x, GRID).final
    for finals in (whole, late, ffn):
        np.testing.assert_allclose(finals[0], plain, atol=2e-5)
    assert np.abs(whole[1:] - late[1:]).max() > 1e-3 and np.abs(whole[1:] - ffn[1:]).max() > 1e-3
    by_hand = {f"block.2{part}": lambda h: 0 * h for part in (".self_attn", ".cross_attn", ".ffn")}
    np.testing.assert_allclose(whole[3], sample(base(edits=by_hand), x, GRID).final, atol=2e-5)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m: layers.swap("both", {}, 0), "mode: expected one of"),
        (lambda m: layers.swap("stream", {}, 0), "needs activations at 'block.*'"),
        (lambda m: layers.swap("tokens", {"block.*": jnp.zeros((3, 8, 16))}, 0), "needs a mask"),
        (lambda m: layers.ablate(0, ("block.*",)), "expected sites"),
        (lambda m: layers.sweep(lambda k: k, 2, how="pmap"), "'pmap'"),
        (lambda m: layers.swap_sweep(m[0], m[1], m[2], GRID, layers=LAYERS, mode="stream", steps=3), "1..2"),
        (lambda m: layers.ablation_sweep(m[0], m[2], GRID, layers=LAYERS, start=2), "start < stop"),
    ],
)
def test_bad_input(models, call, message):
    with pytest.raises(ValueError) as error:
        call(models)
    assert message in str(error.value)


def test_sweep_orders_and_groups():
    np.testing.assert_array_equal(layers.sweep(lambda k: 2 * k, 3), [-2, 0, 2, 4])
    np.testing.assert_array_equal(layers.sweep(lambda k: 2 * k, 3, how="map", group=2), [-2, 0, 2, 4])
