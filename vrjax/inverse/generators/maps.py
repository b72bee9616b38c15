"""Classes of generators of (d,): affine, a network beside a linear skip, the gradient of a convex function.

The first two are written in the data's own coordinates: `T(z) = mean + S (W z + b + net(z))` with S the square root of
the data's covariance, so that they begin as the data's Gaussian and one learning rate fits all data. Mean and S are
kept in the parameters and are not trained. Where there are fewer points than dimensions T stays in the points' affine
hull, which loses nothing: projecting onto it brings a law nearer to the data.
"""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.files import named
from vrjax.inverse.generators.core import Generator

ACTIVATIONS = {"tanh": jnp.tanh, "gelu": jax.nn.gelu, "relu": jax.nn.relu, "silu": jax.nn.silu}


@functools.cache
def affine(dimension: int, latent: int | None = None) -> Generator:
    """`T(z) = A z + c`: the class of Gaussians. It starts as the Gaussian of the data's mean and covariance.

    Args:
        dimension: d.
        latent: r, by default d. With fewer, a Gaussian on the leading principal directions.

    Raises:
        ValueError: a size below 1.
    """
    latent = dimension if latent is None else latent
    _sizes("affine", dimension, latent)

    def init(key, data=None):
        del key
        return {**_scale(data, dimension), "skip": jnp.eye(dimension, latent), "bias": jnp.zeros(dimension)}

    def apply(params, z):
        return _out(params, params["skip"] @ z + params["bias"])

    def best(z, targets):
        # Least squares on (1, z). On the line both are in order, so the slope is not negative and the order is kept.
        design = jnp.concatenate([jnp.ones_like(z[:, :1]), z], 1)
        solved = jnp.linalg.lstsq(design, targets)[0]
        return {**_scale(None, dimension), "skip": solved[1:].T, "bias": solved[0]}

    return Generator(init, apply, latent, (dimension,), best if dimension == latent == 1 else None)


@functools.cache
def mlp(
    dimension: int, latent: int | None = None, widths: tuple[int, ...] | None = None, activation: str | None = None
) -> Generator:
    """A multi-layer perceptron beside a linear skip, which starts as the data's Gaussian: its last layer is 0.

    Args:
        dimension: d.
        latent: r, by default d.
        widths: of the hidden layers; (24, 24) on the line and (64, 64) else.
        activation: tanh, gelu, relu or silu; tanh on the line and gelu else.

    Raises:
        ValueError: a size below 1, no hidden layer, an unknown activation.
    """
    latent = dimension if latent is None else latent
    widths = ((24, 24) if dimension == 1 else (64, 64)) if widths is None else widths
    activation = ("tanh" if dimension == 1 else "gelu") if activation is None else activation
    _sizes("mlp", dimension, latent, *widths)
    if not widths:
        raise ValueError("mlp: widths must name one hidden layer or more, found ()")
    if activation not in ACTIVATIONS:
        raise ValueError(named.unknown("activation", activation, ACTIVATIONS))
    bend, sizes = ACTIVATIONS[activation], (latent, *widths, dimension)

    def init(key, data=None):
        layers = []
        for one, (fan, out) in zip(jax.random.split(key, len(widths) + 1), itertools.pairwise(sizes), strict=True):
            weight, bias = jax.random.split(one)
            # Biases spread the kinks over the bulk of the latent.
            layers.append(
                {"weight": jax.random.normal(weight, (out, fan)) / fan**0.5, "bias": jax.random.normal(bias, (out,))}
            )
        layers[-1] = jax.tree.map(jnp.zeros_like, layers[-1])
        return {**_scale(data, dimension), "skip": jnp.eye(dimension, latent), "layers": layers}

    def apply(params, z):
        hidden = z
        for layer in params["layers"][:-1]:
            hidden = bend(layer["weight"] @ hidden + layer["bias"])
        last = params["layers"][-1]
        return _out(params, params["skip"] @ z + last["weight"] @ hidden + last["bias"])

    return Generator(init, apply, latent, (dimension,))


@functools.cache
def convex(dimension: int, ridges: int) -> Generator:
    """`T(z) = z + sum_k a_k sigmoid(b_k z + c_k) b_k` with a_k > 0: the gradient of a convex function, hence the
    optimal map from N(0, I) to its image (Brenier 1991): an input-convex network of one layer. No data scale it.

    Parameters are `amount` (k,), whose softplus is a, `rows` (k, d) and `offsets` (k,).

    Raises:
        ValueError: a size below 1.
    """
    _sizes("convex", dimension, ridges)

    def init(key, data=None):
        del data
        rows, offsets = jax.random.split(key)
        return {
            "amount": jnp.zeros(ridges),
            "rows": jax.random.normal(rows, (ridges, dimension)) / dimension**0.5,
            "offsets": jax.random.normal(offsets, (ridges,)),
        }

    def apply(params, z):
        bent = jax.nn.softplus(params["amount"]) * jax.nn.sigmoid(params["rows"] @ z + params["offsets"])
        return z + params["rows"].T @ bent

    return Generator(init, apply, dimension, (dimension,))


def _sizes(what: str, *sizes: int) -> None:
    if min(sizes) < 1:
        raise ValueError(f"{what}: sizes must be at least 1, found {sizes}")


def _scale(data: Any, dimension: int) -> dict[str, Any]:
    """Mean and square root of the covariance, principal directions first; 0 and the identity without data."""
    if data is None:
        return {"mean": jnp.zeros(dimension), "root": jnp.eye(dimension)}
    data = np.asarray(data, np.float64)
    values, vectors = np.linalg.eigh(np.cov(data.T, bias=True).reshape(dimension, dimension))
    root = (vectors * np.sqrt(np.maximum(values, 0.0)))[:, ::-1]
    return {"mean": jnp.asarray(data.mean(0)), "root": jnp.asarray(root)}


def _out(params: Any, inner: Any) -> Any:
    mean, root = jax.lax.stop_gradient((params["mean"], params["root"]))
    return mean + root @ inner
