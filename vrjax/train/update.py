"""One update of any training: gradient in micro-batches, clipping and optimiser, moving average.

    tx = optim.make(lr=numbers["lr"], steps=...)            # numbers may be traced
    state = update.start(params, tx)
    state, moved = update.move(loss, tx, state, (batch,), parts=4, decay=0.99)

`loss(params, *rows) -> (value, aux)`. Everything is pure, so a caller may scan it, or `vmap` it over seeds, networks
and *numbers*: learning rate, decays, beta, noise levels and the like are arguments. Runs of a config give theirs by
name,

    body = step.body(network)                               # of vrjax.train.step, or vrjax.align.step
    state, metrics = body(state, base, batch, key, {"optim.lr": lr, "preference.beta": beta})

where a number may be traced and what is not named is the config's, a constant of the program (see `numbered`).
`compiled` makes a body one jitted, sharded function that donates its state.
"""

import dataclasses
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vrjax.train import ema

Loss = Callable[..., tuple[jax.Array, Any]]
NONE: Mapping[str, Any] = {}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """The donated state of a training. `params` is what is trained: all weights, or adapters; `ema` may be `{}`."""

    step: Any
    params: Any
    ema: Any
    optimizer: Any

    def trees(self) -> dict[str, Any]:
        """The state as the named items of a checkpoint; a tree without arrays is no item."""
        trees = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: tree for name, tree in trees.items() if jax.tree.leaves(tree)}

    @property
    def best(self) -> Any:
        """What is validated and exported: the moving average, or the weights themselves where none is kept."""
        return self.ema if jax.tree.leaves(self.ema) else self.params


class Moved(NamedTuple):
    """What an update found: the loss, its aux, and the scalars `loss`, `grad_norm` (before clipping), `weight_norm`."""

    loss: Any
    aux: Any
    metrics: dict[str, Any]


def start(params: Any, tx: optax.GradientTransformation, *, average: bool = False) -> State:
    """The state before the first update, with a moving average or without."""
    return State(jnp.zeros((), jnp.int32), params, ema.init(params) if average else {}, tx.init(params))


def gradient(loss: Loss, params: Any, rows: tuple = (), *, parts: int = 1) -> tuple[jax.Array, Any, Any]:
    """Loss, aux and gradient of a batch, in `parts` micro-batches one after the other.

    Args:
        loss: `(params, *rows) -> (value, aux)`, a mean over examples.
        params: what is differentiated.
        rows: pytrees of arrays with the examples on axis 0.
        parts: divides the number of examples. With more than one, aux must have the examples on axis 0 as well.
    """
    value_and_grad = jax.value_and_grad(loss, has_aux=True)
    if parts == 1:
        (value, aux), grad = value_and_grad(params, *rows)
        return value, aux, grad

    # Micro-batch m takes examples m, m + parts, ...: each device keeps the examples it already holds.
    split = lambda x: x.reshape(x.shape[0] // parts, parts, *x.shape[1:]).swapaxes(0, 1)
    join = lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:])

    def body(total: Any, part: Any) -> tuple[Any, Any]:
        (value, aux), grad = value_and_grad(params, *part)
        return jax.tree.map(jnp.add, total, (value, grad)), aux

    zero = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, params))
    total, aux = jax.lax.scan(body, zero, jax.tree.map(split, rows))
    value, grad = jax.tree.map(lambda x: x / parts, total)
    return value, jax.tree.map(join, aux), grad


def move(
    loss: Loss,
    tx: optax.GradientTransformation,
    state: State,
    rows: tuple = (),
    *,
    parts: int = 1,
    decay: Any = 0.0,
    ramp: bool = True,
) -> tuple[Any, Moved]:
    """One update: `(the state after it, what it found)`.

    Args:
        loss, rows, parts: as for `gradient`.
        tx: the optimiser, clipping included; made of traced numbers, if you like.
        state: a `State` or an extension of it, whose other fields stay.
        decay, ramp: of the moving average, where the state has one.
    """
    value, aux, grad = gradient(loss, state.params, rows, parts=parts)
    updates, optimizer = tx.update(grad, state.optimizer, state.params)
    params: Any = optax.apply_updates(state.params, updates)
    average = ema.update(state.ema, params, state.step, decay, ramp) if jax.tree.leaves(state.ema) else state.ema
    norms = {"loss": value, "grad_norm": optax.global_norm(grad), "weight_norm": optax.global_norm(params)}
    after = dataclasses.replace(state, step=state.step + 1, params=params, ema=average, optimizer=optimizer)
    return after, Moved(value, aux, norms)


def numbered(config: Any, numbers: Mapping[str, Any]) -> Any:
    """The config with other numbers by dotted name (`optim.lr`), as plain attributes: traced values need no checking.

    Raises:
        ValueError: a name that is no number of the config.
    """
    if not numbers:
        return config
    plain = lambda spec: types.SimpleNamespace(**{f.name: getattr(spec, f.name) for f in dataclasses.fields(spec)})
    out, sections = plain(config), {}
    for name, value in numbers.items():
        place, _, field = name.rpartition(".")
        section = out
        if place:
            if place not in sections and dataclasses.is_dataclass(getattr(out, place, None)):
                sections[place] = plain(getattr(out, place))
                setattr(out, place, sections[place])
            section = sections.get(place)
        if type(getattr(section, field, None)) not in (int, float):
            raise ValueError(f"{name!r} is no number of a {type(config).__name__}")
        setattr(section, field, value)
    return out


def compiled(body: Callable, shardings: State, base: Any, rows: Any) -> Callable:
    """`body(state, base, batch, key) -> (state, metrics)` as one compiled function that donates the state.

    Args:
        body: pure.
        shardings: of the state, a `State` of `NamedSharding`.
        base: frozen weights, an argument so that they are not compiled in; each array knows its sharding.
        rows: sharding of every array of the batch.
    """
    whole = shardings.step
    return jax.jit(
        body,
        donate_argnums=0,
        in_shardings=(shardings, jax.tree.map(lambda x: x.sharding, base), rows, whole),
        out_shardings=(shardings, whole),
    )
