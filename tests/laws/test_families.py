"""What every family of models promises (`vrjax.models.family.Family`): one row a family, its smallest config.

The toy family beside this file lies in a folder of its own and nowhere else: what works with it names no family.
"""

import dataclasses
import pathlib
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import vrjax.models
from vrjax import flow, parallel
from vrjax.files import tensors
from vrjax.models import cached, family
from vrjax.train import lora

vrjax.models.__path__.append(str(pathlib.Path(__file__).parent))
Toy = family.get("toy").Config
Wan = family.get("wan").Config
Motion = family.get("motion").Config
Causal = family.get("causal").Config


class Row(NamedTuple):
    """A config, the shape of its latents and a larger one."""

    cfg: Any
    latent: tuple[int, ...]
    larger: tuple[int, ...]


ROWS = {
    "causal": Row(
        Causal(
            dim=24, ffn_dim=16, heads=4, layers=2, in_channels=3, out_channels=3, patch=(1, 2, 2), freq_dim=8,
            text_dim=8, text_len=4, action=2, chunk=1, window=3, gate_init=1.0,
        ),
        (4, 4, 4, 3), (5, 4, 4, 3),
    ),
    "toy": Row(Toy(), (2, 4, 4, 3), (3, 4, 4, 3)),
    "motion": Row(
        Motion(dim=24, ffn_dim=16, heads=4, layers=2, channels=5, text_dim=8, text_len=4, freq_dim=8), (6, 5), (8, 5)
    ),
    "wan": Row(
        Wan(
            dim=24, ffn_dim=16, heads=4, layers=2, in_channels=7, out_channels=3, patch=(1, 2, 2), freq_dim=8,
            text_dim=8, text_len=4, gate_init=1.0,
        ),
        (2, 4, 4, 3), (3, 4, 4, 3),
    ),
}  # fmt: skip


@pytest.fixture(params=ROWS, scope="module")
def row(request):
    return ROWS[request.param]


@pytest.fixture(scope="module")
def of(row):
    return family.of(row.cfg)


@pytest.fixture(scope="module")
def model(row, of):
    """Random weights, none of them zero: heads and biases start there."""
    fresh = of.init(row.cfg, jax.random.key(0))
    leaves, tree = jax.tree.flatten(fresh)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return tree.unflatten([x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)])


@pytest.fixture(scope="module")
def given(row, of):
    """Conditions, and those that differ in guidance's other branch; NumPy arrays, as a pipeline of data has them."""
    rng, shapes = np.random.default_rng(0), of.conditions(row.cfg, row.latent)
    draw = lambda names: {name: rng.normal(size=shapes[name]).astype(np.float32) for name in names}
    return draw(shapes), draw(row.cfg.GUIDED)


x_of = lambda row: jax.random.normal(jax.random.key(2), row.latent)
LEVEL = flow.Level(jnp.float32(0.7), jnp.float32(700.0))


def test_every_family_has_a_row():
    assert set(family.names()) == set(ROWS)
    for name, row in ROWS.items():
        assert isinstance(family.get(name), family.Family)
        assert family.of(row.cfg) is family.get(name)
    with pytest.raises(ValueError, match="unknown model family 'none', expected one of"):
        family.get("none")
    with pytest.raises(ValueError, match="a model's config is expected, found int"):
        family.of(3)


def test_abstract_is_init(row, of):
    """Shapes without memory are the shapes of the network, and a module knows its config and layout."""
    like, made = of.abstract(row.cfg), jax.eval_shape(lambda: of.init(row.cfg, jax.random.key(0)))
    chex.assert_trees_all_equal_shapes_and_dtypes(like, made)
    assert (made.cfg, made.layout) == (row.cfg, None)
    mesh = parallel.mesh({"fsdp": 2}, devices=jax.devices()[:2])
    assert of.abstract(row.cfg, parallel.Layout.of(mesh)).layout == parallel.Layout.of(mesh)


def test_logical_axes_cover_every_parameter(row, of):
    axes, shapes = of.logical_axes(row.cfg), of.abstract(row.cfg)
    leaves = jax.tree_util.tree_leaves_with_path(shapes)
    for path, leaf in leaves:
        node = axes
        for key in path[:-1]:
            node = node[key.name]
        assert len(node) == leaf.ndim, path
    assert len(jax.tree.leaves(axes, is_leaf=lambda x: isinstance(x, tuple))) == len(leaves)


def test_shard(row, of, model, given):
    """On a mesh: the same values, in parts."""
    mesh = parallel.mesh({"fsdp": 2, "context": 2}, devices=jax.devices()[:4])
    placed = family.shard(model, mesh)
    chex.assert_trees_all_equal(jax.device_get(jax.tree.leaves(placed)), jax.device_get(jax.tree.leaves(model)))
    assert any(not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(placed))
    like = family.shard(of.abstract(row.cfg), mesh)
    assert [x.sharding for x in jax.tree.leaves(like)] == [x.sharding for x in jax.tree.leaves(placed)]
    ask = jax.jit(lambda model, x: of.predict(model, x, LEVEL, given[0]).v)
    np.testing.assert_allclose(ask(placed, x_of(row)), ask(model, x_of(row)), rtol=1e-4, atol=1e-5)


def test_round_trip(of, model, tmp_path):
    of.save(model, tmp_path / "model")
    loaded = of.load(tmp_path / "model")
    assert loaded.cfg == model.cfg == of.read_config(tmp_path / "model")
    chex.assert_trees_all_equal(loaded, model)
    with pytest.raises((FileNotFoundError, ValueError), match="nowhere"):
        of.load(tmp_path / "nowhere")


def test_questions_agree(row, of, model, given):
    """One question is a velocity's; guidance is `flow.cfg` of two velocities; what is empty leaves no taps."""
    cond, negative = given

    @jax.jit
    def ask(model, x):
        one, other = of.velocity(model, cond), of.velocity(model, cond | negative)
        by_hand = flow.cfg(one, other, 3.0)(x, LEVEL)
        return (
            of.predict(model, x, LEVEL, cond),
            one(x, LEVEL),
            of.guided(model, cond, negative, 3.0)(x, LEVEL),
            by_hand,
        )

    predicted, asked, guided, by_hand = ask(model, x_of(row))
    assert predicted.v.shape == row.latent and predicted.v.dtype == jnp.float32 and predicted.taps == {}
    chex.assert_tree_all_finite(predicted.v)
    chex.assert_trees_all_close(asked, predicted, rtol=1e-5, atol=1e-5)
    chex.assert_trees_all_close(guided.v, by_hand.v, rtol=1e-4, atol=1e-4)
    assert np.abs(guided.v - asked.v).max() > 1e-3  # the conditions are heard


def test_what_is_remembered_is_what_was_shown(row, of, model, given):
    """Chunk after chunk from a cache is one pass beside the clean video; a family without a cache says so."""
    if not isinstance(of, cached.Cached):
        name = type(row.cfg).family
        with pytest.raises(ValueError, match=f"model family '{name}' has no cached calls, expected one of causal"):
            cached.calls(model, given[0], row.latent)
        return
    clean, levels = 0.5 * x_of(row), flow.Level(jnp.float32(0.7), jnp.float32(700.0))
    still = flow.Level(jnp.float32(0.0), jnp.float32(0.0))

    @jax.jit
    def ask(model, x):
        calls, at, out = cached.calls(model, given[0], row.latent), 0, []
        state = calls.begin()
        for n in calls.chunks:
            out.append(calls.chunk(state, x[at : at + n], levels, at).v)
            state = calls.after(state, clean[at : at + n], still, at)
            at += n
        return jnp.concatenate(out), calls.forced(x, levels, clean, still).v

    alone, beside = ask(model, x_of(row))
    np.testing.assert_allclose(alone, beside, rtol=0, atol=2e-5)
    for name in row.cfg.FRAMES:
        with pytest.raises(ValueError, match=f"{name}: {row.latent[0] - 1} rows, expected one for each"):
            cached.calls(model, given[0] | {name: given[0][name][1:]}, row.latent)


def test_sites(row, of, model, given):
    """Every site is tapped, a wildcard holds what single blocks show, and an edit comes before its tap."""
    sites = of.sites(row.cfg)
    plain = of.velocity(model, given[0], taps=dict.fromkeys(sites, lambda h: h))
    fade = lambda h: h * np.linspace(0, 1, h.shape[-1])
    edited = of.velocity(model, given[0], taps={"embed": lambda h: h}, edits={"embed": fade})
    (v, taps), (other, after) = jax.jit(lambda x: (plain(x, LEVEL), edited(x, LEVEL)))(x_of(row))
    assert sorted(taps) == sorted(sites)
    for site in sites:
        if "*" in site:
            singles = [taps[site.replace("*", str(i))] for i in range(len(taps[site]))]
            np.testing.assert_array_equal(taps[site], np.stack(singles))
    np.testing.assert_allclose(after["embed"], fade(taps["embed"]), atol=1e-6)
    assert np.abs(other - v).max() > 1e-4
    with pytest.raises(ValueError, match="unknown site 'nowhere'"):
        of.velocity(model, given[0], taps={"nowhere": lambda h: h})(x_of(row), LEVEL)


def test_counts(row, of):
    assert of.tokens(row.cfg, row.latent) > 0
    assert 0 < of.flops(row.cfg, row.latent) < of.flops(row.cfg, row.larger)


def test_options(row, of):
    """The configs for training and sampling differ in how, not in what: the parameters are the same."""
    trained = of.training(row.cfg, "bfloat16")
    assert trained.dtype == "bfloat16" and of.sampling(trained).dtype == "bfloat16"
    for cfg in (trained, of.sampling(trained)):
        assert type(cfg) is type(row.cfg) and dataclasses.is_dataclass(cfg)
        chex.assert_trees_all_equal_shapes_and_dtypes(*(jax.tree.leaves(of.abstract(c)) for c in (row.cfg, cfg)))


def test_adapters(of, model, tmp_path):
    """TARGETS and MUON name matrices; adapters of them are written as safetensors."""
    weights = nnx.to_pure_dict(nnx.state(model))
    assert set(lora.targets(weights, model.cfg.TARGETS)) <= set(lora.targets(weights, model.cfg.MUON))
    adapters = lora.init(weights, jax.random.key(0), rank=2, patterns=model.cfg.TARGETS)
    of.save_adapters(adapters, tmp_path / "adapters.safetensors", alpha=4.0)
    assert len(tensors.read(tmp_path / "adapters.safetensors").shapes) >= 2 * len(adapters)
