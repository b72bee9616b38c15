"""The elliptic study at tiny sizes: its instruments against closed forms, its wiring, and the gate."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.inverse import chains, elliptic, fields
from experiments.inverse.config import Elliptic, Inverse
from tests.inverse.inverse_elliptic import cells_matrix
from vrjax.flow import draws
from vrjax.inverse import darcy, distances, latent, operators
from vrjax.study.tables import Bench

N = 8
TINY = Elliptic(
    cells=N,
    fine=16,
    truths=2,
    sizes=(16, 32),
    rank=4,
    widths=(8,),
    latents=(32,),
    steps=40,
    restarts=1,
    known_to=16,
    directions=8,
    fields=128,
    chains=2,
    burn=20,
    rows=8,
    doublings=3,
    search=5,
)
STUDY = Inverse(name="tiny", seeds=(0,), elliptic=TINY)


@pytest.fixture(scope="module")
def law():
    return fields.true(STUDY)


@pytest.fixture(scope="module")
def frame(law):
    return fields.Frame(*(law[name] for name in fields.Frame._fields))


def test_a_seed_is_measured_and_chains_that_are_too_short_tell_nothing_but_why(tmp_path):
    first = elliptic.measure(STUDY, Bench(tmp_path), 0)
    for name in ("sliced w1", "sliced w1 floor"):
        assert first[f"generator prior {name}"].shape == (1,) and first[f"matern prior {name}"].shape == ()
        assert first[f"gaussian posterior {name}"].shape == (2, 2) and first[f"matern posterior {name}"].shape == (2,)
    assert first["gaussian prior scalars w1"].shape == (2, 3) and first["true posterior rhat"].shape == (2,)
    for name in ("prior sliced w1", "prior scalars w1 floor", "train_w2", "fresh_w2", "prior variance"):
        assert np.isfinite(first[f"generator {name}"]).all() and (first[f"generator {name}"] > 0).all()
    assert np.isfinite(first["generator statistical"]).all() and np.isnan(first["generator optimisation_gap"]).all()
    for arm in (elliptic.GENERATOR, elliptic.GAUSSIAN, elliptic.MATERN):
        for name in ("sliced w1", "sliced w1 floor", "scalars w1", "mean error", "mean from true", "crps", "coverage"):
            assert np.isnan(first[f"{arm} posterior {name}"]).all()
        why = first[f"{arm} posterior not told"]
        assert all("R-hat" in one or "effective" in one for one in why.ravel())
        assert all("the true prior's: " in one for one in why.ravel())
        assert (first[f"{arm} posterior solves"] >= 2 * 2 * 8).all()
        for name, shape in (("sd", (2, N, N)), ("samples", (2, chains.SHOWN, N, N))):
            kept = first[f"{arm} posterior {name}"]
            assert kept.shape[-len(shape) :] == shape and kept.dtype == np.float16 and np.isnan(kept).all()
        trace = first[f"{arm} posterior trace"]
        assert trace.shape[-3:] == (2, 2, 8) and np.isfinite(trace).all()  # chains that failed are what is to be seen


def test_truths_and_data_are_a_seeds_own_and_made_on_the_fine_grid():
    one, other = fields.problem(STUDY, 0), fields.problem(STUDY, 1)
    assert one.y.shape == (2, 36) and one.truth.shape == (2, N, N) and not np.isclose(one.y, other.y).any()
    # The coarse solution of the coarsened truth is within a few deviations of the data, and is not them.
    away = (one.y - jax.vmap(one.operator.apply)(one.truth)) / one.noise_std[:, None]
    assert 0.5 < np.sqrt(np.mean(away**2)) < 3


def test_scalars_of_the_plate_without_a_field(frame):
    _, scalars = fields.told(frame, np.zeros((1, N, N), np.float32))
    np.testing.assert_allclose(scalars[0], [0.0, 1.0, 0.25], rtol=0, atol=1e-5)


def test_coordinates_have_lengths_of_the_unit_square(law, frame):
    across = 0.7 * frame.components[:, 1] * N
    found, _ = fields.told(frame, (frame.mean + N * across).reshape(1, N, N).astype(np.float32))
    np.testing.assert_allclose(found[0], [0, 0.7, 0, 0], rtol=0, atol=1e-5)
    assert np.isclose(np.sqrt(np.mean((N * across) ** 2)), 0.7, rtol=1e-5)
    share = np.mean(np.sum(law["coordinates"] ** 2, 1)) / law["variance"]
    assert abs(share + law["left"] - 1) < 0.15  # of fields that the components have not seen


def test_gaussian_priors_have_the_covariances_that_they_stand_for():
    whole = dataclasses.replace(TINY, rank=N * N)
    made = fields.generator(whole)

    def linear(params):
        latents = np.concatenate([np.zeros((1, N * N)), np.eye(N * N)])
        zero, *rows = fields.made(made.apply, params, latents).astype(np.float64)
        return (np.stack(rows) - zero).reshape(N * N, -1).T, zero

    stationary, left = fields.matern(whole)
    root, zero = linear(stationary)
    kappa = np.asarray(darcy.matern(N).kappa)
    inverse = np.linalg.inv(np.diag(kappa.ravel() ** 2) + N**2 * cells_matrix(np.zeros((N, N))))
    dense = float(darcy.matern(N).scale) * inverse @ inverse * kappa.ravel() ** 3
    np.testing.assert_allclose(root @ root.T, dense @ dense.T, rtol=0, atol=1e-5)
    assert not zero.any()
    assert left < 1e-9 < fields.matern(TINY)[1] < 1
    data = fields.data_set(STUDY, 0, 100)
    gaussian = fields.gaussian(whole, data)
    wanted = np.cov(data.reshape(100, -1).T, bias=True)
    root, zero = linear(gaussian)
    np.testing.assert_allclose(root @ root.T, wanted, rtol=0, atol=1e-5)
    np.testing.assert_allclose(zero, data.mean(0), rtol=0, atol=1e-5)


def test_a_linear_gaussian_posterior_is_the_closed_form(frame):
    """Where the operator is a matrix and the prior affine; its program is another one, quick to compile."""
    sizes = dataclasses.replace(TINY, rows=1500, burn=100, chains=4, doublings=5)
    rng = np.random.default_rng(0)
    matrix, root = rng.normal(size=(3, N * N)) / N, 0.1 * rng.normal(size=(N * N, 5))
    y, std = rng.normal(size=(2, 3)).astype(np.float32) / 5, np.array([0.05, 0.2], np.float32)
    truth = (root @ rng.normal(size=(5, 2))).T.reshape(2, N, N)
    operator = operators.dense(matrix.astype(np.float32), (N, N))
    problem = fields.Problem(operator, y, std, truth)
    found = chains.posterior(sizes, draws.key(0), affine, root.astype(np.float32), 5, problem, frame)
    assert found["why"].tolist() == ["", ""] and (found["rhat"] < 1.01).all() and (found["ess"] >= 400).all()
    for at in range(2):
        seen = matrix @ root / std[at]
        cov = np.linalg.inv(seen.T @ seen + np.eye(5))
        mean = root @ cov @ seen.T @ y[at] / std[at]
        spread = np.sqrt(np.diag(frame.components.T @ root @ cov @ root.T @ frame.components))
        coordinates = found["coordinates"][at].reshape(-1, 4)
        wanted = (mean - frame.mean) @ frame.components
        # Six deviations of a mean of at least 400 effective draws.
        assert (np.abs(coordinates.mean(0) - wanted) < 0.3 * spread).all()
        np.testing.assert_allclose(coordinates.std(0), spread, rtol=0.2)
        wanted = np.sqrt(np.diag(root @ cov @ root.T)).reshape(N, N)
        np.testing.assert_allclose(found["sd"][at], wanted, rtol=0.2)
        # Draws of the posterior, told by u in the middle as its trace is.
        middle = lambda fields: np.asarray(fields, np.float64)[..., N // 2 - 1 : N // 2 + 1, N // 2 - 1 : N // 2 + 1]
        trace = found["trace"][at]
        assert trace.shape == (4, chains.ROWS) and trace.dtype == np.float16
        off = trace.mean(dtype=np.float64) - middle(mean.reshape(N, N)).mean()
        assert abs(off) < 0.3 * trace.std(dtype=np.float64)
        assert ((found["samples"][at] - mean.reshape(N, N)) ** 2 < 36 * wanted**2 + 1e-4).all()
        error = np.linalg.norm(mean - truth[at].ravel()) / np.linalg.norm(truth[at])
        assert abs(found["mean error"][at] - error) < 0.3
        assert found["informed"][at] == np.sum(np.linalg.eigvalsh(cov) <= 0.5) and found["gradient"][at] < 1e-3
    assert ((0 <= found["coverage"]) & (found["coverage"] <= 1)).all() and (found["crps"] > 0).all()


def affine(root, z):
    return (root @ z).reshape(N, N)


def chain(z):
    return latent.Chain(z, -0.5 * np.sum(z**2, -1), latent.Info())


def test_the_gate_sees_latent_density_and_what_is_told():
    rng = np.random.default_rng(0)
    z, told = rng.normal(size=(4, 500, 2)), rng.normal(size=(4, 500, 1))
    assert chains.gate(chain(z), told).passed
    apart = told + np.arange(4)[:, None, None]
    assert "R-hat" in chains.gate(chain(z), apart).why and "R-hat" in chains.gate(chain(z + apart), told).why
    assert "effective" in chains.gate(chain(z[:, :50]), told[:, :50]).why
    broken = chain(z)._replace(log_density=np.full((4, 500), np.nan))
    assert "not finite" in chains.gate(broken, told).why


def test_distances_and_their_floors():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 4, 500, 3)).astype(np.float32)
    ways = np.asarray(distances.directions(draws.key(0), 16, 3))
    found, floor = elliptic.apart(x, y + 1, ways)
    flat = lambda each: each.reshape(-1, 3)
    np.testing.assert_allclose(found, distances.sliced_w1(flat(x), flat(y + 1), ways), rtol=1e-5)
    of = lambda x, y: distances.sliced_w1(x, y, ways)
    wanted = float(distances.floor(of, flat(x), flat(y), draws.key(1), repeats=16))
    assert abs(floor / wanted - 1) < 0.25
    lines, floors = elliptic.apart(x, y)
    one = [float(distances.w1(flat(x)[:, at], flat(y)[:, at])) for at in range(3)]
    np.testing.assert_allclose(lines, one, rtol=1e-5)
    assert floors.shape == (3,)
    # Every draw eight times, one after the other: an eighth of them is independent.
    slow = [np.repeat(each[:, :62], 8, 1) for each in (x, y)]
    assert 2 < elliptic.apart(*slow, ways)[1] / floor < 4
    x[0, 0] = np.nan
    assert np.isnan(elliptic.apart(x, y, ways)).all() and np.isnan(elliptic.apart(x, y)).all()
