"""What to change in a run that does not fit a slice: cheap estimates choose, compiling verifies.

Every way to divide the slice's chips over the mesh axes, with every stronger remat policy and deeper accumulation, is
estimated from shapes. Those that should fit are compiled in order of their estimated seconds, until one does fit or the
number of tries is used up. Nothing that changes what is computed is touched: batch, seeds, steps and records stay.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax

from vrjax import parallel
from vrjax.models import wan
from vrjax.models.wan import flops
from vrjax.plan.sampling import SampleConfig
from vrjax.plan.topology import Chip
from vrjax.train.config import TrainConfig

REMAT = ("none", "dots", "dots_no_batch", "attention", "full")
"""Policies from the one that keeps most to the one that keeps least."""

MARGIN = 0.9
"""Share of the HBM that an estimate may fill: estimates are crude."""

EACH = 1.03
"""An option must save this factor of seconds for every field that it changes."""


class Estimate(NamedTuple):
    """Of one step on one chip, from shapes alone."""

    bytes: float | int
    seconds: float | int


class Option(NamedTuple):
    """A changed config, the changes by the names of its fields, and its estimate."""

    config: Any
    changes: dict[str, Any]
    estimate: Estimate


def options(config: Any, chip: Chip, chips: int, tokens: int, needed: float | int) -> list[Option]:
    """Changes that should make a run fit, best first.

    Args:
        config: a `TrainConfig` (or a kind of it) or a `SampleConfig`.
        chip, chips: the slice.
        tokens: of one clip.
        needed: bytes per chip that the run as it is needs, from the compiler. It corrects the estimates.
    """
    estimate: Any = _sampling if isinstance(config, SampleConfig) else _training
    asked = _sizes(config.mesh, chips)
    now = estimate(config, asked, chip, tokens)
    scale = max(1.0, needed / now.bytes)
    found = []
    for new, changes in _variants(config, asked, chips):
        guess = estimate(new, new.mesh, chip, tokens)
        if changes and guess.bytes * scale <= MARGIN * chip.hbm:
            found.append(Option(new, changes, Estimate(guess.bytes * scale, guess.seconds)))
    return sorted(found, key=lambda o: o.estimate.seconds * EACH ** len(o.changes))


def advise(
    config: Any,
    chip: Chip,
    chips: int,
    tokens: int,
    needed: float | int,
    compile: Callable[[Any, dict[str, Any]], Any],
    *,
    tries: int = 3,
) -> tuple[Any | None, list[Any]]:
    """Compiles the best options until one fits.

    Args:
        config, chip, chips, tokens, needed: see `options`.
        compile: `compile(config, changes) -> Plan`.
        tries: most programs to compile.

    Returns:
        The plan that fits, or None, and all plans that were compiled.
    """
    tried: list[Any] = []
    left = options(config, chip, chips, tokens, needed)
    while left and len(tried) < tries:
        best = left.pop(0)
        try:
            plan = compile(best.config, best.changes)
        except ValueError:
            continue  # a mesh that this model cannot use after all
        tried.append(plan)
        if plan.fits:
            return plan, tried
        # What failed was estimated too low: ask more of the next ones.
        worse = max(1.0, plan.needed / best.estimate.bytes)
        left = [o for o in left if o.estimate.bytes * worse <= MARGIN * chip.hbm]
    return None, tried


def words(changes: Mapping[str, Any]) -> str:
    """The changes as assignments to the config's fields."""
    return ", ".join(f"{name}={value!r}" for name, value in changes.items())


# --------------------------------------------------------------------------------------------------------- variants


def _sizes(mesh: Mapping[str, int], chips: int) -> dict[str, int]:
    """The mesh with its -1 filled in."""
    sizes = {axis: size for axis, size in mesh.items() if size != 1}
    fixed = math.prod(size for size in sizes.values() if size > 0)
    return {axis: chips // fixed if size == -1 else size for axis, size in sizes.items()}


def _meshes(chips: int, heads: int, ffn: int, examples: int) -> Iterator[dict[str, int]]:
    """Ways to divide the chips over examples (fsdp), tokens (context) and heads (tensor)."""
    divisors = [n for n in range(1, chips + 1) if chips % n == 0]
    for context, tensor in itertools.product(divisors, divisors):
        rest, uneven = divmod(chips, context * tensor)
        if uneven or not rest or heads % (context * tensor) or ffn % tensor or examples % rest:
            continue
        mesh = {"fsdp": rest, "context": context, "tensor": tensor}
        yield {axis: size for axis, size in mesh.items() if size > 1}


def _variants(config: Any, asked: dict[str, int], chips: int) -> Iterator[tuple[Any, dict[str, Any]]]:
    model, training = config.model, isinstance(config, TrainConfig)
    if training:
        policies = REMAT[REMAT.index(model.remat) :]
        depths = [a for a in range(config.accumulate, config.data.batch + 1) if config.data.batch % a == 0]
    else:
        policies, depths = (model.remat,), [1]
    seen: set[str] = set()
    for depth, remat in itertools.product(depths, policies):
        examples = config.data.batch // depth if training else config.seeds
        for mesh in itertools.chain([asked], _meshes(chips, model.heads, model.ffn_dim, examples)):
            if training and examples % _ways(config, mesh, "batch"):
                continue
            over = tuple(axis for axis in ("fsdp", "context") if mesh.get(axis, 1) > 1)
            same = [config.rules] if mesh == asked or over == _axes(config, "embed") else []
            for rules in [*same, {**config.rules, "embed": over}]:
                changes: dict[str, Any] = {}
                if remat != model.remat:
                    changes["model.remat"] = remat
                if training and depth != config.accumulate:
                    changes["accumulate"] = depth
                if mesh != asked:
                    changes["mesh"] = mesh
                if rules != config.rules and over != _axes(config, "embed"):
                    changes["rules"] = rules
                if repr(changes) in seen:
                    continue
                seen.add(repr(changes))
                kept = rules if "rules" in changes else config.rules
                more = {"accumulate": depth} if training else {}
                new = dataclasses.replace(config, mesh=mesh, rules=kept, **more)
                yield dataclasses.replace(new, model=dataclasses.replace(model, remat=remat)), changes


# -------------------------------------------------------------------------------------------------------- estimates


@functools.lru_cache(maxsize=32)
def _count(model: wan.WanConfig) -> int:
    """Parameters."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(wan.abstract(model)))


def _axes(config: Any, name: str) -> tuple[str, ...]:
    """Mesh axes of a logical axis."""
    rule = parallel.as_rules(config.rules).get(name)
    return () if rule is None else (rule,) if isinstance(rule, str) else tuple(rule)


def _ways(config: Any, mesh: Mapping[str, int], name: str) -> int:
    return math.prod(mesh.get(axis, 1) for axis in _axes(config, name))


def _block(model: wan.WanConfig, tokens: float | int) -> float | int:
    """Bytes that are alive while one block runs: its activations in half and some in full precision."""
    return tokens * (2 * 2 * model.ffn_dim + 4 * 8 * model.dim)


def _training(config: TrainConfig, mesh: Mapping[str, int], chip: Chip, tokens: int) -> Estimate:
    model, count = config.model, _count(config.model)
    chips = math.prod(mesh.values())
    split = _ways(config, mesh, "embed") * _ways(config, mesh, "mlp")
    context, tensor = _ways(config, mesh, "tokens"), _ways(config, mesh, "heads")
    examples = config.data.batch / config.accumulate / _ways(config, mesh, "batch")
    here = tokens / context * examples * config.clips  # tokens of a micro-batch on a chip

    copies = 2 + (2 if config.optim.kind == "adamw" else 1)  # weights, average, moments
    gradients = 1 + (config.accumulate > 1)
    state = 4 * count / split * ((2 if config.lora else copies) + gradients)
    d, ffn = model.dim, model.ffn_dim
    kept = {
        "full": d,
        "attention": 3 * d,
        "dots_no_batch": 10 * d + 2 * ffn / tensor,
        "dots": 12 * d + 2 * ffn / tensor,
        "none": 30 * d + 5 * ffn / tensor,
    }[model.remat]
    gathered = 2 * 2 * count / model.layers / tensor
    memory = state + 2 * kept * here * model.layers + _block(model, here) + gathered

    whole = flops.forward(model, tokens, model.text_len)
    attention = 4.0 * tokens * tokens * d * model.layers
    again = {"full": (1, 1), "attention": (1, 0), "dots_no_batch": (0, 1), "dots": (0, 1), "none": (0, 0)}[model.remat]
    work = (3 + again[0]) * (whole - attention) + (4.5 + again[1]) * attention
    compute = work * config.data.batch * config.clips / chips / chip.flops
    weights = 2 * count / tensor * (3 * config.accumulate + 2) * (1 - 1 / max(1, split // tensor))
    exchange = 2 * here * d * model.layers * config.accumulate * (12 if context > 1 else 0)
    reduces = 2 * here * d * model.layers * config.accumulate * (24 if tensor > 1 else 0)
    return Estimate(memory, compute + (weights + exchange + reduces) / chip.ici_bandwidth)


def _sampling(config: SampleConfig, mesh: Mapping[str, int], chip: Chip, tokens: int) -> Estimate:
    model, count = config.model, _count(config.model)
    split = _ways(config, mesh, "embed") * _ways(config, mesh, "mlp")
    context, tensor = _ways(config, mesh, "tokens"), _ways(config, mesh, "heads")
    batch = math.gcd(config.seeds, _ways(config, mesh, "batch"))
    seeds, branches = config.seeds / batch, 1 if config.guidance == 1.0 else 2
    here = tokens / context * seeds * branches
    experts = 1 if config.boundary is None else 2
    size = 2 if model.param_dtype == "bfloat16" else 4
    rows = config.steps if config.record_steps is None else len(config.record_steps)
    kept = 4 * math.prod(config.latent) * (rows * len(config.record_fields) + 6) * seeds / context
    words = experts * branches * seeds * 2 * 2 * model.layers * model.text_len * model.dim / tensor
    memory = experts * size * count / split + kept + words + _block(model, here) + 2 * 2 * count / model.layers / tensor
    work = branches * flops.forward(model, tokens, model.text_len) * seeds
    weights = 2 * count / tensor * (1 - 1 / max(1, split // tensor))
    exchange = 2 * here * model.dim * model.layers * ((4 if context > 1 else 0) + (8 if tensor > 1 else 0))
    return Estimate(memory, work / context / tensor / chip.flops + (weights + exchange) / chip.ici_bandwidth)
