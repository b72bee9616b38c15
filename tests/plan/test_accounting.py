"""Accounts of compiled programs beside what can be counted by hand, and HLO as XLA:TPU prints it."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from vrjax import parallel
from vrjax.plan import accounting, hlo, topology


def account(fn, *shapes, **kwargs):
    return accounting.read(jax.jit(fn, **kwargs).lower(*shapes).compile().as_text())


def test_operations_multiply_through_nested_loops():
    """3 turns of 5 products, forward and backward; XLA's own analysis counts the bodies once."""
    n = 24

    def loss(w, x):
        inner = lambda h, w: (jnp.tanh(h @ w), None)
        outer = lambda h, _: (jax.lax.scan(inner, h, w)[0], None)
        return jax.lax.scan(outer, x, None, length=3)[0].sum()

    shapes = [jax.ShapeDtypeStruct((5, n, n), jnp.float32), jax.ShapeDtypeStruct((n, n), jnp.float32)]
    found = account(loss, *shapes)
    assert found.flops == 15 * 2 * n**3 and not found.unknown_loops
    assert account(jax.grad(loss, argnums=(0, 1)), *shapes).flops == 45 * 2 * n**3
    # Of the forward half every state that a product needs is kept: 3 turns of 5, and their tanh.
    assert account(jax.grad(loss), *shapes).saved_bytes >= 15 * n * n * 4 > found.saved_bytes == 0
    counted_once = jax.jit(loss).lower(*shapes).compile().cost_analysis()["flops"]
    assert counted_once < 15 * 2 * n**3


def test_convolution_on_cpu():
    """Windows that reach over the edge count only where they meet data."""
    x, k = jax.ShapeDtypeStruct((1, 8, 3), jnp.float32), jax.ShapeDtypeStruct((3, 3, 4), jnp.float32)
    conv = lambda x, k: jax.lax.conv_general_dilated(x, k, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))
    found = account(conv, x, k)
    assert found.flops == 2 * 4 * 3 * (3 * 8 - 2)


def test_collectives_by_kind():
    """Bytes a device receives, by hand, of five kinds in a loop of four turns on eight devices."""
    mesh = parallel.mesh({"data": 2, "tensor": 4})
    axis, size = "tensor", 4

    def local(x):
        def body(h, _):
            h = h + jax.lax.all_gather(h, axis, tiled=True)[: len(h)]
            h = h + jax.lax.ppermute(h, axis, [(i, (i + 1) % size) for i in range(size)])
            h = h + jax.lax.all_to_all(h.reshape(size, -1), axis, 0, 0).reshape(h.shape)
            h = h + jnp.tile(jax.lax.psum_scatter(h, axis, tiled=True), size)
            return h / jax.lax.psum(h, axis), None

        return jax.lax.scan(body, x, None, length=4)[0]

    mapped = jax.shard_map(local, mesh=mesh, in_specs=P(("data", "tensor")), out_specs=P(("data", "tensor")))
    sharding = NamedSharding(mesh, P(("data", "tensor")))
    found = account(mapped, jax.ShapeDtypeStruct((8 * 64,), jnp.float32, sharding=sharding))
    mine = 64 * 4
    by_hand = {
        "all-gather": 4 * mine * 3,
        "all-reduce": 4 * 2 * mine * 3 / 4,
        "all-to-all": 4 * mine * 3 / 4,
        "collective-permute": 4 * mine,
        "reduce-scatter": 4 * mine * 3 / 4,
    }
    assert {kind: c.bytes for kind, c in found.collectives.items()} == by_hand
    assert {c.count for c in found.collectives.values()} == {4.0}
    assert found.collective_bytes == sum(by_hand.values())


def test_unknown_trip_count_is_said():
    """A loop that ends when its data say so counts once and is named."""
    run = lambda x: jax.lax.while_loop(lambda x: jnp.sum(x) < 9.0, lambda x: x @ x + 1.0, x)
    found = account(run, jax.ShapeDtypeStruct((6, 6), jnp.float32))
    assert found.flops == 2 * 6**3
    assert len(found.unknown_loops) == 1 and "while" in found.unknown_loops[0]


# As libtpu prints it: no trip count at the loop, the limit handed through the loop's tuple, a product as a convolution
# with a dilated batch, one collective split over three fusions, several of one channel, an operand of which a slice is
# read, attributes over several lines, fast memory S(1).
TPU = """\
HloModule jit_f, is_scheduled=true, num_partitions=4

%start (p0: bf16[64,128]) -> bf16[64,512] {
  %p0 = bf16[64,128]{1,0:T(8,128)(2,1)} parameter(0)
  %all-gather.1 = bf16[64,512]{1,0:T(8,128)(2,1)S(1)} all-gather(%p0), channel_id=1, replica_groups=[1,4]<=[4], dimensions={1}
  ROOT %custom-call.1 = bf16[64,512]{1,0:T(8,128)(2,1)S(1)} custom-call(%all-gather.1), custom_call_target="AsyncCollectiveStart"
}

%async_collective_fusion.2 (p7: bf16[64,512]) -> bf16[64,512] {
  %p7 = bf16[64,512]{1,0:T(8,128)(2,1)S(1)} parameter(0)
  ROOT %all-gather.5 = bf16[64,512]{1,0:T(8,128)(2,1)S(1)} all-gather(%p7), channel_id=1, replica_groups=[1,4]<=[4], dimensions={1}
}

%done (p1: bf16[64,128]) -> bf16[64,512] {
  %p1 = bf16[64,128]{1,0:T(8,128)(2,1)} parameter(0)
  %all-gather.2 = bf16[64,512]{1,0:T(8,128)(2,1)S(1)} all-gather(%p1), channel_id=1, replica_groups=[1,4]<=[4], dimensions={1}
  ROOT %custom-call.2 = bf16[64,512]{1,0:T(8,128)(2,1)S(1)} custom-call(%all-gather.2), custom_call_target="AsyncCollectiveDone"
}

%all-reduce-scatter.3 (p2: f32[8,16]) -> f32[2,16] {
  %p2 = f32[8,16]{1,0:T(8,128)} parameter(0)
  %all-reduce.4 = f32[8,16]{1,0:T(8,128)} all-reduce(%p2), channel_id=8, replica_groups=mesh['a'=2,'b'=2] {'a','b'}, to_apply=%add
  ROOT %dynamic-slice.1 = f32[2,16]{1,0:T(8,128)} dynamic-slice(%all-reduce.4), dynamic_slice_sizes={2,16}
}

%take (p3: f32[6,32,64], p4: s32[]) -> f32[1,32,64] {
  %p3 = f32[6,32,64]{2,1,0:T(8,128)} parameter(0)
  %p4 = s32[]{:T(128)} parameter(1)
  ROOT %dynamic-slice.2 = f32[1,32,64]{2,1,0:T(8,128)S(1)} dynamic-slice(%p3, %p4), dynamic_slice_sizes={1,32,64}
}

%body (p5: (s32[], f32[6,32,64], s32[], bf16[64,128])) -> (s32[], f32[6,32,64], s32[], bf16[64,128]) {
  %p5 = (s32[]{:T(128)}, f32[6,32,64]{2,1,0:T(8,128)}, s32[]{:T(128)}, /*index=3*/bf16[64,128]{1,0:T(8,128)(2,1)}) parameter(0)
  %one = s32[]{:T(128)} constant(1)
  %i = s32[]{:T(128)} get-tuple-element(%p5), index=0
  %w = f32[6,32,64]{2,1,0:T(8,128)} get-tuple-element(%p5), index=1
  %limit = s32[]{:T(128)} get-tuple-element(%p5), index=2
  %h = bf16[64,128]{1,0:T(8,128)(2,1)} get-tuple-element(%p5), index=3
  %copy.1 = s32[]{:T(128)S(6)} copy(%i)
  %next = s32[]{:T(128)S(6)} add(%copy.1, %one)
  %fusion.1 = bf16[64,512]{1,0:T(8,128)(2,1)S(1)} fusion(%h), kind=kCustom, calls=%start
  %fusion.5 = bf16[64,512]{1,0:T(8,128)(2,1)S(1)} fusion(%fusion.1), kind=kOutput, calls=%async_collective_fusion.2
  %two = bf16[64,512]{1,0:T(8,128)(2,1)S(1)} all-to-all(%fusion.1), channel_id=1, replica_groups={{0,1},{2,3}}, dimensions={1}
  %three = bf16[64,512]{1,0:T(8,128)(2,1)S(1)} all-to-all(%two), channel_id=1, replica_groups={{0,1},{2,3}}, dimensions={1}
  %fusion.2 = bf16[64,512]{1,0:T(8,128)(2,1)S(1)} fusion(%h), kind=kCustom, calls=%done
  %fusion.3 = f32[1,32,64]{2,1,0:T(8,128)S(1)} fusion(%w, %copy.1), kind=kLoop, calls=%take
  %a = bf16[2,256,512]{2,1,0:T(8,128)(2,1)S(1)} custom-call(), custom_call_target="AllocateBuffer"
  %convolution.1 = bf16[2,256,256]{1,2,0:T(8,128)(2,1)S(1)} convolution(%a, %a), window={size=2 lhs_dilate=2}, dim_labels=0bf_0oi->0bf
  %kernel = bf16[8,256,64]{2,1,0:T(8,128)(2,1)S(1)} custom-call(%a), custom_call_target="tpu_custom_call", frontend_attributes={kernel_metadata={
"xprof_metadata":"{\\"block_q\\": 512}"
}}, metadata={op_name="jit(f)/my_kernel"}, backend_config={"custom_call_config":{"body":"TUzvUg(("}}
  ROOT %tuple.1 = (s32[]{:T(128)}, f32[6,32,64]{2,1,0:T(8,128)}, s32[]{:T(128)}, bf16[64,128]{1,0:T(8,128)(2,1)}) tuple(%next, %w, %limit, %h)
}

%condition (p6: (s32[], f32[6,32,64], s32[], bf16[64,128])) -> pred[] {
  %p6 = (s32[]{:T(128)}, f32[6,32,64]{2,1,0:T(8,128)}, s32[]{:T(128)}, bf16[64,128]{1,0:T(8,128)(2,1)}) parameter(0)
  %i.1 = s32[]{:T(128)} get-tuple-element(%p6), index=0
  %limit.1 = s32[]{:T(128)} get-tuple-element(%p6), index=2
  ROOT %lt = pred[]{:T(512)} compare(%i.1, %limit.1), direction=LT
}

ENTRY %main (w0: f32[6,32,64], h0: bf16[64,128], g: f32[8,16]) -> f32[2,16] {
  %w0 = f32[6,32,64]{2,1,0:T(8,128)} parameter(0)
  %h0 = bf16[64,128]{1,0:T(8,128)(2,1)} parameter(1)
  %g = f32[8,16]{1,0:T(8,128)S(1)} parameter(2)
  %zero = s32[]{:T(128)} constant(0)
  %copy.2 = s32[]{:T(128)} copy(%zero)
  %six = s32[]{:T(128)} constant(6)
  %tuple.2 = (s32[]{:T(128)}, f32[6,32,64]{2,1,0:T(8,128)}, s32[]{:T(128)}, bf16[64,128]{1,0:T(8,128)(2,1)}) tuple(%copy.2, %w0, %six, %h0)
  %while.1 = (s32[]{:T(128)}, f32[6,32,64]{2,1,0:T(8,128)}, s32[]{:T(128)}, bf16[64,128]{1,0:T(8,128)(2,1)}) while(%tuple.2), condition=%condition, body=%body
  ROOT %fusion.4 = f32[2,16]{1,0:T(8,128)S(1)} fusion(%g), kind=kCustom, calls=%all-reduce-scatter.3
}
"""  # noqa: E501


def test_tpu_text():
    product = 6 * 2 * 2 * 256 * 256 * 512
    found = accounting.read(TPU)
    assert found.flops == product
    assert found.unknown_kernels == ("jit(f)/my_kernel",) and not found.unknown_loops
    gathered = 6 * 3 * 64 * 128 * 2
    assert found.collectives == {
        "all-gather": accounting.Collective(6, gathered),
        "all-to-all": accounting.Collective(12, 12 * 64 * 512 * 2 / 2),
        "reduce-scatter": accounting.Collective(1, 8 * 16 * 4 * 3 / 4),
    }
    # Per turn: two fusions read h, the third reads one slice of six of w; the counter's copy and sum read 4 bytes each.
    scalars = 6 * (4 + 4) + 8
    assert found.hbm_bytes == 6 * (2 * 64 * 128 * 2 + 32 * 64 * 4) + scalars

    known = accounting.read(TPU, lambda op, types: 100.0 if op.label.endswith("my_kernel") else None)
    assert known.flops == product + 600 and not known.unknown_kernels


def test_types_and_errors():
    program, entry = hlo.parse(TPU)
    assert entry == "main" and [a.shape for a in program["body"]["p5"].result] == [(), (6, 32, 64), (), (64, 128)]
    assert [a.bytes for a in program["body"]["p5"].result] == [4, 6 * 32 * 64 * 4, 4, 64 * 128 * 2]
    with pytest.raises(ValueError, match="no ENTRY"):
        accounting.read("HloModule empty")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v5p", "expected a chip and its sizes"),
        ("v5e:4xfour", "expected a chip and its sizes"),
        ("v5e:0x4", "expected a chip and its sizes"),
        ("v9:2x2", r"unknown chip 'v9', expected one of \['v5e', 'v5p', 'v6e'\]"),
        ("v5p:4x4", "3 axes"),
        ("v6e:32x32", "1024 chips, the largest v6e slice has 256"),
    ],
)
def test_topology_errors(text, message):
    with pytest.raises(ValueError, match=message):
        topology.parse(text)


def test_topology_and_chips():
    chip, shape = topology.parse("v5p:4x4x8")
    assert (chip.name, shape) == ("v5p", (4, 4, 8))
    for chip in topology.CHIPS.values():
        assert 15 * 2**30 < chip.hbm < 100 * 2**30 and chip.flops > chip.hbm_bandwidth > chip.ici_bandwidth


def test_missing_libtpu_names_the_extra(monkeypatch):
    from jax.experimental import topologies

    def absent(*args, **kwargs):
        raise RuntimeError("no library")

    monkeypatch.setattr(topologies, "get_topology_desc", absent)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    with pytest.raises(ImportError, match=r"libtpu.*vrjax\[plan\]"):
        topology.devices("v5e:2x2")
