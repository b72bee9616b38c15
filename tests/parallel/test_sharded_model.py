"""The DiT on a mesh: sampling with everything recorded equals one device, stays sharded, and moves what it should."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from vrjax import parallel
from vrjax.flow import euler, grids, sample
from vrjax.models import wan
from vrjax.parallel import context, layout, over_seeds

GRID = grids.shifted(2, 3.0)
CFG = wan.WanConfig(
    dim=40, ffn_dim=48, heads=4, layers=2, in_channels=7, out_channels=3, text_dim=8, freq_dim=16, gate_init=1.0
)
# mesh, how tokens meet, (t, h, w) of the latent: 16 tokens, or 9 that nothing divides
CASES = {
    "ulysses": ({"data": 2, "fsdp": 2, "context": 2}, "auto", (4, 4, 4)),
    "tensor": ({"data": 2, "tensor": 2, "context": 2}, "ulysses", (4, 4, 4)),
    "ring": ({"data": 2, "context": 4}, "ring", (4, 4, 4)),
    "uneven": ({"fsdp": 2, "context": 4}, "ulysses", (1, 6, 6)),
    "uneven ring": ({"fsdp": 2, "context": 4}, "ring", (1, 6, 6)),
}


def random_dit(cfg, seed=1):
    rng = np.random.default_rng(seed)
    make = lambda a: jnp.asarray(0.2 * rng.standard_normal(a.shape), a.dtype)
    return jax.tree.map(make, wan.abstract(cfg))


def given(size, clips=4):
    rng = np.random.default_rng(3)
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)
    return draw(clips, *size, 3), draw(clips, 5, 8), draw(clips, *size, 4)


def run(dit, x, text, image):
    """A batch sampled with every step and one block recorded; an edit that needs all tokens of a clip at once."""
    taps, edits = {"block.1": lambda h: h}, {"block.0": lambda h: h + jnp.flip(h, 0)}
    one = lambda x, t, i: sample(dit.velocity(t, image=i, taps=taps, edits=edits), x, GRID, solver=euler())
    return parallel.batch(dit.layout, one)(x, text, image)


@functools.cache
def on_one_device(size, causal=False):
    return jax.device_get(jax.jit(run)(random_dit(dataclasses.replace(CFG, causal=causal)), *given(size)))


@functools.cache
def on_a_mesh(case, causal=False):
    """The trajectory, and the optimised program."""
    axes, kind, size = CASES[case]
    count = int(np.prod(list(axes.values())))
    m = parallel.mesh(axes, devices=jax.devices()[:count])
    cfg = dataclasses.replace(CFG, sequence=kind, causal=causal)
    dit = wan.shard(random_dit(cfg), m, uneven="error")
    compiled = jax.jit(run).lower(dit, *given(size)).compile()
    return compiled(dit, *given(size)), compiled.as_text()


@pytest.mark.parametrize("case", CASES)
def test_sampling_equals_one_device(case):
    trajectory, _ = on_a_mesh(case)
    expected = on_one_device(CASES[case][2])
    for name in ("x", "v", "x0", "final"):
        found, wanted = getattr(trajectory, name), getattr(expected, name)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max(), err_msg=name)
    found, wanted = trajectory.taps["block.1"], expected.taps["block.1"]
    assert found.shape == (4, 2, np.prod(CASES[case][2]) // 4, 40)  # a tap sees all tokens
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_causal_ring_with_filled_up_tokens():
    CASES["causal"] = ({"fsdp": 2, "context": 4}, "ring", (3, 4, 6))  # 18 tokens, 5 on a device
    trajectory, _ = on_a_mesh("causal", causal=True)
    expected = on_one_device((3, 4, 6), causal=True)
    np.testing.assert_allclose(trajectory.v, expected.v, rtol=0, atol=1e-5 * np.abs(expected.v).max())


def test_the_trajectory_stays_divided():
    for case, parts in (("ulysses", (4, 2)), ("tensor", (2, 2)), ("ring", (2, 4))):
        trajectory, _ = on_a_mesh(case)
        over_batch, over_tokens = parts
        for name in ("x", "v", "x0"):
            a = getattr(trajectory, name)
            clips, steps, t, *rest = a.shape
            expected = (clips // over_batch, steps, t // over_tokens, *rest)
            assert a.sharding.shard_shape(a.shape) == expected, (case, name)
        h = trajectory.taps["block.1"]
        assert h.sharding.shard_shape(h.shape)[0] == 4 // over_batch


def shapes(program, dtype="f32"):
    return {tuple(int(n) for n in s.split(",")) for s in re.findall(rf"{dtype}\[([\d,]+)\]", program)}


def test_what_moves():
    """Each way of dividing shows in the program, and no device ever holds what was to be divided."""
    program = {case: on_a_mesh(case)[1] for case in CASES}
    assert "all-to-all" in program["ulysses"] and "all-gather" in program["ulysses"]  # heads; fsdp's weights
    assert "all-to-all" in program["tensor"] and "all-reduce" in program["tensor"]  # heads; sums over tensor
    assert "collective-permute" in program["ring"]
    ffn = {case: {s[-2:] for s in shapes(p) if len(s) >= 2} for case, p in program.items()}
    assert (40, 48) in ffn["ulysses"] and (40, 48) not in ffn["tensor"] and (40, 24) in ffn["tensor"]

    # 16 tokens over 4: queries meet 4 keys at a time; 8 tokens x 48 is the feed-forward of 2 parts
    assert not any(s.count(16) >= 2 for s in shapes(program["ring"]) if len(s) >= 3)
    assert (8, 48) in ffn["ulysses"] and (16, 48) not in ffn["ulysses"]


def test_without_a_mesh_nothing_is_added():
    dit = random_dit(CFG)
    text = jax.jit(run).lower(dit, *given((4, 4, 4))).as_text()
    assert "sharding" not in text and "manual" not in text
    assert layout.place(None, text, "tokens") is text
    assert layout.Layout.of(parallel.mesh({}, devices=jax.devices()[:1])) is None


@pytest.mark.parametrize("axes, clips", [({"data": 2}, 1), ({"data": 2, "fsdp": 2}, 2)])
def test_the_branches_of_guidance_are_divided(axes, clips):
    """Over the axes of a batch, or over those that a batch of clips leaves."""

    def guided(dit, x, text, image):
        def one(x, text, image):
            velocity = dit.guided(text, 0 * text, 3.0, image, taps={"block.1": lambda h: h})
            return sample(velocity, x, GRID, solver=euler())

        return parallel.batch(dit.layout, one)(x, text, image) if clips > 1 else one(x[0], text[0], image[0])

    m = parallel.mesh(axes, devices=jax.devices()[: 2 * clips])
    inputs = given((4, 4, 4), clips)
    compiled = jax.jit(guided).lower(wan.shard(random_dit(CFG), m), *inputs).compile()
    found = compiled(wan.shard(random_dit(CFG), m), *inputs)
    expected = jax.jit(guided)(random_dit(CFG), *inputs)
    for a, b in ((found.x0, expected.x0), (found.taps["block.1"], expected.taps["block.1"])):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())
    hidden = {s for s in shapes(compiled.as_text()) if s[-2:] == (16, 48)}  # the feed-forward's, of all tokens
    assert hidden and max(np.prod(s[:-2]) for s in hidden) == 1


def test_divided_branches_within_a_mean_over_seeds():
    m = parallel.mesh({"seed": 2, "data": 2}, devices=jax.devices()[:4])
    _, text, image = given((4, 4, 4), 1)

    def think(key, dit):
        x = jax.random.normal(key, (4, 4, 4, 3))
        edits = {"block.0": lambda h: lax.pmean(h, "seed")}
        velocity = dit.guided(text[0], 0 * text[0], 3.0, image[0], edits=edits)
        return sample(velocity, x, GRID, solver=euler()).x0

    keys = jax.random.split(jax.random.key(0), 4)
    expected = over_seeds(think, keys, "vmap", args=(random_dit(CFG),))
    found = over_seeds(think, keys, "mesh", args=(wan.shard(random_dit(CFG), m),), mesh=m)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("seeds", [2, 4])
def test_seeds_with_a_mean_beside_context_and_tensor(seeds):
    """An ensemble over the mesh's seed axis, of networks that are themselves divided over the other axes."""
    m = parallel.mesh({"seed": 2, "context": 2, "tensor": 2})
    _, text, image = given((4, 4, 4), 1)

    def think(key, dit):
        x = jax.random.normal(key, (4, 4, 4, 3))
        velocity = dit.velocity(text[0], image=image[0], edits={"block.0": lambda h: lax.pmean(h, "seed")})
        return sample(velocity, x, GRID, solver=euler()).x0

    keys = jax.random.split(jax.random.key(0), seeds)
    expected = over_seeds(think, keys, "vmap", args=(random_dit(CFG),))
    dit = wan.shard(random_dit(CFG), m)
    found = over_seeds(think, keys, "mesh", args=(dit,), mesh=m)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert found.sharding.shard_shape(found.shape)[0] == seeds // 2


def plain(q, k, v, groups=None):
    s = np.einsum("nhd,mhd->hnm", q, k) / np.sqrt(q.shape[-1])
    if groups is not None:
        s = np.where(groups[None, :] <= groups[:, None], s, -np.inf)
    w = np.exp(s - s.max(-1, keepdims=True))
    return np.einsum("hnm,mhd->nhd", w / w.sum(-1, keepdims=True), v)


@pytest.mark.parametrize("tile", [2**22, 30])
def test_ring_values_and_gradients(tile, monkeypatch):
    """Against the plain formula; with a tile that forces pieces of rows that do not divide the device's tokens."""
    monkeypatch.setattr(context, "TILE", tile)
    rng = np.random.default_rng(0)
    q, k, v, g = (rng.standard_normal((20, 2, 6)).astype(np.float32) for _ in range(4))
    groups = np.repeat(np.arange(5), 4)
    m, P = parallel.mesh({"context": 4}, devices=jax.devices()[:4]), jax.P("context")
    ring = jax.shard_map(
        functools.partial(context.ring, axes="context", size=4, groups=groups),
        mesh=m,
        in_specs=(P, P, P),
        out_specs=P,
        check_vma=False,
    )
    oracle = lambda q, k, v: jnp.einsum(
        "hnm,mhd->nhd",
        jax.nn.softmax(
            jnp.where(groups[None, :] <= groups[:, None], jnp.einsum("nhd,mhd->hnm", q, k) * 6**-0.5, -jnp.inf)
        ),
        v,
    )
    value = lambda f: jax.jit(lambda *a: (f(*a), jax.grad(lambda *a: jnp.sum(f(*a) * g), (0, 1, 2))(*a)))(q, k, v)
    (found, d_found), (expected, d_expected) = value(ring), value(oracle)
    np.testing.assert_allclose(expected, plain(q, k, v, groups), atol=1e-5)
    for a, b in zip((found, *d_found), (expected, *d_expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * max(1, np.abs(b).max()))


def test_wrong_divisions_are_named():
    m = parallel.mesh({"context": 8})
    dit = wan.shard(random_dit(dataclasses.replace(CFG, sequence="ulysses")), m)
    x, text, image = given((4, 4, 4), 1)
    with pytest.raises(ValueError, match="4 of 4 heads, which 8 devices of .'context',. do not divide.*'ring'"):
        jax.eval_shape(lambda d: d(x[0], 0.0, text[0], image=image[0]), dit)
    with pytest.raises(ValueError, match="4 heads cannot be divided over 8 devices of .'tensor',."):
        dit = wan.shard(random_dit(CFG), parallel.mesh({"tensor": 8}), uneven="replicate")
        jax.eval_shape(lambda d: d(x[0], 0.0, text[0], image=image[0]), dit)
    with pytest.raises(ValueError, match="name axes that the mesh does not have"):
        layout.Layout.of(jax.make_mesh((8,), ("data",)))
    with pytest.raises(ValueError, match="unknown kind 'rign'"):
        cfg = dataclasses.replace(CFG, sequence="rign")
        jax.eval_shape(lambda d: d(x[0], 0.0, text[0], image=image[0]), wan.abstract(cfg))
    with pytest.raises(ValueError, match="the layout's mesh is .* the surrounding one"):
        with jax.set_mesh(parallel.mesh({"tensor": 2, "data": 4})):
            jax.eval_shape(lambda d: d(x[0], 0.0, text[0], image=image[0]), dit)
