"""Files of priors, observations and chains: round trips, that NumPy alone reads them, and what is refused."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vrjax.inverse import darcy, files, latent, operators
from vrjax.inverse.files import Observation

RNG = np.random.default_rng(5)
META = {"prior": "moons", "seed": 3, "params": {"noise": 0.08}}


@pytest.mark.parametrize("shape", [(7, 2), (3, 6, 6), (2, 3, 4, 4, 1)])
def test_a_prior_comes_back(shape, tmp_path):
    x = RNG.normal(size=shape)
    files.write_prior(tmp_path / "new" / "x.npz", x, META | {"note": "with more"})
    found = files.read_prior(tmp_path / "new" / "x.npz", shape[1:])
    assert found.x.dtype == np.float32 and found.meta == META | {"note": "with more"}
    np.testing.assert_array_equal(found.x, x.astype(np.float32))
    with np.load(tmp_path / "new" / "x.npz", allow_pickle=False) as plain:
        assert sorted(plain.files) == ["meta", "x"] and json.loads(str(plain["meta"]))["seed"] == 3
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["x.npz"]  # no scratch is left


def test_an_observation_comes_back(tmp_path):
    operator, y = darcy.operator(6), RNG.random(36)
    for truth in (None, RNG.normal(size=(12, 12))):
        files.write_observation(tmp_path / "y.npz", Observation(y, operator.name, 0.02, operator.in_shape, truth))
        found = files.read_observation(tmp_path / "y.npz", operator)
        np.testing.assert_array_equal(found.y, y)
        assert found[1:4] == ("darcy", 0.02, (6, 6)) and (found.x_true is None) == (truth is None)
    np.testing.assert_array_equal(found.x_true, truth)
    with np.load(tmp_path / "y.npz", allow_pickle=False) as plain:
        assert sorted(plain.files) == ["A_name", "mesh", "sigma", "x_true", "y"]


def test_chains_come_back(tmp_path):
    start = jax.random.normal(jax.random.key(0), (3, 2))
    chain = latent.elliptical_slice(jax.random.key(1), lambda z: -2 * jnp.sum((z - 1) ** 2), start, 40)
    files.write_chain(tmp_path / "c.npz", chain)
    found = files.read_chain(tmp_path / "c.npz")
    np.testing.assert_array_equal(found.z, chain.z)
    np.testing.assert_array_equal(found.log_density, chain.log_density)
    np.testing.assert_array_equal(found.info.evaluations, chain.info.evaluations)
    assert latent.gate(found) == latent.gate(chain)
    with np.load(tmp_path / "c.npz", allow_pickle=False) as plain:
        assert sorted(plain.files) == ["ess", "logp", "rhat", "subiter", "z"]
        np.testing.assert_array_equal(plain["ess"], latent.ess(chain.z))
        np.testing.assert_array_equal(plain["rhat"], latent.rhat(chain.z))


X, Y, Z = np.ones((4, 3), np.float32), np.ones(2), np.zeros((2, 5, 3))
SEEN = {"y": Y, "A_name": "dense", "sigma": 0.1, "mesh": (3,)}
CHAIN = {"z": Z, "logp": Z[..., 0], "subiter": Z[..., 0], "rhat": np.ones(3), "ess": np.ones(3)}
NAN = np.full((4, 3), np.nan, np.float32)
READ = [
    (files.read_prior, {"x": X, "meta": json.dumps(META)}, (5,), r"must hold draws of the shape \(5,\), found \(3,\)"),
    (files.read_prior, {"x": X, "meta": json.dumps(META)}, (3, 3), r"the shape \(3, 3\), found \(3,\) \(of 4\)"),
    (files.read_prior, {"x": NAN, "meta": "{}"}, None, "x must be finite, found 12 of 12"),
    (files.read_prior, {"x": X[:0], "meta": "{}"}, None, r"x must be float32 .* found float32 \(0, 3\)"),
    (files.read_prior, {"x": X.astype(float), "meta": "{}"}, None, "x must be float32 .* found float64"),
    (files.read_prior, {"x": X, "meta": "{}"}, None, r"meta must have prior \(str\), seed \(int\), .* found {}"),
    (files.read_prior, {"x": X, "meta": "["}, None, "meta is no JSON"),
    (files.read_prior, {"x": X, "meta": 3}, None, "meta must be a text, found int64"),
    (files.read_prior, {"x": X}, None, r"holds \['x'\], expected x, meta \(meta is missing\)"),
    (files.read_prior, {"x": np.array([{}], object), "meta": "{}"}, None, "not read as .npz"),
    (files.read_observation, SEEN | {"sigma": 0.0}, None, "sigma must be one finite number above 0, found 0.0"),
    (files.read_observation, SEEN | {"sigma": [0.1, 0.1]}, None, "sigma must be one finite number"),
    (files.read_observation, SEEN | {"y": Y * np.nan}, None, "y must be finite, found 2 of 2"),
    (files.read_observation, SEEN | {"mesh": 0.5}, None, "mesh must be whole numbers"),
    (files.read_chain, CHAIN | {"logp": Z}, None, r"logp must be \(C, K\) of z \(2, 5, 3\)"),
    (files.read_chain, CHAIN | {"z": Z[0]}, None, r"z must be real numbers \(C, K, r\) .* found float64 \(5, 3\)"),
    (files.read_chain, CHAIN | {"ess": np.ones(2)}, None, r"ess must be \(r,\) of z"),
]


@pytest.mark.parametrize("read, arrays, shape, line", READ, ids=[line[:40] for *_, line in READ])
def test_what_is_read_is_held_to_its_format(read, arrays, shape, line, tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=line) as caught:
        read(path) if shape is None else read(path, shape)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(path))


def test_an_observation_of_another_operator_is_refused(tmp_path):
    path = tmp_path / "y.npz"
    files.write_observation(path, Observation(Y, "dense", 0.1, (3,)))
    assert files.read_observation(path, operators.dense(np.ones((2, 3)))).sigma == 0.1
    for operator, line in (
        (operators.pool((2, 2, 1), 2), "A_name must be 'pool', the operator's, found 'dense'"),
        (operators.dense(np.ones((2, 4))), r"mesh must be \(4,\), what the operator takes, found \(3,\)"),
        (operators.dense(np.ones((5, 3))), r"y must have the shape that the operator gives, \(5,\), found \(2,\)"),
    ):
        with pytest.raises(ValueError, match=line):
            files.read_observation(path, operator)


def test_what_is_written_is_held_to_it_too(tmp_path):
    path, chain = tmp_path / "a.npz", latent.Chain(Z, Z[..., 0], latent.Info(evaluations=Z[..., 0]))
    for write, line in (
        (lambda: files.write_prior(path, X[0], META), "x must be real numbers"),
        (lambda: files.write_prior(path, X.astype(float) * 1e300, META), "x must be finite, found 12 of 12"),
        (lambda: files.write_prior(path, X, {"prior": "moons"}), "meta must have"),
        (lambda: files.write_prior(path, X, META | {"at": np.ones(2)}), "meta cannot be written as JSON"),
        (lambda: files.write_prior(path, X, META | {"at": np.nan}), "meta cannot be written as JSON"),
        (lambda: files.write_prior(tmp_path / "a.npy", X, META), "unknown kind of file '.npy', expected .npz"),
        (lambda: files.write_observation(path, Observation(Y, "dense", 0.0, (3,))), "sigma must be one finite"),
        (lambda: files.write_chain(path, chain._replace(z=Z[None])), "z must be real numbers"),
        (lambda: files.write_chain(path, chain._replace(log_density=NAN[:2, :1] + Z[..., 0])), "logp must be finite"),
        (lambda: files.write_chain(path, chain._replace(info=latent.Info(tempering=Z[0, :, 0]))), "particles of"),
    ):
        with pytest.raises(ValueError, match=line) as caught:
            write()
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_what_is_no_archive_is_named(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(FileNotFoundError, match="a.npz: no such file"):
        files.read_prior(path)
    files.write_prior(path, X, META)
    whole = path.read_bytes()
    for content, line in ((whole[:-30], "not read as .npz"), (b"", "the file is empty"), (b"<html>", "a web page")):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=line) as caught:
            files.read_prior(path)
        assert "\n" not in str(caught.value)
