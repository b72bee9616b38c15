"""Losers generated before training, as RealDPO does: for every encoded winner, samples of a model that stays fixed.

The offline twin of a rollout inside the step: the same sampler, the same shapes. The noise of loser k of pair i depends
on the seed, i and k only, so a run that was killed goes on where it stopped.
"""

import dataclasses
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.align.cache import Encoded, write_index
from vrjax.align.config import Rollout
from vrjax.align.rollouts import sample_batch
from vrjax.files.content import key
from vrjax.train.step import conditions


class Generated(NamedTuple):
    """What was made: how many losers are in the folder, how many were sampled now, and the share that was judged valid
    (None without a verifier): real losers are wrong, so a high share means a base that needs no such training.
    """

    losers: int
    sampled: int
    valid: float | None


def generate(
    folder: str | os.PathLike,
    dit: Any,
    *,
    model: str,
    count: int,
    rollout: Rollout,
    seed: int = 0,
    group: int = 8,
    verify: Callable[[int, np.ndarray], bool] | None = None,
    drop_valid: bool = False,
) -> Generated:
    """Samples `count` losers for each winner of an encoded folder and writes them into it and into its index.

    Args:
        folder: of `vrjax.align.cache`; an index without losers is what `cache.encode` writes for pairs read with
            `losers=0`. Losers it had before are replaced in the index.
        dit: the model that makes them.
        model: its identity for the cache, e.g. the SHA-256 of its file.
        count: losers per winner.
        rollout: grid and guidance.
        seed: of the noise.
        group: pairs per call of the compiled program.
        verify: `verify(pair, latent) -> bool`, whether a sample is right, in which case it is no loser.
        drop_valid: gives a pair whose losers are partly valid the weight of the share that is not (needs `verify`).
    """
    if drop_valid and verify is None:
        raise ValueError("generate: drop_valid needs verify")
    pairs = Encoded(folder, losers=0)
    made = {"model": model, "rollout": dataclasses.asdict(rollout), "seed": seed}
    names = [
        [key(kind="losers", pair=name, win=win, text=text, index=i, k=k, **made) for k in range(count)]
        for i, (name, win, _, text) in enumerate(pairs.rows)
    ]
    run = jax.jit(lambda dit, noise, given: sample_batch(dit, noise, given, rollout))
    todo = [i for i, keys in enumerate(names) if not all(pairs.cache.path("latents", at).is_file() for at in keys)]
    for start in range(0, len(todo), group):
        part = todo[start : start + group]
        full = part + [part[-1]] * (group - len(part))  # filled up: one program
        rows = [pairs[i] for i in full]
        noise = jnp.stack([_noise(seed, i, count, rows[0]["latent"].shape) for i in full])
        given = conditions(dit.cfg, jax.tree.map(lambda *x: np.stack(x), *rows))
        samples = np.asarray(run(dit, noise, given))
        for i, found in zip(part, samples, strict=False):
            for at, sample in zip(names[i], found, strict=True):
                pairs.cache.put("latents", "latent", at, sample, made)
    return _index(pairs, names, folder, made, verify, drop_valid, count * len(todo))


def _index(pairs: Encoded, names: Any, folder: Any, made: Any, verify: Any, drop: bool, sampled: int) -> Generated:
    rows, valid = [], []
    for i, (name, win, _, text) in enumerate(pairs.rows):
        row = {"name": name, "prompt": pairs.prompts[i], "latent": win, "lose": names[i], "text": text}
        if pairs.images[i] is not None:
            row["image"] = pairs.images[i]
        if verify is not None:
            right = [bool(verify(i, pairs.cache.read("latents", "latent", at))) for at in names[i]]
            valid += right
            if drop:
                row["weight"] = 1.0 - sum(right) / len(right)
        rows.append(row)
    write_index(folder, rows, dtype=pairs.cache.dtype, made={**pairs.made, "losers": made})
    count = sum(len(row["lose"]) for row in rows)
    return Generated(count, sampled, None if verify is None else sum(valid) / max(len(valid), 1))


def _noise(seed: int, pair: int, count: int, shape: tuple[int, ...]) -> jax.Array:
    at = jax.random.fold_in(jax.random.key(seed), pair)
    return jnp.stack([jax.random.normal(jax.random.fold_in(at, k), shape, jnp.float32) for k in range(count)])
