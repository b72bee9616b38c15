"""What every preference loss must do: equal a float64 NumPy reference written from its formula, push the right way.

A new loss is one file with its `METHOD`, and one row in `CASES`.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrjax.align import errors, losses
from vrjax.align.config import Preference

RNG = np.random.default_rng(0)
WIN, LOSE = RNG.normal(0, 0.3, 64), RNG.normal(0, 0.3, 64)
ERROR = RNG.uniform(0.2, 2.0, 64)
LABEL = RNG.integers(0, 2, 64)
SIDES = RNG.integers(-1, 2, 64)


def sig(z):
    return 1 / (1 + np.exp(-z))


def nls(z):
    """-log sigmoid(z)"""
    return np.log1p(np.exp(-np.abs(z))) + np.maximum(-z, 0)


def ref_grpo(lp, old, adv, c):
    rho = np.exp(lp - old)
    return np.maximum(-adv * rho, -adv * np.clip(rho, 1 - c, 1 + c))


# name: (the loss, its reference, two arrays that are differentiated)
CASES = {
    "sft": (lambda w, _: losses.sft(w), lambda w, _: w),
    "dpo": (lambda w, l: losses.dpo(w, l, beta=7.0), lambda w, l: nls(-3.5 * (w - l))),
    "dpo, published beta": (lambda w, l: losses.dpo(w, l, beta=5000.0), lambda w, l: nls(-2500 * (w - l))),
    "dpo, squared beta": (
        lambda w, l: losses.dpo(w, l, beta=losses.beta_at(ERROR / 2, 7.0, weighting="squared")),
        lambda w, l: nls(-3.5 * (1 - ERROR / 2) ** 2 * (w - l)),
    ),
    "ipo": (lambda w, l: losses.ipo(w, l, beta=4.0), lambda w, l: ((l - w) - 1 / 8) ** 2),
    "hinge": (lambda w, l: losses.hinge(w, l, beta=3.0), lambda w, l: np.maximum(0, 1 - 3 * (l - w))),
    "smoothed": (
        lambda w, l: losses.smoothed(w, l, beta=7.0, flipped=0.1),
        lambda w, l: 0.9 * nls(-3.5 * (w - l)) + 0.1 * nls(3.5 * (w - l)),
    ),
    "robust": (
        lambda w, l: losses.robust(w, l, beta=7.0, flipped=0.1),
        lambda w, l: (0.9 * nls(-3.5 * (w - l)) - 0.1 * nls(3.5 * (w - l))) / 0.8,
    ),
    "dpop": (
        lambda w, l: losses.dpop(w, l, beta=7.0, weight=2.0),
        lambda w, l: nls(-3.5 * (w - l)) + 2 * np.maximum(w, 0),
    ),
    "dpop, inside": (
        lambda w, l: losses.dpop(w, l, beta=7.0, weight=2.0, inside=True),
        lambda w, l: nls(3.5 * (l - w - 2 * np.maximum(w, 0))),
    ),
    "reg_dpo": (
        lambda w, l: losses.reg_dpo(w, l, w + 1.5, beta=7.0, weight=0.5),
        lambda w, l: nls(-3.5 * (w - l)) + 0.5 * (w + 1.5),
    ),
    "reference_free": (
        lambda w, l: losses.reference_free(w, l, beta=7.0, margin=0.3),
        lambda w, l: nls(3.5 * (l - w) - 0.3),
    ),
    "kto": (
        lambda w, _: losses.kto(w, LABEL, beta=5.0, baseline=0.05, desirable=1.3, undesirable=0.7),
        lambda w, _: np.where(LABEL, 1.3, 0.7) * (1 - sig((2 * LABEL - 1) * 5 * (-w - 0.05))),
    ),
    "kto, loss averse": (
        lambda w, _: losses.kto(w, LABEL, beta=5.0, utility="loss_averse"),
        lambda w, _: 1 + nls((2 * LABEL - 1) * 5 * -w),
    ),
    "kto, risk seeking": (
        lambda w, _: losses.kto(w, LABEL, beta=5.0, utility="risk_seeking"),
        lambda w, _: 1 - nls((2 * LABEL - 1) * 5 * w),
    ),
    "local_dpo": (
        lambda w, l: losses.local_dpo(
            w, l, 0.5 * w, l + 0.1, 1 + w, beta=7.0, boost=0.5, global_weight=0.3, sft_weight=0.2
        ),
        lambda w, l: nls(-3.5 * 1.5 * (w - l)) + 0.3 * nls(-3.5 * (0.5 * w - l - 0.1)) + 0.2 * (1 + w),
    ),
    "dense_dpo": (
        lambda w, l: losses.dense_dpo(w, l, SIDES, beta=7.0),
        lambda w, l: np.where(SIDES == 0, 0, nls(-3.5 * SIDES * (w - l))),
    ),
    "spo": (
        lambda w, l: losses.spo(w, l, beta=10.0, clip=0.1),
        lambda w, l: nls(10 * (np.log(np.clip(np.exp(w), 0.9, 1.1)) - np.log(np.clip(np.exp(l), 0.9, 1.1)))),
    ),
    "grpo": (lambda w, l: losses.grpo(w, 0.01, ERROR - 1, clip=0.2), lambda w, l: ref_grpo(w, 0.01, ERROR - 1, 0.2)),
    "gaussian_kl": (lambda w, l: losses.gaussian_kl(w, l, 0.4), lambda w, l: (w - l) ** 2 / 0.32),
}


def numeric(f, w, l, step=1e-6):
    """Central differences of an elementwise function in float64, for both arguments."""
    return (f(w + step, l) - f(w - step, l)) / (2 * step), (f(w, l + step) - f(w, l - step)) / (2 * step)


def test_every_loss_has_its_row():
    assert set(losses.METHODS) <= set(CASES)


def the_method(name):
    """The law of `METHOD`: one number a pair, which is the pair's own; at the start a step makes winners likelier and
    losers less so, the more losers there are the same."""
    method = losses.METHODS[name]
    rng = np.random.default_rng(0)
    one, many = (1, 3) if method.most_losers is None else (1, method.most_losers)
    sigma = jnp.asarray(rng.uniform(0.1, 0.9, 6), jnp.float32)
    batch = {"masks": jnp.ones((6, 1, 1)), "label": jnp.ones((6, 1))} if method.needs_masks else {}

    def each(win, lose, win_start, lose_start):
        parts = lambda win, lose: errors.Errors(win, lose, win[:, None], lose[..., None])
        measured = errors.Measured(parts(win, lose), parts(win_start, lose_start), sigma)
        return losses.pair_losses(Preference(loss=name, beta=20.0, losers=lose.shape[1]), measured, batch)

    win, loser = (jnp.asarray(rng.uniform(0.5, 1.5, shape), jnp.float32) for shape in (6, (6, 1)))
    for losers in {one, many}:
        lose = jnp.repeat(loser, losers, 1)
        value = each(win, lose, win, lose)
        assert value.shape == (6,) and np.all(np.isfinite(value))
        dw, dl = jax.grad(lambda w, l, win=win, lose=lose: each(w, l, win, lose).sum(), (0, 1))(win, lose)
        assert np.all(dw > 0) and np.all(dl <= 0) and np.any(dl < 0) == method.needs_losers
        if losers == one:
            single = dw
        np.testing.assert_allclose(dw, single, rtol=1e-5)
    changed = each(win.at[2].add(0.1), lose, win, lose)
    assert np.array_equal(np.flatnonzero(changed != value), [2]) or name == "kto"  # KTO counts from the batch's mean


@pytest.mark.parametrize("name", losses.METHODS)
def test_the_method(name):
    the_method(name)


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_equal_the_float64_reference(name):
    loss, reference = CASES[name]
    obeys(loss, reference)


def obeys(loss, reference):
    """The law of a loss: values and gradients of the reference in float64, the exact values in float32, elementwise."""
    with jax.enable_x64(True):
        w, l = jnp.asarray(WIN), jnp.asarray(LOSE)
        value = loss(w, l)
        assert value.dtype == jnp.float64 and value.shape == w.shape
        np.testing.assert_allclose(value, reference(WIN, LOSE), rtol=1e-12, atol=1e-12)
        grads = jax.grad(lambda w, l: jnp.sum(loss(w, l)), (0, 1))(w, l)
        for found, expected in zip(grads, numeric(reference, WIN, LOSE), strict=True):
            scale = max(1.0, np.abs(expected).max())
            np.testing.assert_allclose(found, expected, atol=1e-6 * scale)
    # float32, what training runs in: the exact value of the rounded arguments
    w32, l32 = WIN.astype(np.float32), LOSE.astype(np.float32)
    exact = reference(w32.astype(np.float64), l32.astype(np.float64))
    np.testing.assert_allclose(loss(jnp.asarray(w32), jnp.asarray(l32)), exact, rtol=1e-6, atol=1e-6)


def test_policy_equal_to_reference_gives_log_2_zero_margin_and_a_quarter_of_beta():
    for beta in (1.0, 500.0, 5000.0):
        assert losses.dpo(0.0, 0.0, beta=beta) == np.float32(math.log(2))
        assert losses.logit(0.0, 0.0, beta=beta) == 0
        grad = jax.grad(functools.partial(losses.dpo, beta=beta), (0, 1))(0.0, 0.0)
        assert grad == (beta / 4, -beta / 4)


@settings(max_examples=25, deadline=None)
@given(st.floats(-2, 2, width=32), st.floats(-2, 2, width=32), st.floats(0.125, 5000, width=32))
def test_a_swap_negates_the_margin(win, lose, beta):
    assert losses.logit(win, lose, beta=beta) == -losses.logit(lose, win, beta=beta)
    difference = losses.dpo(win, lose, beta=beta) - losses.dpo(lose, win, beta=beta)
    np.testing.assert_allclose(difference, -losses.logit(win, lose, beta=beta), rtol=1e-5, atol=1e-6)


def test_equal_win_and_lose_give_no_gradient():
    """A loser that coincides with the winner costs nothing: both sides depend on the weights in the same way."""
    error = lambda theta: jnp.sin(theta) + theta**2
    for loss in (losses.dpo, losses.ipo, losses.hinge):
        grad = jax.grad(lambda t, loss=loss: loss(error(t), error(t), beta=50.0))(0.3)
        assert abs(grad) < 1e-6 * 25.0  # either side alone: 25 or 50 times the error's gradient, about 1.6


def test_losers_vmapped_equal_a_loop_and_are_a_mean():
    lose = RNG.normal(0, 0.1, (5, 3)).astype(np.float32)
    win = RNG.normal(0, 0.1, 5).astype(np.float32)
    beta = np.linspace(1, 9, 5, dtype=np.float32)
    found = losses.over_losers(losses.dpo, win, lose, beta=beta)
    loop = sum(np.asarray(losses.dpo(win, lose[:, n], beta=beta)) for n in range(3)) / 3
    np.testing.assert_allclose(found, loop, atol=1e-6)
    # Released code's defect 3: the gradient was a sum over losers. The same loser three times must change nothing.
    once, thrice = lose[:, :1], np.repeat(lose[:, :1], 3, 1)
    grad = jax.grad(lambda w, l: losses.over_losers(losses.dpo, w, l, beta=50.0).sum())
    np.testing.assert_allclose(grad(win, thrice), grad(win, once), rtol=1e-6)
    with pytest.raises(ValueError, match=r"expected lose_gap \(..., losers\)"):
        losses.over_losers(losses.dpo, win, lose[0], beta=1.0)


def test_beta_is_used():
    """Released code's defect 2: the flag was parsed and 5000 used."""
    values = [float(losses.dpo(0.01, 0.03, beta=beta)) for beta in (1.0, 500.0, 5000.0)]
    np.testing.assert_allclose(values, [nls(0.01), nls(5.0), nls(50.0)], rtol=1e-5)


def test_robust_loss_is_unbiased_under_flipped_labels():
    wrong = lambda w, l: losses.robust(w, l, beta=7.0, flipped=0.2)
    expectation = 0.8 * wrong(WIN, LOSE) + 0.2 * wrong(LOSE, WIN)
    np.testing.assert_allclose(expectation, losses.dpo(WIN, LOSE, beta=7.0), atol=1e-5)


def test_smoothing_has_a_finite_best_margin():
    grad = jax.grad(lambda l: losses.smoothed(0.0, l, beta=2.0, flipped=0.1))
    assert abs(grad(math.log(9.0))) < 1e-6


def test_local_loss_with_a_whole_clip_region_is_dpo_twice():
    value = losses.local_dpo(WIN, LOSE, WIN, LOSE, ERROR, beta=7.0, global_weight=1.0, sft_weight=0.0)
    np.testing.assert_allclose(value, 2 * losses.dpo(WIN, LOSE, beta=7.0), rtol=1e-6)


def test_dense_ties_have_no_gradient():
    grad = jax.grad(lambda w: losses.dense_dpo(w, LOSE, SIDES, beta=7.0).sum())(jnp.asarray(WIN))
    assert np.all((np.asarray(grad) == 0) == (SIDES == 0))


def test_kto_baseline():
    gap = jnp.array([-0.5, 0.1, -0.2])
    np.testing.assert_allclose(losses.kto_baseline(gap), 0.2, rtol=1e-6)
    assert losses.kto_baseline(-gap) == 0
    assert np.all(jax.grad(lambda g: losses.kto_baseline(g))(gap) == 0)


def test_grpo_ratio_is_one_before_an_update():
    """At equal log-densities the loss is -A and its gradient is -A dlogp: no clipping, whatever the values."""
    lp, adv = jnp.asarray(WIN * 30, jnp.float32), jnp.asarray(SIDES, jnp.float32)
    assert np.all(losses.grpo(lp, lp, adv) == -adv)
    grad = jax.grad(lambda x: losses.grpo(x, lp, adv).sum())(lp)
    np.testing.assert_array_equal(grad, -adv)


def test_advantages():
    rewards = np.array([[1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]], np.float32)
    found = np.asarray(losses.advantages(rewards))
    std = rewards.std()
    np.testing.assert_allclose(found[0], [0.5, -0.5, 0.5, -0.5] / (std + 1e-4), rtol=1e-6)
    assert np.all(found[1] == 0)
    np.testing.assert_allclose(losses.advantages(rewards, scale="group")[0], np.array([1, -1, 1, -1]), rtol=1e-3)
    wild = np.zeros((1, 100), np.float32)
    wild[0, 0] = 1
    assert losses.advantages(wild).max() == 5
    with pytest.raises(ValueError, match="unknown scale"):
        losses.advantages(rewards, scale="batch")


def test_gaussian_kl_of_a_step_without_noise_is_zero():
    grad = jax.grad(lambda m: losses.gaussian_kl(m, 0.0, 0.0).sum())(1.0)
    assert losses.gaussian_kl(1.0, 0.0, 0.0) == 0 and grad == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.dpo(0.0, 0.0, beta=0.0), "dpo: beta must be positive"),
        (lambda: losses.ipo(0.0, 0.0, beta=-1.0), "ipo: beta must be positive"),
        (lambda: losses.hinge(0.0, 0.0, beta=math.nan), "hinge: beta must be positive"),
        (lambda: losses.smoothed(0.0, 0.0, beta=1.0, flipped=0.5), r"flipped must lie in \[0, 0.5\)"),
        (lambda: losses.dpop(0.0, 0.0, beta=1.0, weight=-1.0), "weight must be finite and not negative"),
        (lambda: losses.kto(0.0, 1, beta=1.0, utility="hope"), "unknown utility 'hope'"),
        (lambda: losses.spo(0.0, 0.0, clip=1.0), r"clip must lie in \(0, 1\)"),
        (lambda: losses.beta_at(0.5, 1.0, weighting="linear"), "unknown weighting 'linear'"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
