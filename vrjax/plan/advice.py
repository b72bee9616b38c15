"""What to change in a run that does not fit a slice: cheap estimates choose, compiling verifies.

Every way to divide the slice's chips over the mesh axes, with every stronger remat policy and deeper accumulation, is
estimated from shapes. Those that should fit are compiled in order of their estimated seconds, until one does fit or the
number of tries is used up. Nothing that changes what is computed is touched: batch, seeds, steps and records stay.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from vrjax.models import family
from vrjax.plan import jobs, shapes
from vrjax.plan.jobs import Estimate, Latent
from vrjax.plan.topology import Chip

REMAT = ("none", "dots", "dots_no_batch", "attention", "full")
"""Policies from the one that keeps most to the one that keeps least."""

MARGIN = 0.9
"""Share of the HBM that an estimate may fill: estimates are crude."""

EACH = 1.03
"""An option must save this factor of seconds for every field that it changes."""


class Option(NamedTuple):
    """A changed config, the changes by the names of its fields, and its estimate."""

    config: Any
    changes: dict[str, Any]
    estimate: Estimate


def options(config: Any, chip: Chip, chips: int, latent: Latent, needed: float | int) -> list[Option]:
    """Changes that should make a run fit, best first.

    Args:
        config: of one of the kinds of `vrjax.plan.jobs`.
        chip, chips: the slice.
        latent: shape of one clip's.
        needed: bytes per chip that the run as it is needs, from the compiler. It corrects the estimates.
    """
    kind, asked = jobs.of(config), _sizes(config.mesh, chips)
    scale = max(1.0, needed / kind.estimate(config, asked, chip, latent).bytes)
    found = []
    for new, changes in _variants(config, asked, chips, latent):
        guess = kind.estimate(new, new.mesh, chip, latent)
        if changes and guess.bytes * scale <= MARGIN * chip.hbm:
            found.append(Option(new, changes, Estimate(guess.bytes * scale, guess.seconds)))
    return sorted(found, key=lambda o: o.estimate.seconds * EACH ** len(o.changes))


def advise(
    config: Any,
    chip: Chip,
    chips: int,
    latent: Latent,
    needed: float | int,
    compile: Callable[[Any, dict[str, Any]], Any],
    *,
    tries: int = 3,
) -> tuple[Any | None, list[Any]]:
    """Compiles the best options until one fits.

    Args:
        config, chip, chips, latent, needed: see `options`.
        compile: `compile(config, changes) -> Plan`.
        tries: most programs to compile.

    Returns:
        The plan that fits, or None, and all plans that were compiled.
    """
    tried: list[Any] = []
    left = options(config, chip, chips, latent, needed)
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


def _variants(config: Any, asked: dict[str, int], chips: int, latent: Latent) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Changed configs and what was changed; what accumulates may do so deeper, what can recompute may do so more."""
    model, kind, updates = config.model, jobs.of(config), hasattr(config, "accumulate")
    needs = family.of(model).needs(model, latent)
    was = {"model.remat": None, "accumulate": None, "mesh": asked, "rules": config.rules}
    depths, policies = [None], [None]
    if updates:
        was["accumulate"], batch = config.accumulate, config.data.batch
        depths = [a for a in range(config.accumulate, batch + 1) if batch % a == 0]
    if updates and hasattr(model, "remat"):
        was["model.remat"] = model.remat
        policies = REMAT[REMAT.index(model.remat) :]
    seen: set[str] = set()
    for depth, remat in itertools.product(depths, policies):
        deeper = config if depth is None else dataclasses.replace(config, accumulate=depth)
        if remat is not None:
            deeper = dataclasses.replace(deeper, model=dataclasses.replace(model, remat=remat))
        examples = kind.examples(deeper)
        for mesh in itertools.chain([asked], _meshes(chips, needs.heads, needs.inner, examples)):
            if updates and examples % shapes.ways(config, mesh, "batch"):
                continue
            over, now = tuple(a for a in ("fsdp", "context") if mesh.get(a, 1) > 1), shapes.axes(config, "embed")
            same = [config.rules] if mesh == asked or over == now else []
            for rules in same if over == now else [*same, {**config.rules, "embed": over}]:
                values = {"model.remat": remat, "accumulate": depth, "mesh": mesh, "rules": rules}
                changes = {name: value for name, value in values.items() if value != was[name]}
                if repr(changes) not in seen:
                    seen.add(repr(changes))
                    yield dataclasses.replace(deeper, mesh=mesh, rules=rules), changes
