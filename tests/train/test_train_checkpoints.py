"""Checkpoints: other meshes, torn files, full disks."""

import errno
import os
import pathlib
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from vrjax import parallel
from vrjax.train import checkpoints
from vrjax.train.checkpoints import Checkpoints

PARAMS = {"blocks": {"kernel": jax.random.normal(jax.random.key(1), (2, 64, 64))}, "bias": jnp.arange(4.0)}
TX = optax.adamw(1e-3)


def trees(step: int):
    params = jax.tree.map(lambda x: x + step, PARAMS)
    return {"params": params, "optimizer": TX.init(params), "key": jax.random.key(step), "step": jnp.int32(step)}


def same(a, b):
    unkey = lambda x: jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(unkey(x), unkey(y)), a, b)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Three complete checkpoints."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    store = Checkpoints(folder, keep=3)
    for step in (1, 2, 3, 4):
        store.save(step, trees(step), data={"next_index": step}, meta={"config": {"name": "x"}})
    store.close()
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    return pathlib.Path(shutil.copytree(saved, tmp_path / "checkpoints"))


def restore(folder, like=None, said=None):
    store = Checkpoints(folder, say=(said if said is not None else []).append)
    try:
        return store.restore(trees(0) if like is None else like)
    finally:
        store.close()


def test_the_newest_comes_back_whole_and_old_ones_go(saved):
    found = restore(saved)
    assert found is not None and found.step == 4 and found.data == {"next_index": 4}
    assert found.meta["config"] == {"name": "x"} and found.meta["schema"] == checkpoints.SCHEMA
    same(found.trees, trees(4))
    assert sorted(p.name for p in saved.iterdir()) == ["2", "3", "4"]


def test_restores_onto_another_mesh_and_a_part(saved):
    mesh = parallel.mesh({"data": 4, "fsdp": 2})
    rows = NamedSharding(mesh, PartitionSpec(None, "data", "fsdp"))
    like = {"params": {"blocks": {"kernel": jax.device_put(PARAMS["blocks"]["kernel"], rows)}, "bias": PARAMS["bias"]}}
    found = restore(saved, like)
    assert found is not None and set(found.trees) == {"params"}
    assert found.trees["params"]["blocks"]["kernel"].sharding == rows
    same(found.trees["params"], trees(4)["params"])


def test_an_empty_folder_is_no_checkpoint(tmp_path):
    assert restore(tmp_path / "new") is None


def test_an_unfinished_save_is_invisible(copy):
    (copy / "4").rename(copy / "4.orbax-checkpoint-tmp")
    found = restore(copy)
    assert found is not None and found.step == 3


def damage(step: pathlib.Path, how: str):
    data = [p for p in step.rglob("*") if p.is_file() and p.parent.name == "d" and "process" in str(p)]
    biggest = max(data, key=lambda p: p.stat().st_size)
    if how == "truncated":
        os.truncate(biggest, biggest.stat().st_size // 2)
    elif how == "empty":
        os.truncate(biggest, 0)
    elif how == "missing":
        biggest.unlink()
    elif how == "flipped":
        content = bytearray(biggest.read_bytes())
        content[len(content) // 2] ^= 1
        biggest.write_bytes(content)
    elif how == "no position":
        shutil.rmtree(step / "data")
    elif how == "meta":
        (step / "meta" / "metadata").write_text('{"schema": ')


@pytest.mark.parametrize("how", ["truncated", "empty", "missing", "flipped", "no position", "meta"])
def test_a_torn_checkpoint_is_set_aside(copy, how):
    damage(copy / "4", how)
    said = []
    found = restore(copy, said=said)
    assert found is not None and found.step == 3 and found.data == {"next_index": 3}
    same(found.trees, trees(3))
    assert len(said) == 1 and "checkpoint 4 cannot be read" in said[0] and "going on from step 3" in said[0]
    assert (copy / "broken-4").is_dir() and not (copy / "4").exists()
    if how == "truncated":  # the step can be saved again
        store = Checkpoints(copy)
        store.save(4, trees(4), data={}, meta={})
        store.close()
        found = restore(copy)
        assert found is not None and found.step == 4


def test_all_torn_is_an_error(copy):
    for step in ("2", "3", "4"):
        damage(copy / step, "truncated")
    with pytest.raises(ValueError, match=r"no checkpoint in .* can be read \(step 4: .*step 3: .*step 2: .*--fresh"):
        restore(copy)
    assert {"2", "3", "4"} <= {p.name for p in copy.iterdir()}  # nothing was thrown away


def test_another_shape_is_an_error_and_not_a_torn_file(copy):
    like = trees(0)
    like["params"]["bias"] = jnp.zeros(5)
    with pytest.raises(
        ValueError, match=r"1 arrays of params differ .* bias: saved float32\[4\], expected float32\[5\]"
    ):
        restore(copy, like)
    assert (copy / "4").is_dir()


def test_a_full_disk_is_seen_before_anything_is_written(copy, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 4096, 4096))
    store = Checkpoints(copy)
    with pytest.raises(OSError, match="step 5 not written .* MiB free; the last good one, step 4, is kept") as error:
        store.save(5, trees(5), data={}, meta={})
    assert error.value.errno == errno.ENOSPC
    store.close()
    assert sorted(p.name for p in copy.iterdir()) == ["2", "3", "4"]


@pytest.fixture
def little(tmp_path):
    """A real file system of 4 MiB, where this user may mount one."""
    folder = tmp_path / "little"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_disk_that_fills_up_while_saving_keeps_the_last_good(little, monkeypatch):
    store = Checkpoints(little / "checkpoints", keep=2)
    store.save(1, trees(1), data={}, meta={})
    store.wait()
    free = shutil.disk_usage(little).free
    (little / "other").write_bytes(b"\0" * max(0, free - 40_000))  # another program took the room
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1 << 40, 0, 1 << 40))
    with pytest.raises(OSError, match="not written .*no space left.*the last good one, step 1, is kept") as error:
        store.save(2, trees(2), data={}, meta={})
        store.wait()
    assert error.value.errno == errno.ENOSPC
    store.close()
    (little / "other").unlink()
    found = restore(little / "checkpoints")
    assert found is not None and found.step == 1
    same(found.trees, trees(1))
