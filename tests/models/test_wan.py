"""WanDiT without torch: fixtures made by diffusers, sites, transforms, counts, axes, errors."""

import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from safetensors.numpy import load_file

from vrjax.flow import Level, Prediction, cfg, grids, sample
from vrjax.flow.guidance import rescale
from vrjax.models import wan
from vrjax.models.blocks import attention

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
GRID = (2, 4, 4)  # 8 tokens
SMALL = wan.WanConfig(
    dim=24, ffn_dim=36, heads=3, layers=3, in_channels=3, out_channels=2, text_dim=5, freq_dim=8, gate_init=1.0
)


def build(cfg=SMALL, seed=0):
    """A model with every tensor random: the zero output projection would hide everything."""
    dit = wan.WanDiT(cfg, rngs=nnx.Rngs(seed))
    leaves, tree = jax.tree.flatten(dit)
    keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
    leaves = [a + 0.1 * jax.random.normal(k, a.shape, a.dtype) for a, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(tree, leaves)


@pytest.fixture(scope="module")
def dit():
    return build()


@pytest.fixture(scope="module")
def inputs():
    keys = jax.random.split(jax.random.key(5))
    return jax.random.normal(keys[0], (*GRID, 3)), jnp.float32(430.0), jax.random.normal(keys[1], (4, 5))


def call(dit, x, time, text, **options):
    return dit(x, time, text, **options)


@pytest.fixture(scope="module")
def plain(dit, inputs):
    return jax.jit(call)(dit, *inputs)


# ------------------------------------------------------------------------------------------------ diffusers' numbers


@pytest.mark.parametrize("case", ["t2v", "image_branch"])
def test_fixture(case):
    io = load_file(FIXTURES / f"{case}_io.safetensors")
    dit = wan.load_dit(FIXTURES / f"{case}.safetensors", heads=2)
    image = wan.Image(clip=io.get("clip"))

    @jax.jit
    def run(dit, x, time):
        return dit(x, time, io["text"], image=image).v

    for time, expected in zip(io["time"], io["v"], strict=True):
        assert np.abs(run(dit, io["x"], time) - expected).max() <= (2e-5 if time <= 2 else 1.2e-4)
    assert np.abs(run(dit, io["x"], io["token_time"]) - io["token_v"]).max() <= 2e-5
    # One time per frame is the same thing, at the price of a scalar.
    frames = io["token_time"].reshape(3, -1)[:, 0]
    assert np.abs(run(dit, io["x"], frames) - io["token_v"]).max() <= 2e-5

    loss = lambda dit, x: jnp.sum(run(dit, x, io["time"][1]) * io["weight"])
    d_dit, d_x = jax.jit(jax.grad(loss, argnums=(0, 1)))(dit, io["x"])
    found = {
        "x": d_x,
        "blocks.1.attn1.to_k.weight": d_dit.blocks.self_attn.k.kernel[...][1].T,
        "blocks.0.scale_shift_table": d_dit.blocks.modulation[...][0][None],
    }
    for name, value in found.items():
        expected = io[f"grad.{name}"]
        assert np.abs(value - expected).max() <= 1e-4 * np.abs(expected).max(), name


# ------------------------------------------------------------------------------------------------------------ sites


def test_taps_add_up(dit, inputs, plain):
    """The residual stream after a block is the stream before it plus the three increments."""
    read = lambda h: h
    parts = ("self_attn", "cross_attn", "ffn")
    taps = {"embed": read, "block.*": read, "block.1": read, "block.1.ffn": lambda h: {"mean": h.mean()}}
    taps |= {f"block.*.{p}": read for p in parts}
    out = jax.jit(functools.partial(call, taps=taps))(dit, *inputs)
    t = out.taps
    np.testing.assert_allclose(out.v, plain.v, atol=1e-5)
    assert t["block.*"].shape == (3, 8, 24) and set(t) == set(taps)
    before = jnp.concatenate([t["embed"][None], t["block.*"][:-1]])
    np.testing.assert_allclose(before + sum(t[f"block.*.{p}"] for p in parts), t["block.*"], atol=1e-5)
    np.testing.assert_array_equal(t["block.1"], t["block.*"][1])
    np.testing.assert_allclose(t["block.1.ffn"]["mean"], t["block.*.ffn"][1].mean(), atol=1e-6)


EDITS = {
    "embed": lambda h: h + 1,
    "block.*": lambda h: h * 1.1,
    "block.*.ffn": wan.indexed(lambda h, block: h * (block + 1)),
    "block.0.self_attn": jnp.zeros_like,
    "block.2.self_attn": jnp.zeros_like,
    "block.1.cross_attn": lambda h: -h,
    "block.1": lambda h: h.at[0].set(0),
}


def by_hand(dit, x, time, text):
    """The same edits written into a plain loop over blocks; returns v and the streams after every block."""
    cfg, streams = dit.cfg, []
    parts = {}

    def visit(i):
        def edit(part, h):
            h = {
                "": lambda h: h * 1.1,
                ".ffn": lambda h: h * (i + 1),
                ".self_attn": lambda h: 0 * h if i in (0, 2) else h,
                ".cross_attn": lambda h: -h if i == 1 else h,
            }[part](h)
            return h.at[0].set(0) if (i, part) == (1, "") else h

        return edit

    class Loop(wan.WanDiT):
        def _stack(self, h, time6, context, rest, sites):
            h = h + 1
            for i in range(cfg.layers):
                block = jax.tree.map(lambda a, i=i: a[i], self.blocks)
                pairs = block.cross_attn.keys_values(cfg, *context.rows)
                h = block(cfg, h, time6, pairs, *rest, visit(i))
                streams.append(h)
            return h, parts

    loop = object.__new__(Loop)
    vars(loop).update(vars(dit))
    return loop(x, time, text).v, jnp.stack(streams)


@pytest.mark.parametrize("unroll", [False, True])
def test_edits(dit, inputs, unroll):
    """Against a hand-written loop; edits come before the taps of their site."""

    v, streams = jax.jit(by_hand)(dit, *inputs)
    other = jax.tree.map(lambda a: a, dit)
    other.cfg = dataclasses.replace(dit.cfg, unroll=unroll)
    taps = {"block.*": lambda h: h, "block.1": lambda h: h[0]}
    out = jax.jit(functools.partial(call, taps=taps, edits=EDITS))(other, *inputs)
    np.testing.assert_allclose(out.v, v, atol=2e-5)
    np.testing.assert_allclose(out.taps["block.*"], streams, atol=2e-5)
    np.testing.assert_array_equal(out.taps["block.1"], jnp.zeros(24))


def test_empty_sites_leave_no_trace(dit, inputs):
    """The program with empty taps and edits is that of a model that has no such feature."""

    class Bare(wan.WanDiT):
        def _stack(self, h, time6, context, rest, sites):
            def body(h, block):
                pairs = block.cross_attn.keys_values(self.cfg, *context.rows)
                return block(self.cfg, h, time6, pairs, *rest, lambda part, h: h), None

            return lax.scan(body, h, self.blocks)[0], {}

    bare = object.__new__(Bare)
    vars(bare).update(vars(dit))
    hlo = lambda model, **options: (
        jax.jit(lambda *a: model(*a, **options).v).lower(*inputs).compile().as_text().split("ENTRY")[1]
    )
    strip = lambda text: [line.split(", metadata=")[0] for line in text.splitlines()]
    assert strip(hlo(dit)) == strip(hlo(bare))
    jaxpr = lambda **options: str(jax.make_jaxpr(lambda *a: dit(*a, **options).v)(*inputs))
    assert jaxpr() == jaxpr(taps={}, edits={})
    assert jaxpr() != jaxpr(edits={"block.0": lambda h: h * 2})


def test_many_single_blocks_are_one_program():
    """One function at many blocks costs one branch, not one block each."""
    cfg = wan.WanConfig(dim=12, ffn_dim=12, heads=1, layers=12, in_channels=1, out_channels=1, text_dim=2, freq_dim=2)
    dit = wan.abstract(cfg)
    args = dit, jax.ShapeDtypeStruct((1, 2, 2, 1), jnp.float32), jnp.float32(1), jnp.ones((1, 2))
    double = lambda h: h * 2
    size = lambda n: str(jax.make_jaxpr(functools.partial(call, edits={f"block.{i}": double for i in range(n)}))(*args))
    assert size(12).count("\n") == size(1).count("\n")


@pytest.mark.parametrize("site", ["block.*", "block.1", "block.*.self_attn", "block.2.ffn"])
def test_collective_edit(dit, inputs, site):
    """A mean over seeds inside the network: equal under vmap, pmap and shard_map."""
    x, time, text = inputs
    xs = jnp.stack([x, x[::-1]])
    edit = {site: lambda h: lax.pmean(h, "seed")}
    one = lambda x: dit(x, time, text, edits=edit, taps={"block.2": lambda h: h}).taps["block.2"]
    batched = jax.jit(jax.vmap(one, axis_name="seed"))(xs)
    alone = jax.jit(jax.vmap(lambda x: dit(x, time, text, taps={"block.2": lambda h: h}).taps["block.2"]))(xs)
    assert np.abs(batched - alone).max() > 1e-2
    np.testing.assert_allclose(jax.pmap(one, axis_name="seed")(xs), batched, atol=1e-5)
    mesh = jax.make_mesh((2,), ("seed",), devices=jax.devices()[:2], axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.jit(jax.shard_map(jax.vmap(one), mesh=mesh, in_specs=jax.P("seed"), out_specs=jax.P("seed")))
    np.testing.assert_allclose(spread(xs), batched, atol=1e-5)


def test_unknown_sites(dit, inputs):
    for name in ("block.3", "blocks.1", "block.1.mlp", "block", "head", "block.-1", "block.01"):
        with pytest.raises(ValueError, match="unknown site.*block.I.self_attn"):
            dit(*inputs, taps={name: jnp.sum})
    with pytest.raises(ValueError, match="the one at block"):
        dit(*inputs, edits={"block.*": lambda h: h[:1]})
    with pytest.raises(ValueError, match="embed"):
        dit(*inputs, edits={"embed": wan.indexed(lambda h, i: h)})


# ------------------------------------------------------------------------------------------- conditions ahead of time


def test_velocity_reads_keys_computed_ahead(dit, inputs, plain):
    x, time, text = inputs
    taps = {"block.*": lambda h: h.mean()}
    edits = {"block.1.cross_attn": lambda h: 2 * h}
    level = Level(time / 1000, time)
    out = jax.jit(lambda dit: dit.velocity(text, None, taps, edits)(x, level))(dit)
    here = jax.jit(functools.partial(call, taps=taps, edits=edits))(dit, *inputs)
    np.testing.assert_allclose(out.v, here.v, atol=2e-6)
    np.testing.assert_allclose(out.taps["block.*"], here.taps["block.*"], atol=2e-6)
    assert np.abs(out.v - plain.v).max() > 1e-2


def test_keys_are_outside_the_sampling_loop(dit, inputs):
    """No product with the text's rows is left in the loop over steps."""
    x, _, text = inputs
    grid = grids.shifted(5, shift=2.0)
    jaxpr = jax.make_jaxpr(lambda dit: sample(dit.velocity(text), x[..., :2], grid).final)
    wide = dataclasses.replace(SMALL, in_channels=2)
    program = jaxpr(build(wide))
    rows = f"[{len(text)},24]"  # keys and values have one row of width dim per row of text
    loops = [eqn for eqn in program.eqns if eqn.primitive.name == "scan" and eqn.params["length"] == 5]
    blocks = [eqn for eqn in program.eqns if eqn.primitive.name == "scan" and rows in str(eqn.params["jaxpr"])]
    assert [e for e in loops if rows in str(e.params["jaxpr"])] == []
    assert len(blocks) == 1


def test_guided_is_cfg_of_two_velocities(dit, inputs):
    x, time, text = inputs
    negative, level = -text, Level(time / 1000, time)
    options = dict(taps={"block.0": lambda h: h[0]}, edits={"block.1": lambda h: 1.5 * h})

    def two(dit):
        branches = dit.velocity(text, **options), dit.velocity(negative, **options)
        return cfg(*branches, 3.0, renorm=rescale(0.5))(x, level)

    one = lambda dit: dit.guided(text, negative, 3.0, renorm=rescale(0.5), **options)(x, level)
    one, two = jax.jit(one)(dit), jax.jit(two)(dit)
    np.testing.assert_allclose(one.v, two.v, atol=1e-5)
    np.testing.assert_allclose(one.taps["block.0"], two.taps["block.0"], atol=2e-6)
    with pytest.raises(ValueError, match=r"guided: text \(4, 5\) and negative \(3, 5\)"):
        dit.guided(text, negative[:3], 3.0)


# ------------------------------------------------------------------------------------------------- the model itself


@pytest.mark.parametrize("options", [{"unroll": True}, {"remat": "full"}, {"remat": "dots", "unroll": True}])
def test_options_do_not_change_gradients(dit, inputs, options):

    def gradient(cfg):
        other = jax.tree.map(lambda a: a, dit)
        other.cfg = cfg
        loss = lambda d: jnp.square(d(*inputs).v).mean()
        return jax.tree.leaves(jax.jit(jax.grad(loss))(other))

    for a, b in zip(gradient(dit.cfg), gradient(dataclasses.replace(dit.cfg, **options)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * max(1e-3, np.abs(a).max()))


def test_vmap_velocity_and_donation(dit, inputs, plain):
    x, time, text = inputs
    velocity = dit.velocity(text)
    out = velocity(x, Level(sigma=jnp.float32(0.43), time=time))
    assert isinstance(out, Prediction) and out.v.shape == (*GRID, 2) and out.v.dtype == jnp.float32
    np.testing.assert_allclose(out.v, plain.v, atol=1e-5)
    batch = jax.vmap(lambda x, t: dit(x, t, text).v)(jnp.stack([x, -x]), jnp.stack([time, time / 2]))
    np.testing.assert_allclose(batch[0], plain.v, atol=1e-5)

    update = lambda dit, x: jax.tree.map(lambda p: p + dit(x, time, text).v.mean(), dit)
    copy = jax.tree.map(jnp.array, dit)
    new = jax.jit(update, donate_argnums=0)(copy, x)
    assert isinstance(new, wan.WanDiT) and all(p.is_deleted() for p in jax.tree.leaves(copy))
    np.testing.assert_allclose(new.head.bias[...] - dit.head.bias[...], plain.v.mean(), rtol=1e-2, atol=1e-5)


def test_causal(inputs):
    """With `causal` a frame's velocity does not see later frames; without, it does."""

    x, time, text = inputs
    later = x.at[1].add(1.0)
    dit = build(dataclasses.replace(SMALL, causal=True))
    run = jax.jit(call)
    np.testing.assert_array_equal(run(dit, x, time, text).v[0], run(dit, later, time, text).v[0])
    earlier = run(dit, x.at[0].add(1.0), time, text).v
    assert np.abs(earlier[1] - run(dit, x, time, text).v[1]).max() > 1e-3
    dit.cfg = SMALL
    assert np.abs(run(dit, x, time, text).v[0] - run(dit, later, time, text).v[0]).max() > 1e-3


def test_half_precision_follows(dit, inputs, plain):
    """bfloat16 matrices, float32 norms and time: near the float32 result, and the output is float32."""

    other = jax.tree.map(lambda a: a, dit)
    other.cfg = dataclasses.replace(dit.cfg, dtype="bfloat16")
    v = jax.jit(call)(other, *inputs).v
    assert v.dtype == jnp.float32
    assert 0 < np.abs(v - plain.v).max() < 0.05 * np.abs(plain.v).max()


def test_initialisation():
    dit = wan.WanDiT(SMALL, rngs=nnx.Rngs(0))
    assert not dit.head.kernel[...].any()
    m = dit.blocks.modulation[...]
    assert (m[:, [2, 5]] == 1).all() and not (m[:, [0, 1, 3, 4]] == 1).any()
    assert not (dit.blocks.ffn_in.kernel[...][0] == dit.blocks.ffn_in.kernel[...][1]).any()

    public = wan.WanDiT(dataclasses.replace(SMALL, gate_init=None, text_dim=400), rngs=nnx.Rngs(0))
    assert abs(float(public.text_in.kernel[...].std()) - 0.02) < 1e-3
    assert abs(float(public.blocks.modulation[...].std()) - 24**-0.5) < 0.05
    same = jax.tree.map(lambda a, b: bool((a == b).all()), dit, wan.WanDiT(SMALL, rngs=nnx.Rngs(0)))
    assert all(jax.tree.leaves(same))


A14B = {"dim": 5120, "ffn_dim": 13824, "heads": 40, "layers": 40}
PUBLIC = {
    "T2V-1.3B": ({}, 1.419e9, 15 + 27 * 30),
    "T2V-14B": (A14B, 14.288e9, 15 + 27 * 40),
    "I2V-14B": (A14B | {"in_channels": 36, "image_dim": 1280}, 16.395e9, 23 + 32 * 40),
    "I2V-A14B": (A14B | {"in_channels": 36}, 14.289e9, 15 + 27 * 40),
    "TI2V-5B": (
        {"dim": 3072, "ffn_dim": 14336, "heads": 24, "layers": 30, "in_channels": 48, "out_channels": 48},
        5.000e9,
        15 + 27 * 30,
    ),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_sizes(name):
    from vrjax.models.wan.readers import NETWORK

    fields, parameters, tensors = PUBLIC[name]
    cfg = wan.WanConfig(**fields)
    count = sum(np.prod(leaf.shape, dtype=np.int64) for leaf in jax.tree.leaves(wan.abstract(cfg)))
    assert abs(count - parameters) <= 0.5e6  # the sheet gives four or five digits
    for layout in ("diffusers", "original"):
        keys = [key for slot in NETWORK.slots(cfg, layout) for key in slot.keys]
        assert len(keys) == len(set(keys)) == tensors
    assert cfg.head_dim == 128


def test_logical_axes():

    cfg = dataclasses.replace(SMALL, image_dim=6, image_positions=4)
    axes = wan.logical_axes(cfg)
    sizes = {"embed": 24, "embed_in": 24, "heads": 24, "mlp": 36, "layers": 3, "text": 5, "image": 6, "modulation": 144}
    for path, leaf in jax.tree_util.tree_leaves_with_path(wan.abstract(cfg)):
        node = axes
        for key in path[:-1]:
            node = node[key.name]
        assert len(node) == leaf.ndim
        for name, size in zip(node, leaf.shape, strict=True):
            assert sizes.get(name, size) == size, path
    assert axes["blocks"]["ffn_out"]["kernel"] == ("layers", "mlp", "embed")
    assert axes["blocks"]["self_attn"]["o"]["kernel"] == ("layers", "heads", "embed")


def test_wrong_shapes(dit, inputs):
    x, time, text = inputs
    image = wan.WanDiT(wan.WanConfig(**PUBLIC_TINY), rngs=nnx.Rngs(0))
    for args, options, match in [
        ((x[..., :2], time, text), {}, "2 channels, expected in_channels=3"),
        ((x[:, :3], time, text), {}, "not divisible by the patch"),
        ((x, time, text[:, :4]), {}, "text_dim=5"),
        ((x, time, text[:0]), {}, "l >= 1"),
        ((x, jnp.ones(5), text), {}, r"time: shape \(5,\).*\(2,\).*\(8,\)"),
        ((x[..., :2], time, text), {"image": x[:1, ..., :1]}, "does not match x"),
        ((x, time, text), {"image": wan.Image(clip=jnp.ones((2, 6)))}, "no image branch"),
    ]:
        with pytest.raises(ValueError, match=match):
            dit(*args, **options)
    with pytest.raises(ValueError, match="image_dim=6"):
        image(x, time, text, image=wan.Image(clip=jnp.ones((4, 5))))
    with pytest.raises(ValueError, match="image_positions=4"):
        image(x, time, text, image=wan.Image(clip=jnp.ones((3, 6))))
    for fields in [{"heads": 5}, {"heads": 12}, {"remat": "some"}, {"freq_dim": 7}, {"image_positions": 2}]:
        with pytest.raises(ValueError, match="WanConfig"):
            wan.WanConfig(**{"dim": 24, "heads": 3} | fields)


PUBLIC_TINY = {
    "dim": 24,
    "ffn_dim": 8,
    "heads": 3,
    "layers": 1,
    "in_channels": 3,
    "text_dim": 5,
    "freq_dim": 8,
    "image_dim": 6,
    "image_positions": 4,
}


def test_attention_choice_reaches_the_model(inputs, monkeypatch):

    seen = []
    plain = attention._plain
    monkeypatch.setattr(attention, "_plain", lambda *a: seen.append(1) or plain(*a))
    build(dataclasses.replace(SMALL, attention="xla"))(*inputs)
    assert seen


# ------------------------------------------------------------------------------------------------- what the head says


@pytest.mark.parametrize("predicts", ["clean", "change"])
@pytest.mark.parametrize(
    "levels", [0.8, 0.01, (0.8, 0.3), tuple(np.linspace(0.2, 0.9, 8))], ids=["one", "least", "frame", "token"]
)
def test_a_network_that_says_the_latent_means_the_way_to_it(predicts, levels):
    """x - sigma v is what the head says, at any level but the least; a change is added to the picture given."""
    more = dataclasses.replace(SMALL, in_channels=5)
    said, other = build(more), build(dataclasses.replace(more, predicts=predicts))
    x, image = (jax.random.normal(jax.random.key(n), (*GRID, c)) for n, c in ((1, 2), (2, 3)))
    time, text = 1000 * jnp.asarray(levels, jnp.float32), jnp.ones((1, 5))
    sigma = np.maximum(np.asarray(levels), 0.05)
    sigma = sigma if sigma.ndim == 0 else sigma[:, None, None, None] if len(sigma) == 2 else spread_over_tokens(sigma)
    expected = said(x, time, text, image=image).v + (image[..., 1:] if predicts == "change" else 0)
    np.testing.assert_allclose(x - sigma * other(x, time, text, image=image).v, expected, atol=2e-5)


def spread_over_tokens(sigma):
    """One level a token of 1 x 2 x 2 places, in their order."""
    return sigma.reshape(2, 2, 2).repeat(2, 1).repeat(2, 2)[..., None]


def test_what_cannot_be_said_is_refused():
    with pytest.raises(ValueError, match="WanConfig: predicts='noise', expected one of velocity, clean, change"):
        dataclasses.replace(SMALL, predicts="noise")
    with pytest.raises(ValueError, match="adds to the picture that is given"):
        dataclasses.replace(SMALL, predicts="change")
    dit = build(dataclasses.replace(SMALL, in_channels=4, predicts="change"))
    with pytest.raises(ValueError, match="image: found none, expected the picture"):
        dit(jnp.ones((*GRID, 4)), 500.0, jnp.ones((1, 5)))
