"""MotionDiT without torch: the public code's numbers, its three branches, lengths, sites, counts, meshes, errors."""

import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.test_flops import products
from vrjax import flow, parallel
from vrjax.flow import Level, grids
from vrjax.models import family
from vrjax.models import motion as models

FIXTURES = pathlib.Path(__file__).parent / "fixtures" / "vimogen"
SMALL = models.MotionConfig(
    dim=16, ffn_dim=24, heads=4, layers=3, channels=10, reference_channels=7, text_dim=6, freq_dim=8, text_len=5
)
SPLIT = dataclasses.replace(SMALL, reference_channels=None, local_channels=4)
FRAMES = 6


@functools.partial(jax.jit, static_argnums=(0, 1))
def build(cfg=SMALL, seed=0):
    """A network with every parameter random: biases start at zero."""
    leaves, tree = jax.tree.flatten(models.init(cfg, jax.random.key(seed)))
    keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
    return tree.unflatten([a + 0.1 * jax.random.normal(k, a.shape) for a, k in zip(leaves, keys, strict=True)])


def draw(*shape, seed=3):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def public():
    return models.load_dit(FIXTURES / "model.pt")


@pytest.fixture(scope="module")
def small():
    return build()


@pytest.fixture(scope="module")
def inputs():
    """x, time, text, reference of the small network."""
    return draw(FRAMES, 10), np.float32(430.0), draw(5, 6, seed=4), draw(FRAMES, 7, seed=5)


@functools.partial(jax.jit, static_argnames="mode")
def call(dit, x, time, text, reference, mode, attend=None, length=None, rows=None):
    given = {"attend_to_text": attend, "length": length, "reference_length": rows}
    return dit(x, time, text, reference=reference, mode=mode, **given, taps={"block.*": lambda h: h})


# ------------------------------------------------------------------------------------------------ the public numbers


@functools.partial(jax.jit, static_argnames=("mode", "gate"))
def batch(dit, io, mode="mixed", gate=True):
    def one(x, time, text, reference, attend, shown, seen):
        attend = attend if gate else None
        return call.__wrapped__(dit, x, time, text, reference, mode, attend, shown.sum(), seen.sum())

    names = ("x", "timestep", "context", "ref_motion", "attend_to_text_mask", "x_mask", "ref_motion_mask")
    return jax.vmap(one)(*(io[name] for name in names))


@pytest.fixture(scope="module", params=[("ref_t0", 3e-5), ("ref_mixed", 2e-4)], ids=lambda p: p[0])
def public_io(request):
    name, tolerance = request.param
    with np.load(FIXTURES / f"{name}.npz", allow_pickle=False) as file:
        return dict(file), tolerance


def test_public_outputs(public, public_io):
    """Branches mixed in one batch, lengths by prefix, holes in the reference's mask; every block's stream as well."""
    io, tolerance = public_io
    found = batch(public, {name: io[name] for name in io if not name.startswith(("block", "output"))})
    assert 3 < np.abs(io["output"]).max() < 20  # the tolerances are meant for outputs of order 7
    assert np.abs(found.v - io["output"]).max() <= tolerance
    for i in [i for i in range(public.cfg.layers) if f"block_{i}" in io]:
        assert np.abs(found.taps["block.*"][:, i] - io[f"block_{i}"]).max() <= tolerance


def test_the_branch_without_a_gate_is_that_of_a_zero_reference(public, public_io):
    io, tolerance = public_io
    if "output_auto_gate" not in io:
        pytest.skip("made with the gate alone")
    assert np.abs(batch(public, io, gate=False).v - io["output_auto_gate"]).max() <= tolerance


def test_static_modes_are_the_branches_of_the_mixed_one(public, public_io):
    io, tolerance = public_io
    text, motion = (batch(public, io, mode=mode).v for mode in ("text", "motion"))
    chosen = np.where(io["attend_to_text_mask"][:, None, None], text, motion)
    assert np.abs(chosen - io["output"]).max() <= tolerance
    assert np.abs(np.asarray(text - motion)).max() > 0.1  # the branches differ


def test_encoded_reference(public, public_io):
    io, tolerance = public_io

    @jax.jit
    def encode(x, time, reference, shown):
        context = public.context(reference=reference, mode="motion", length=shown.sum())
        return public.encode_reference(context, public.embed_time(time, len(x))[1])[0]

    for i, attends in enumerate(io["attend_to_text_mask"]):
        if not attends and "ref_encoded" in io:
            found = encode(io["x"][i], io["timestep"][i], io["ref_motion"][i], io["x_mask"][i])
            assert np.abs(found - io["ref_encoded"][i]).max() <= tolerance


def test_a_whole_public_run(public):
    """From text, guided by 5, 231 rows, one motion shorter than its array: the state after every step."""
    io = dict(np.load(FIXTURES / "t2m_cfg5_6steps_start1.0_padded.npz", allow_pickle=False))
    grid = grids.vimogen(len(io["timesteps"]))
    np.testing.assert_allclose(grid.sigmas, io["sigmas"], atol=1e-7)
    np.testing.assert_allclose(grid.times, io["timesteps"], atol=1e-4)

    @jax.jit
    def run(noise, text, null, shown):
        text, null = models.padded(text, null)
        velocity = public.guided(text, null, float(io["guidance"]), mode="text", length=shown.sum())
        return flow.sample(velocity, noise, grid)

    for i in range(2):
        found = run(io["noise"][i], io["context"][i], io["context_null"][i], io["x_mask"][i])
        assert np.abs(found.v[0] - io["first_prediction"][i]).max() <= 5e-4
        for step, expected in enumerate(io["latents"][:, i]):
            assert np.abs(found.x[step + 1] - expected).max() <= 5e-4, step
    # One row of zeros more is heard: what is padded to the wrong length would not pass above.
    longer = run(io["noise"][0], np.pad(io["context"][0], ((0, 1), (0, 0))), io["context_null"][0], io["x_mask"][0])
    assert np.abs(longer.final - io["latents"][-1, 0]).max() > 1e-3


# -------------------------------------------------------------------------------------------------------- branches


def test_gradients_into_the_branch_that_is_not_taken_are_zero(small, inputs):
    x, time, text, reference = inputs
    loss = lambda dit, attend: jnp.sum(jnp.square(call.__wrapped__(dit, x, time, text, reference, "mixed", attend).v))
    both = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(small, np.array([True, False]))
    grads = {attend: jax.tree.map(lambda g, i=i: g[i], both) for i, attend in enumerate((True, False))}
    size = lambda tree: max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(tree))
    of_text = lambda dit: (dit.text_in, dit.text_out, dit.blocks.cross_attn, dit.blocks.norm3)
    of_motion = lambda dit: (
        dit.reference_embedding, dit.reference_encoder, dit.blocks.reference_attn, dit.blocks.norm4
    )  # fmt: skip
    assert size(of_motion(grads[True])) == 0 < size(of_text(grads[True]))
    assert size(of_text(grads[False])) == 0 < size(of_motion(grads[False]))


def test_a_static_mode_has_no_trace_of_the_other_branch(small, inputs):
    x, time, text, reference = inputs
    wide = 5 * 6, FRAMES * 7  # nothing else has as many numbers
    count = lambda mode: jax.make_jaxpr(lambda t, r: call.__wrapped__(small, x, time, t, r, mode).v)(text, reference)
    used = lambda mode: {var.aval.size for eqn in count(mode).jaxpr.eqns for var in eqn.invars if hasattr(var, "aval")}
    assert wide[0] in used("text") and wide[1] not in used("text")
    assert wide[1] in used("motion") and wide[0] not in used("motion")
    assert set(wide) <= used("mixed")


@settings(deadline=None, max_examples=12)
@given(length=st.integers(1, FRAMES), mode=st.sampled_from(["text", "motion"]), seed=st.integers(0, 99))
def test_what_lies_behind_the_length_is_not_heard(small, inputs, length, mode, seed):
    """The frames that count are what the shorter motion alone gives, whatever the others hold."""
    x, time, text, reference = inputs
    behind = (np.arange(FRAMES) >= length)[:, None] * 10
    found = call(small, x + behind * draw(FRAMES, 10, seed=seed), time, text,
                 reference + behind * draw(FRAMES, 7, seed=seed), mode, None, length)  # fmt: skip
    alone = call(small, x, time, text, reference, mode, None, length)
    np.testing.assert_allclose(found.v[:length], alone.v[:length], atol=2e-5)


def test_a_length_is_the_shorter_motion(small, inputs):
    x, time, text, reference = inputs
    for mode in ("text", "motion"):
        short = call(small, x[:4], time, text, reference[:4], mode).v
        np.testing.assert_allclose(call(small, *inputs, mode, None, 4).v[:4], short, atol=2e-5)  # traced
        known = jax.jit(lambda dit, mode=mode: dit(x, time, text, reference=reference, mode=mode, length=4).v)
        np.testing.assert_allclose(known(small)[:4], short, atol=2e-5)
    seen = call(small, *inputs, "motion", None, 6, 4).v
    assert np.abs(seen - call(small, *inputs, "motion").v).max() > 1e-3


def test_times_of_single_frames(small, inputs):
    x, time, text, reference = inputs
    equal = call(small, x, np.full(FRAMES, time), text, reference, "mixed", True)
    np.testing.assert_allclose(equal.v, call(small, *inputs, "mixed", True).v, atol=1e-5)
    times = np.linspace(0, 900, FRAMES, dtype=np.float32)
    assert np.abs(call(small, x, times, text, reference, "mixed", True).v - equal.v).max() > 1e-3


@pytest.mark.parametrize("time", [430.0, 20.0, (900.0, 400.0, 51.0, 49.0, 1.0, 0.0)])
def test_what_is_predicted(small, inputs, time):
    """Heads that say the motion: the velocity is its distance over the noise level, which is at least .05."""
    x, _, text, reference = inputs
    clean = dataclasses.replace(small.cfg, predicts="clean")
    other = jax.tree.unflatten(jax.tree.structure(models.abstract(clean)), jax.tree.leaves(small))
    said = np.asarray(call(small, x, np.float32(time), text, reference, "text").v, np.float64)
    found = call(other, x, np.float32(time), text, reference, "text").v
    expected = (x - said) / np.maximum(np.asarray(time) / 1000, 0.05).reshape(-1, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("mode", "unroll"), [("text", False), ("motion", False), ("mixed", True)])
def test_questions_agree(inputs, mode, unroll):
    """A call, a velocity, guidance by one pass and `flow.cfg` of two, in every mode, scanned and unrolled."""
    x, time, text, reference = inputs
    dit = build(dataclasses.replace(SMALL, layers=2, unroll=unroll))
    level, other = Level(time / 1000, time), draw(5, 6, seed=9)

    @jax.jit
    def ask(dit, attend):
        how = {"mode": mode, "reference": reference, "attend_to_text": attend, "length": 5}
        one, two = (dit.velocity(words, **how) for words in (text, other))
        guided, by_hand = dit.guided(text, other, 3.0, **how), flow.cfg(one, two, 3.0)
        return dit(x, time, text, **how).v, *(velocity(x, level).v for velocity in (one, guided, by_hand))

    for attend in (True, False) if mode == "mixed" else (True,):
        called, asked, guided, by_hand = ask(dit, attend)
        np.testing.assert_allclose(called, asked, atol=2e-5)
        np.testing.assert_allclose(guided, by_hand, atol=1e-4)


def test_sites_of_the_reference(inputs):
    """Its blocks are tapped and edited like the main ones, in the modes that read it."""
    x, time, text, reference = inputs
    cfg = dataclasses.replace(SMALL, mode="motion")
    of, dit, level = family.of(cfg), build(dataclasses.replace(cfg, reference_layers=2)), Level(time / 1000, time)
    sites = of.sites(dit.cfg)
    assert {"embed", "block.*.cross_attn", "reference.*", "reference.1.ffn"} <= set(sites)
    assert "reference.0.cross_attn" not in sites and not any("reference" in site for site in of.sites(SMALL))
    given = {"text": text, "reference": reference}

    @jax.jit
    def ask(dit):
        tapped = of.velocity(dit, given, taps=dict.fromkeys(sites, lambda h: h))(x, level)
        zero = of.velocity(dit, given, edits={"reference.1": jnp.zeros_like})(x, level)
        guided = of.guided(dit, given, {"text": text}, 3.0, taps={"reference.0": lambda h: h})(x, level)
        context = dit.context(reference=reference)
        return tapped, zero, guided, dit.encode_reference(context, dit.embed_time(time, FRAMES)[1])[0]

    tapped, zero, guided, encoded = ask(dit)
    assert sorted(tapped.taps) == sorted(sites)
    np.testing.assert_array_equal(tapped.taps["reference.*.ffn"][1], tapped.taps["reference.1.ffn"])
    np.testing.assert_allclose(tapped.taps["reference.1"], encoded, atol=1e-6)
    np.testing.assert_allclose(guided.taps["reference.0"], tapped.taps["reference.0"], atol=1e-6)
    assert np.abs(zero.v - tapped.v).max() > 1e-3
    with pytest.raises(ValueError, match="unknown site 'reference.2'; valid sites: reference.I and reference.*"):
        dit.velocity(reference=reference, taps={"reference.2": lambda h: h})(x, level)
    with pytest.raises(ValueError, match="unknown site 'reference.0'; valid sites: embed, block.I"):
        dit.velocity(text, mode="text", taps={"reference.0": lambda h: h})(x, level)


def test_the_split_head(inputs):
    """The local head's answer is told to the global one; in NumPy, from the stream behind the last block."""
    x, time, text, _ = inputs
    dit = build(SPLIT)
    tap = {"block.2": lambda h: h}
    found = jax.jit(lambda dit: dit(x, time, text, taps=tap))(dit)
    e = np.asarray(jax.jit(lambda dit: dit.embed_time(time, FRAMES)[0])(dit), np.float64)
    h = np.asarray(found.taps["block.2"], np.float64)
    f64 = lambda tree: jax.tree.map(lambda a: np.asarray(a, np.float64), tree)

    def head(part, h):
        shift, scale = np.asarray(part.modulation[...], np.float64)[:, None] + e
        normed = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-6)
        return (normed * (1 + scale) + shift) @ f64(part.head.kernel[...]) + f64(part.head.bias[...])

    local = head(dit.local_motion_head, h)
    fused = np.concatenate([h, local], -1) @ f64(dit.fusion.kernel[...]) + f64(dit.fusion.bias[...])
    expected = np.concatenate([local, head(dit.global_motion_head, fused)], -1)
    assert expected.shape == (FRAMES, 10)
    np.testing.assert_allclose(found.v, expected, atol=2e-5)


# ---------------------------------------------------------------------------------------------------------- counts


@pytest.mark.parametrize(
    ("options", "parameters"),
    [({}, 2_258_214_420), ({"reference_channels": None}, 1_419_648_276),
     ({"reference_channels": None, "local_channels": 126}, 1_422_205_716)],
)  # fmt: skip
def test_true_sizes(options, parameters):
    shapes = models.abstract(models.MotionConfig(**options))
    size = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
    assert size(shapes) == parameters
    if not options:
        assert size(shapes.blocks) == 30 * 55_890_176 and size(shapes.reference_encoder) == 15 * 36_991_232
        assert "2.26 billion parameters" in repr(shapes)


@pytest.mark.parametrize("mode", ["text", "motion", "mixed"])
def test_operations_are_those_of_the_traced_network(mode):
    cfg = dataclasses.replace(SMALL, mode=mode, unroll=True, attention="xla")
    given = {name: np.zeros(shape) for name, shape in family.get("motion").conditions(cfg, (FRAMES, 10)).items()}
    traced = jax.make_jaxpr(lambda dit: family.of(cfg).predict(dit, np.zeros((FRAMES, 10)), Level(0.3, 300.0), given).v)
    counted = products(traced(models.abstract(cfg)).jaxpr)
    assert family.of(cfg).flops(cfg, (FRAMES, 10)) == counted
    split = dataclasses.replace(SPLIT, unroll=True, attention="xla")
    traced = jax.make_jaxpr(lambda dit: dit(np.zeros((FRAMES, 10)), 3.0, np.zeros((5, 6))).v)
    assert family.of(split).flops(split, (FRAMES, 10)) == products(traced(models.abstract(split)).jaxpr)


# ---------------------------------------------------------------------------------------------------------- meshes


def test_a_mesh_changes_nothing(small, inputs):
    """Branches and lengths that differ in one batch: vmap on one device, and frames, heads and examples on a mesh."""
    x, time, text, reference = inputs
    given = {
        "x": draw(4, FRAMES, 10), "attend": np.array([1.0, 0.0, 1.0, 0.0]), "length": np.array([6, 5, 3, 6]),
        "reference": draw(4, FRAMES, 7, seed=6),
    }  # fmt: skip

    def run(dit, given):
        def one(x, attend, length, reference):
            more = {"attend_to_text": attend, "length": length}
            return dit(x, time, text, reference=reference, mode="mixed", **more).v

        return parallel.batch(dit.layout, one)(*(given[n] for n in ("x", "attend", "length", "reference")))

    expected = jax.jit(run)(small, given)
    for shape in ({"data": 2, "fsdp": 2, "context": 2}, {"fsdp": 2, "context": 2, "tensor": 2}):
        placed = family.shard(small, parallel.mesh(shape))
        np.testing.assert_allclose(jax.jit(run)(placed, given), expected, atol=1e-5)


def test_an_ensemble_is_the_same_under_vmap_pmap_and_on_a_mesh(small, inputs):
    """Averaging the middle block over seeds while sampling: every front door of a collective."""
    _, _, text, _ = inputs
    grid, edits = grids.vimogen(3), {"block.1": lambda h: jax.lax.pmean(h, "seed")}

    def one(key, dit, edits):
        noise = jax.random.normal(key, (FRAMES, 10))
        return flow.sample(dit.velocity(text, edits=edits), noise, grid).x

    keys = jax.random.split(jax.random.key(0), 8)
    run = lambda how, edits: parallel.over_seeds(lambda key, dit: one(key, dit, edits), keys, how, args=(small,))
    expected = run("vmap", edits)
    assert expected.shape == (8, 4, FRAMES, 10) and np.abs(expected - run("vmap", {})).max() > 0.01
    for how in ("pmap", "mesh"):
        np.testing.assert_allclose(run(how, edits), expected, atol=1e-5)


# ---------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((FRAMES, 9))}, r"x: shape \(6, 9\), expected \(t, channels=10\)"),
        ({"text": None}, "text: found None, but mode 'text' reads it"),
        ({"text": np.zeros((5, 7))}, r"text: shape \(5, 7\), expected \(rows, text_dim=6\)"),
        ({"mode": "motion"}, "reference: found None, but mode 'motion' reads it"),
        ({"mode": "motion", "reference": np.zeros((5, 7))}, "reference: 5 frames, expected those of x, 6"),
        ({"mode": "motion", "reference": np.zeros((6, 8))}, r"reference: shape \(6, 8\)"),
        ({"mode": "both"}, "mode: found 'both', expected one of"),
        ({"length": 7}, "length: found 7, expected 1 to 6"),
        ({"length": np.array([3, 4])}, r"length: shape \(2,\), expected a scalar"),
        (
            {"mode": "mixed", "reference": np.zeros((6, 7)), "attend_to_text": np.ones(2)},
            r"attend_to_text: shape \(2,\)",
        ),
        ({"time": np.zeros(3)}, r"time: shape \(3,\), expected \(\) or \(6,\) per token"),
        ({"taps": {"block.3": lambda h: h}}, "unknown site 'block.3'"),
    ],
)
def test_errors_of_a_call(small, change, message):
    given = {"x": np.zeros((FRAMES, 10)), "time": 3.0, "text": np.zeros((5, 6))} | change
    x, time, text = (given.pop(name) for name in ("x", "time", "text"))
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda: small(x, time, text, **given))


def test_errors_of_configs_and_guidance(small):
    for options, message in (
        ({"dim": 18, "heads": 4}, "dim=18 must be even and a multiple of heads=4"),
        ({"reference_layers": 4}, "reference_layers=4, expected 1 to layers=3"),
        ({"local_channels": 10}, "local_channels=10, expected 1 to 9"),
        ({"reference_channels": None, "mode": "mixed"}, "no reference branch"),
        ({"remat": "some"}, "unknown remat 'some'"),
        ({"predicts": "noise"}, "predicts='noise', expected one of velocity, clean"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(SMALL, **options)
    with pytest.raises(ValueError, match="guided: text .5, 6. and negative .4, 6., expected one shape"):
        small.guided(np.zeros((5, 6)), np.zeros((4, 6)), 5.0)
    with pytest.raises(ValueError, match="negative: found None, but mode 'text' reads it"):
        small.guided(np.zeros((5, 6)), None, 5.0)
    with pytest.raises(ValueError, match="no reference branch"):
        build(SPLIT)(np.zeros((3, 10)), 1.0, reference=np.zeros((3, 7)), mode="motion")
    with pytest.raises(ValueError, match="padded: texts of shapes none"):
        models.padded()
    with pytest.raises(ValueError, match=r"padded: texts of shapes \(1, 2\), \(1, 3\)"):
        models.padded(np.zeros((1, 2)), np.zeros((1, 3)))
    assert [rows.shape for rows in models.padded(np.ones((3, 2)), np.ones((1, 2)))] == [(226, 2)] * 2
    assert [rows.shape for rows in models.padded(np.ones((300, 2)), np.ones((1, 2)))] == [(300, 2)] * 2
    with pytest.raises(ValueError, match="conditions: found reference, but mode 'text' reads text, length"):
        family.get("motion").velocity(small, {"text": np.zeros((5, 6)), "reference": np.zeros((6, 7))})
    with pytest.raises(ValueError, match="differ in text alone, found .'reference'."):
        family.get("motion").guided(small, {"text": np.zeros((5, 6))}, {"reference": np.zeros((6, 7))}, 3.0)
