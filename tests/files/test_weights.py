"""Weights are placed tensor by tensor: the values and shards of `wan.shard`, and no memory beside them."""

import gc
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vrjax import parallel
from vrjax.files import tensors
from vrjax.models import wan

CFG = wan.WanConfig(
    dim=192, ffn_dim=768, heads=2, layers=6, in_channels=7, out_channels=2, text_dim=8, freq_dim=8, image_dim=16
)
MESHES = {
    "split": ({"fsdp": 2, "tensor": 2, "context": 2}, {}),
    "copies": ({"data": 8}, {}),
    "blocks split": ({"fsdp": 2, "data": 4}, {"layers": "fsdp", "embed": None}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random checkpoint in diffusers' layout."""
    rng = np.random.default_rng(0)
    make = lambda a: jnp.asarray(rng.standard_normal(a.shape, np.float32), a.dtype)
    path = tmp_path_factory.mktemp("checkpoint")
    wan.save_dit(jax.tree.map(make, wan.abstract(CFG)), path)
    return path


@pytest.fixture(scope="module")
def reference(folder):
    return wan.load_dit(folder)


def pointers(array):
    return [shard.data.unsafe_buffer_pointer() for shard in array.addressable_shards]


@pytest.mark.parametrize("kind", MESHES)
@pytest.mark.parametrize("hosted", [True, False])
def test_placed_as_shard_places(folder, reference, kind, hosted, monkeypatch):
    """Also by the path of accelerators, which fill a parameter block by block on the device."""
    axes, rules = MESHES[kind]
    mesh = parallel.mesh(axes)
    monkeypatch.setattr(tensors, "_hosted", lambda sharding: hosted)
    found = wan.load_dit(folder, mesh=mesh, rules=rules)
    wanted = wan.shard(reference, mesh, rules)
    assert jax.tree.structure(found) == jax.tree.structure(wanted) and found.layout is not None
    whole = {jax.tree_util.keystr(p): np.asarray(x) for p, x in jax.tree_util.tree_leaves_with_path(reference)}
    for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(wanted), strict=True):
        assert x.sharding == y.sharding and x.dtype == y.dtype and len(x.addressable_shards) == 8
        for shard in x.addressable_shards:
            np.testing.assert_array_equal(shard.data, whole[jax.tree_util.keystr(path)][shard.index])


@pytest.mark.parametrize("kind", [None, *MESHES])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_no_second_copy(folder, kind, dtype, monkeypatch):
    """XLA takes over the very buffers that were filled, and the peak is their size."""
    axes, rules = MESHES[kind] if kind else (None, {})
    mesh = parallel.mesh(axes) if kind else None
    wan.load_dit(folder, mesh=mesh, rules=rules, param_dtype=dtype)  # what is cached is cached now
    made = {}
    empty = tensors.empty

    def watched(shape, dtype):
        buffer = empty(shape, dtype)
        made[buffer.ctypes.data] = buffer.nbytes
        return buffer

    monkeypatch.setattr(tensors, "empty", watched)
    for _ in range(2):  # what the interpreter allots beside is chance; a copy would be in both
        dit = None
        made.clear()
        gc.collect()
        before = len(jax.live_arrays())
        tracemalloc.start()
        dit = wan.load_dit(folder, mesh=mesh, rules=rules, param_dtype=dtype)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        if peak <= sum(made.values()) + 2**20:
            break
    leaves = jax.tree.leaves(dit)
    assert len(jax.live_arrays()) - before == len(leaves)
    assert {p for leaf in leaves for p in pointers(leaf)} == set(made)
    needed = sum(leaf.nbytes for leaf in leaves)
    assert sum(made.values()) == needed > 2**22  # equal parts of several devices are one buffer
    assert needed <= peak <= needed + 2**20


def test_blocks_are_filled_in_place():
    leaf = jax.ShapeDtypeStruct((3, 40, 50), jnp.float32)
    make, put = tensors._programs(leaf.shape, "float32", None)
    whole = make()
    at = whole.unsafe_buffer_pointer()
    for i in range(3):
        whole = put(whole, np.full((40, 50), i, np.float32), i)
    assert whole.unsafe_buffer_pointer() == at
    np.testing.assert_array_equal(whole, np.arange(3.0)[:, None, None] * np.ones((3, 40, 50)))


def test_turned_matrices_and_wrong_shapes():
    """Larger than the piece that is turned at a time, and cast on the way."""
    matrix = np.random.default_rng(1).standard_normal((700, 33)).astype(np.float32)
    leaf = jax.ShapeDtypeStruct((33, 700), jnp.bfloat16)
    found = tensors.array(leaf, lambda i: matrix.T, stacked=False)
    np.testing.assert_array_equal(found, matrix.T.astype(jnp.bfloat16))
    with pytest.raises(ValueError, match=r"read shape \(700, 33\), expected \(33, 700\)"):
        tensors.array(leaf, lambda i: matrix, stacked=False)
