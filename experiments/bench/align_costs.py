"""What a preference step costs beside a plain training step on as many clips, against the count of forward passes.

    python -m experiments.bench.align_costs              two minutes on two cores, most of them compilation

A training step costs 3 forwards a clip (the backward pass counts as two). A preference step with N losers and a live
reference costs (1 + N)(3 + 1), with stored reference errors (1 + N) 3 (`vrjax.plan.preference.forwards`). Each row is
the median and range of time(preference) / time(training), measured in alternating pairs in one process, over the ratio
of those counts: 1 is what the count says. The model is that of `configs/worlds.py`, random batches, all weights
trained, by AdamW: Muon has a fixed cost of its own, which would flatter the larger step.

Writes `runs/align_costs/results.json`.
"""

import argparse
import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from configs.worlds import config as worlds
from experiments.bench.sampler_costs import ratio
from vrjax.align import step as preference
from vrjax.align.config import AlignConfig, Preference, Reference
from vrjax.plan import preference as plan
from vrjax.report import claims
from vrjax.train import state as states
from vrjax.train import step as training
from vrjax.train.config import Optim, TrainConfig

LATENT = (9, 10, 10, 3)
ARMS = {
    "1 loser, live reference": (1, Reference(kind="frozen")),
    "3 losers, live reference": (3, Reference(kind="frozen")),
    "1 loser, stored reference errors": (1, Reference(kind="precomputed", draws=4)),
}


def repeated(update: Callable, arguments: tuple) -> Callable[[], Any]:
    """Calls an update again and again on one batch: its state is donated, so it is carried along."""
    state, base, batch, key = arguments
    held = [state]

    def call() -> Any:
        held[0], metrics = update(held[0], base, batch, key)
        return metrics

    return call


def filled(shapes: Any) -> Any:
    """Arrays of the shapes of `abstract`: small weights and noise, a real key."""
    keys = iter(jax.random.split(jax.random.key(0), 500))

    def fill(leaf: Any) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.device_put(jax.random.key(0), leaf.sharding)
        if leaf.dtype == jnp.int32:
            return jax.device_put(jnp.zeros(leaf.shape, jnp.int32), leaf.sharding)
        return jax.device_put(0.02 * jax.random.normal(next(keys), leaf.shape, leaf.dtype), leaf.sharding)

    return jax.tree.map(fill, shapes)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/align_costs"))
    parser.add_argument("--pairs", type=int, default=11)
    parser.add_argument("--batch", type=int, default=8, help="clips, or pairs, in a step (8)")
    options = parser.parse_args()
    plain = worlds()
    data = dataclasses.replace(plain.data, batch=options.batch)
    plain = dataclasses.replace(plain, data=data, accumulate=1, optim=Optim(kind="adamw"))
    mesh = states.make_mesh(plain)
    update, shapes = training.abstract(plain, mesh, LATENT)
    train = repeated(update, filled(shapes))
    shared = {f.name: getattr(plain, f.name) for f in dataclasses.fields(TrainConfig)}
    shared["objective"] = dataclasses.replace(plain.objective, drop_text=0.0, drop_image=0.0)
    rows = {}
    for name, (losers, reference) in ARMS.items():
        config = AlignConfig(**shared, preference=Preference(losers=losers), reference=reference, pairs="random")
        update, shapes = preference.abstract(config, mesh, LATENT)
        found = ratio(repeated(update, filled(shapes)), train, options.pairs)
        count = plan.forwards(config) / 3
        rows[name] = {
            key: value / count if key in ("ratio", "low", "high") else value for key, value in found.items()
        } | {"forwards": count}
        row = rows[name]
        print(
            f"{name:<36} {row['ratio']:.3f}  [{row['low']:.3f}, {row['high']:.3f}] of {count:.2f} training steps",
            flush=True,
        )
    options.out.mkdir(parents=True, exist_ok=True)
    claims.write(options.out, [], details={"rows": [{"name": n, **r} for n, r in rows.items()]})


if __name__ == "__main__":
    main()
