"""Small networks of this house in one file: as they were, under their names, trained once; files of others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors import safe_open

from vrjax.files import leaves


class Net(nnx.Module):
    """More than ten layers, so that their numbers are not in alphabetical order."""

    def __init__(self, width: int = 2, seed: int = 0):
        self.layers = nnx.List([nnx.Linear(width, width, rngs=nnx.Rngs(seed + i)) for i in range(11)])
        self.scale = nnx.Param(jnp.asarray(seed + 0.5, jnp.float16))
        self.width = width

    def __call__(self, x):
        for layer in self.layers:
            x = jnp.tanh(layer(x)) * self.scale[...]
        return x


def test_a_network_is_read_as_it_was_written(tmp_path):
    net, x = Net(seed=3), np.array([0.3, -0.7], np.float32)
    leaves.write(tmp_path / "a.safetensors", net, {"seed": "3"})
    again = leaves.read(tmp_path / "a.safetensors", Net)
    assert isinstance(again, Net) and again.width == 2 and again.scale[...].dtype == jnp.float16
    np.testing.assert_array_equal(again(x), net(x))
    with safe_open(tmp_path / "a.safetensors", "np") as file:
        assert file.metadata() == {"seed": "3"}
        np.testing.assert_array_equal(file.get_tensor("layers.10.kernel"), net.layers[10].kernel[...])


def test_a_file_may_be_of_another_dtype(tmp_path):
    leaves.write(tmp_path / "a.safetensors", Net(seed=3), dtype=np.float16)
    again = leaves.read(tmp_path / "a.safetensors", Net)
    for ours, theirs in zip(jax.tree.leaves(again), jax.tree.leaves(Net(seed=3)), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, np.asarray(theirs, np.float16))


def test_what_was_read_outlives_its_file(tmp_path):
    """No array is a view of a file that another run may change."""
    file, net = tmp_path / "a.safetensors", Net(seed=3)
    leaves.write(file, net)
    again = leaves.read(file, Net)
    with open(file, "r+b") as other:
        other.write(b"\xff" * file.stat().st_size)
    for ours, theirs in zip(jax.tree.leaves(again), jax.tree.leaves(net), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_it_is_trained_once_of_the_same(tmp_path):
    trained = []

    def train():
        trained.append(1)
        return Net(seed=len(trained))

    for about, times in (({"steps": 1}, 1), ({"steps": 1}, 1), ({"steps": 2}, 2)):
        found = leaves.keep(tmp_path / "new" / "a.safetensors", about, train, Net)
        assert len(trained) == times and float(found.scale[...]) == times + 0.5


def test_files_of_others_are_one_line(tmp_path):
    file = tmp_path / "a.safetensors"
    with pytest.raises(FileNotFoundError, match=r"a\.safetensors: no such file"):
        leaves.read(file, Net)
    leaves.write(file, Net(3))
    with pytest.raises(ValueError, match=r"a\.safetensors: layers\.0\.bias is \(3,\), expected \(2,\) of Net$"):
        leaves.read(file, Net)
    leaves.write(file, {"scale": np.float32(1.0)})
    with pytest.raises(ValueError, match=r"a\.safetensors: layers\.0\.bias is None, expected \(2,\) of mine$"):
        leaves.read(file, Net, "mine")
    with pytest.raises(ValueError, match=r"a\.safetensors: not made here"):
        leaves.keep(file, {}, Net, Net)
