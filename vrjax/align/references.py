"""References: the policy that a preference is measured against, as pure functions over pytrees.

| kind | what it keeps | extra memory | extra forwards |
| --- | --- | --- | --- |
| `frozen` | a copy of the weights (or adapters) the run starts from | one copy | 1 per clip |
| `lora_off` | nothing: the base of a LoRA run, its adapters left out | none | 1 per clip |
| `ema` | a slow average of the policy, float32 | one float32 copy | 1 per clip |
| `sync` | TR-DPO's: every so many updates a step towards the policy | one float32 copy | 1 per clip |
| `precomputed` | nothing: errors on a fixed bank of draws were stored before | none | none |
| `none` | nothing: the reference's errors are 0 | none | none |

A reference that moves is part of the run's state: it is saved and restored with the policy.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vrjax.train import ema as averages
from vrjax.train.state import Network


class Reference(NamedTuple):
    """A reference as pure functions.

    Attributes:
        kind: its name.
        init: `init(params) -> state`, a pytree: like `params`, or an empty dict.
        module: `module(network, state, base)`, the network of the reference, or None where none is asked.
        update: `update(state, params, step) -> state`, called with the weights after update number `step` (from 0).
        moves: whether `update` ever changes anything.
    """

    kind: str
    init: Callable[[Any], Any]
    module: Callable[[Network, Any, Any], Any] | None
    update: Callable[[Any, Any, Any], Any]
    moves: bool = False


def _nothing(params: Any) -> dict:
    return {}


def _stay(state: Any, params: Any, step: Any) -> Any:
    return state


def _from_state(network: Network, state: Any, base: Any) -> Any:
    return network.build(state, base)


def frozen() -> Reference:
    """The weights at the start of the run. In a LoRA run the copy is of the (small) adapters."""
    copy = lambda params: jax.tree.map(lambda p: jnp.array(p, copy=True), params)
    return Reference("frozen", copy, _from_state, _stay)


def lora_off() -> Reference:
    """The base of a LoRA run with its adapters left out: the frozen reference without a second model in memory.

    Equal to `frozen` bit for bit in a run whose adapters start at zero. `module` raises ValueError without adapters.
    """

    def module(network: Network, state: Any, base: Any) -> Any:
        if network.config.lora is None:
            raise ValueError("reference lora_off: this run trains all weights, set lora or use reference 'frozen'")
        return network.build(None, base)

    return Reference("lora_off", _nothing, module, _stay)


def ema(decay: Any = 0.999, every: Any = 100) -> Reference:
    """Every `every` updates `reference <- decay reference + (1 - decay) policy`, on a float32 master copy.

    RealDPO's released values are 0.999 and 100. In bfloat16, as released, an update of a thousandth of the distance is
    mostly rounded away; here the master is float32 whatever the policy's dtype. In a LoRA run the average is of the
    adapters' factors, which is not the average of their products.
    """
    move = functools.partial(averages.update, step=0, decay=decay, ramp=False)

    def update(state: Any, params: Any, step: Any) -> Any:
        due = (step + 1) % every == 0
        return jax.lax.cond(due, lambda s, p: move(s, p), lambda s, p: s, state, params)

    return Reference("ema", averages.init, _from_state, update, moves=True)


def sync(rate: Any = 0.6, every: Any = 512) -> Reference:
    """TR-DPO (Gorbatovski et al. 2024, arXiv 2404.09656): every `every` updates `rate` of the way to the policy.

    `rate` 1 is a hard copy, the "online DPO" of Flow-GRPO's code (every 40 updates).
    """
    return ema(1.0 - rate, every)._replace(kind="sync")


def precomputed() -> Reference:
    """Errors of the frozen reference on a bank of draws (`vrjax.align.bank`), stored before the run: no model here."""
    return Reference("precomputed", _nothing, None, _stay)


def none() -> Reference:
    """No reference: its errors are 0."""
    return Reference("none", _nothing, None, _stay)


def followed(origin: Any, reference: Any, policy: Any) -> jax.Array:
    """The dose of a moving reference: its distance from where both began, as a share of the policy's distance.

    0 is a frozen reference, 1 one that is as far as the policy; a policy that has not moved gives 0. Behind a policy
    that moves evenly a reference that goes `rate` of the way every `every` updates comes to lag, right after a move, by
    the way of `every (1 - rate) / rate` updates: in a run of n updates the share tends to one minus this number over n.
    """
    away = lambda params: optax.global_norm(
        jax.tree.map(lambda p, o: p.astype(jnp.float32) - o.astype(jnp.float32), params, origin)
    )
    whole = away(policy)
    return jnp.where(whole > 0, away(reference) / jnp.where(whole > 0, whole, 1.0), 0.0)


KINDS: dict[str, Callable[[Any], Reference]] = {
    "frozen": lambda spec: frozen(),
    "lora_off": lambda spec: lora_off(),
    "ema": lambda spec: ema(spec.decay, spec.every),
    "sync": lambda spec: sync(spec.rate, spec.every),
    "precomputed": lambda spec: precomputed(),
    "none": lambda spec: none(),
}
"""Every reference by name, made from a config's `reference`, whose numbers may be traced."""
