"""What a network makes of its conditions before its blocks, and the two branches of guidance in one pass."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from vrjax import parallel
from vrjax.flow import Prediction, Velocity
from vrjax.flow import cfg as cfg_of
from vrjax.models.blocks.layers import Linear, sinusoid
from vrjax.parallel.layout import Layout, place


class Conditioned(nnx.Module):
    """What a transformer makes of text and time before its blocks. Of `cfg`: `dim`, `freq_dim`, `text_dim`, `gate_init`
    and the dtypes.
    """

    def __init__(self, cfg: Any, keys: Any, layout: Layout | None):
        self.cfg, self.layout = cfg, layout
        xavier = nnx.initializers.xavier_uniform()
        small = nnx.initializers.normal(0.02) if cfg.gate_init is None else xavier
        self.text_in = Linear(small, keys[0], cfg.text_dim, cfg.dim, cfg.param_dtype)
        self.text_out = Linear(small, keys[1], cfg.dim, cfg.dim, cfg.param_dtype)
        self.time_in = Linear(small, keys[2], cfg.freq_dim, cfg.dim)
        self.time_out = Linear(small, keys[3], cfg.dim, cfg.dim)
        self.time_projection = Linear(xavier, keys[4], cfg.dim, 6 * cfg.dim)

    def embed_text(self, text: Array) -> Array:
        """Rows of text (l, text_dim) as the blocks' cross-attention reads them (l, dim)."""
        dtype = self.cfg.dtype
        return self.text_out(jax.nn.gelu(self.text_in(text, dtype), approximate=True), dtype)

    def embed_time(
        self, time: Any, tokens: int, units: int | None = None, more: Array | None = None
    ) -> tuple[Array, Array]:
        """What blocks and head are told of the time, float32: (rows, dim) and (rows, 6, dim), one row for a scalar.

        Args:
            time: 0 .. 1000: a scalar, (tokens,), or one for each of `units` equal runs of tokens.
            tokens, units: how many.
            more: (units, dim) float32, added to the rows of the time: what else is said of every unit.

        Raises:
            ValueError: another shape.
        """
        f32, layout, time = jnp.float32, self.layout, jnp.asarray(time, jnp.float32)
        if time.shape not in ((), (units,), (tokens,)):
            frames = "" if units is None else f"({units},) per frame or "
            raise ValueError(f"time: shape {time.shape}, expected () or {frames}({tokens},) per token")
        e = self.time_out(jax.nn.silu(self.time_in(sinusoid(time.reshape(-1), self.cfg.freq_dim), f32)), f32)
        e = e if more is None else e + more
        rows = "tokens" if len(e) == tokens else None
        e = place(layout, e, rows, None)
        six = self.time_projection(jax.nn.silu(e), f32).reshape(-1, 6, self.cfg.dim)
        return e, place(layout, six, rows, None, None)


def guided(layout: Layout | None, run: Callable, contexts: tuple, axes: tuple, scale: Any, renorm: Any) -> Velocity:
    """Classifier-free guidance with both branches as one batch of two: `flow.cfg` of two velocities, in one pass.

    On a mesh the branches are divided like examples, where the axes of "batch" are not taken by a batch around it.

    Args:
        layout: of the network.
        run: `run(x, level, *context) -> Prediction`.
        contexts: what depends on the branch, the conditional one first, along `axes` as of `jax.vmap`.
        axes: one entry for each of `contexts`.
        scale, renorm: see `vrjax.flow.cfg`. Taps are those of the conditional branch.
    """

    def velocity(x, level):
        both = parallel.batch(layout, lambda *context: run(x, level, *context), axes)(*contexts)
        cond = Prediction(both.v[0], jax.tree.map(lambda a: a[0], both.taps))
        return cfg_of(lambda x, level: cond, lambda x, level: both.v[1], scale, renorm=renorm)(x, level)

    return velocity
