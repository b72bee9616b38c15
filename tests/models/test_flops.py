"""The operation count beside the products that the traced model really holds, and beside published figures."""

import math

import jax
import jax.numpy as jnp
import pytest

from vrjax.models import wan
from vrjax.models.wan import flops


def products(jaxpr) -> int:
    """Operations of every dot_general in a jaxpr, those of inner jaxprs included (no loops)."""
    total = 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            depth = math.prod(eqn.invars[0].aval.shape[axis] for axis in contracted)
            total += 2 * depth * math.prod(eqn.outvars[0].aval.shape)
        for value in eqn.params.values():
            for inner in value if isinstance(value, tuple | list) else [value]:
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    assert eqn.primitive.name not in ("while", "scan")
                    total += products(inner)
    return total


@pytest.mark.parametrize("image", [0, 5])
def test_count_is_that_of_the_traced_model(image):
    cfg = wan.WanConfig(
        dim=24, ffn_dim=40, heads=2, layers=3, in_channels=4, out_channels=3, text_dim=10, unroll=True, attention="xla",
        image_dim=14 if image else None,
    )  # fmt: skip
    clip = jnp.zeros((image, 14)) if image else None
    x, text = jnp.zeros((2, 4, 6, 4)), jnp.zeros((7, 10))
    traced = jax.make_jaxpr(lambda dit: dit(x, 3.0, text, image=wan.Image(clip=clip)).v)(wan.abstract(cfg))
    assert flops.forward(cfg, 2 * 2 * 3, 7, image) == products(traced.jaxpr)


@pytest.mark.parametrize(
    "shape, tokens, tera",
    [
        (dict(dim=1536, ffn_dim=8960, heads=12, layers=30), 32_760, 283.0),
        (dict(dim=5120, ffn_dim=13824, heads=40, layers=40), 32_760, 1678),
        (dict(dim=5120, ffn_dim=13824, heads=40, layers=40), 75_600, 6523),
    ],
)
def test_public_sizes(shape, tokens, tera):
    assert flops.forward(wan.WanConfig(**shape), tokens, 512) / 1e12 == pytest.approx(tera, rel=2e-3)
