"""What a file of this folder says of its loss, beside the loss itself: `METHOD`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float


class Method(NamedTuple):
    """A loss as preference runs call it.

    Attributes:
        apply: `apply(spec, measured, batch, beta) -> (b,)`, the loss of every pair: the config's `Preference` (its
            numbers may be traced), the `errors.Measured` of policy and reference, the batch, and beta at the pairs'
            levels (b,).
        needs_losers: whether it looks at losers at all.
        needs_reference: whether it compares with a reference.
        needs_masks: whether it compares parts of clips, which come as `masks` with the pairs.
        most_losers: how many losers a pair may have; None is any number.
        reads: fields of `Preference` that it looks at, of those that only some losses do.
    """

    apply: Callable[..., Any]
    needs_losers: bool = True
    needs_reference: bool = True
    needs_masks: bool = False
    most_losers: int | None = None
    reads: tuple[str, ...] = ()


def pairs(loss: Callable[..., Any], **options: str) -> Method:
    """The method of a loss `(win_gap, lose_gap, *, beta, ...)`, averaged over losers.

    `options` maps further keyword arguments to fields of `Preference`: `weight="anchor"`.
    """

    def apply(spec: Any, measured: Any, batch: Any, beta: Any) -> Array:
        given = {name: getattr(spec, field) for name, field in options.items()}
        return over_losers(loss, measured.win_gap, measured.lose_gap, beta=beta, **given)

    return Method(apply, reads=tuple(options.values()))


def over_losers(
    loss: Callable[..., Any], win_gap: ArrayLike, lose_gap: ArrayLike, **options: Any
) -> Float[Array, "..."]:
    """The mean of a pair loss over losers: `mean_n loss(win_gap, lose_gap[..., n], **options)`.

    A mean, for the value and for the gradient: the number of losers is no hidden learning rate.

    Args:
        loss: any pair loss of this package, elementwise in its first two arguments.
        win_gap: (...), measured once for all losers.
        lose_gap: (..., losers).
        options: keyword arguments; arrays among them are given a last axis, like `win_gap`.

    Raises:
        ValueError: `lose_gap` has not one axis more than `win_gap`, or no loser.
    """
    win, lose = jnp.asarray(win_gap), jnp.asarray(lose_gap)
    if lose.ndim != win.ndim + 1 or not lose.shape[-1]:
        raise ValueError(f"over_losers: expected lose_gap (..., losers) beside win_gap {win.shape}, found {lose.shape}")
    spread = {k: v[..., None] if getattr(v, "ndim", 0) else v for k, v in options.items()}
    return jnp.mean(loss(win[..., None], lose, **spread), -1)
