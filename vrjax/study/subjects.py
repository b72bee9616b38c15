"""Who is measured: trained models, their controls, and the null model, all as velocities under the same instruments."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import nnx

from vrjax.flow import Velocity
from vrjax.models import wan
from vrjax.reasoning.instruments import null


@dataclasses.dataclass(frozen=True)
class Subject:
    """Something that maps the conditions of an instance to a velocity.

    Attributes:
        name: unique in the run; names the files of its tables.
        kind: "model", "null" or "control".
        weights: pytree handed to the compiled programs as an argument (None for the null model).
        velocity: `velocity(weights, row, taps={}, edits={})` -> velocity; `row` is one instance of a `clips.Suite`.
        layers: blocks; 0 for the null model, which has no sites.
    """

    name: str
    kind: str
    weights: Any
    velocity: Callable[..., Velocity]
    layers: int = 0


def _network(dit: wan.WanDiT, row: Mapping[str, Any], taps: Mapping = {}, edits: Mapping = {}) -> Velocity:  # noqa: B006
    return dit.velocity(row["text"], row["image"], taps, edits)


def _oracle(weights: None, row: Mapping[str, Any], taps: Mapping = {}, edits: Mapping = {}) -> Velocity:  # noqa: B006
    return null.velocity(row["candidates"], row["prior"])


NULL = Subject("null", "null", None, _oracle)


def network(name: str, dit: wan.WanDiT, kind: str = "model") -> Subject:
    """A network with its weights in memory."""
    return Subject(name, kind, dit, _network, dit.cfg.layers)


def load(name: str, path: pathlib.Path, kind: str = "model") -> Subject:
    """A network from a transformer folder. Raises what `wan.load_dit` raises."""
    return network(name, wan.load_dit(path), kind)


def untrained(like: Subject, seed: int = 0) -> Subject:
    """The same architecture with fresh random weights, its output projection drawn too (else its velocity is zero)."""
    cfg = like.weights.cfg
    dit = wan.WanDiT(cfg, rngs=nnx.Rngs(seed))
    key = jax.random.key(seed)
    scale = (2.0 / (cfg.dim + cfg.patch_size * cfg.out_channels)) ** 0.5
    dit.head.kernel = nnx.Param(scale * jax.random.normal(key, dit.head.kernel[...].shape))
    return network("untrained", dit, "control")
