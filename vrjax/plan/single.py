"""What a guided run needs of one GPU, by account: nothing is compiled, as there is no GPU compiler without a GPU.

    found = single.account(config, "gpu:80")           # the pair of 14 B experts on one 80 GB device
    print(found.table()); found.fits

Exact: parameters, keys and values of the conditions, what is recorded, latents. Formulas: activations of one block
(`shapes.block`), and what the family says of what stands beside its network (`family.Needs`): of Wan, the VAE by the
arrays that are alive at the same time in its widest place. The text encoder runs before the transformers are loaded and
the VAE between calls of them: what is needed is the largest of the moments.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from vrjax.models import family
from vrjax.plan import shapes
from vrjax.plan.jobs import sampling
from vrjax.plan.jobs.sampling import SampleConfig
from vrjax.plan.topology import GIB

USABLE = 0.95  # of the device; CUDA's context, its libraries and the allocator's gaps take the rest


@dataclasses.dataclass(frozen=True)
class Account:
    """What a run needs of one device, in bytes.

    Attributes:
        name, kind, topology, tokens: what was accounted, and for what.
        hbm: bytes that a program may use.
        memory: bytes by what they hold while the transformers run.
        moments: bytes needed at each moment; the largest counts.
        flops: of one denoising step (all branches and seeds).
        changes: how it was made to fit: "record": "disk" and "experts": "one at a time", where asked for or needed.
        notes: what the reader should know.
    """

    name: str
    kind: str
    topology: str
    tokens: int
    hbm: float | int
    memory: Mapping[str, float | int]
    moments: Mapping[str, float | int]
    flops: float | int
    changes: dict[str, Any]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        needs = f"{self.needed / GIB:.2f} of {self.hbm / GIB:.2f} GiB"
        return (
            f"Account({self.name}: {self.kind} on {self.topology}, {needs}, {'fits' if self.fits else 'does not fit'})"
        )

    @property
    def needed(self) -> float | int:
        return max(self.moments.values())

    @property
    def fits(self) -> bool:
        return self.needed <= self.hbm

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**dataclasses.asdict(self), "needed": self.needed, "fits": self.fits}

    def table(self) -> str:
        """For people."""
        line = lambda name, amount: f"  {name:<44}{amount / GIB:>10.3f}"
        verdict = "fits" if self.fits else "DOES NOT FIT"
        how = ", ".join(f"{key} {value}" for key, value in self.changes.items())
        return "\n".join(
            [
                f"{self.name}: {self.kind}",
                f"{self.topology}: one device, by account (nothing was compiled); {self.tokens} tokens a clip"
                + (f"; {how}" if how else ""),
                "",
                f"memory while the transformers run{'GiB':>23}",
                *(line(name, amount) for name, amount in self.memory.items()),
                "",
                f"memory at each moment{'GiB':>35}",
                *(line(name, amount) for name, amount in self.moments.items()),
                f"{line('needed', self.needed)}  of {self.hbm / GIB:.2f}: {verdict}",
                "",
                f"operations of a denoising step: {self.flops / 1e12:.1f} TFLOP",
                *(f"note: {note}" for note in self.notes),
            ]
        )


def is_single(topology: str) -> bool:
    """Whether a topology is one device to be accounted for: `gpu:80`."""
    return topology.startswith("gpu:")


def account(config: Any, topology: str, *, latent: Any = None, record: str = "auto", experts: str = "auto") -> Account:
    """The account of a guided run on one device.

    Args:
        config: a `SampleConfig`; its mesh is not looked at.
        topology: `gpu:N`, a device of N GiB (an "80 GB" H100 or A100 has 80, an H200 141).
        latent: (t, h, w, c) instead of the config's.
        record: where recorded steps go: "device", "disk" (streamed as they are made), or "auto": the device if it fits.
        experts: of a pair, "both" on the device or "one at a time" (the other waits in the host's memory and takes its
            place at the boundary), or "auto": both if they fit.

    Raises:
        ValueError: another kind of config, or a topology of another form.
    """
    if not isinstance(config, SampleConfig):
        raise ValueError(f"{topology}: only guided runs (SampleConfig) are accounted, not {type(config).__name__}")
    size = topology.partition(":")[2]
    if not size.isdecimal() or not int(size):
        raise ValueError(f"topology {topology!r}: expected a device and its GiB, such as gpu:80")
    config = config if latent is None else dataclasses.replace(config, latent=tuple(latent))
    hbm = USABLE * int(size) * GIB
    records = ("device", "disk") if record == "auto" else (record,)
    pairs = ("both", "one at a time") if experts == "auto" and config.boundary is not None else (experts,)
    tried = [_account(config, topology, hbm, r, e) for e in pairs for r in records]
    return next((found for found in tried if found.fits), tried[-1])


def _account(config: SampleConfig, topology: str, hbm: float | int, record: str, experts: str) -> Account:
    model, latent, of = config.model, config.latent, family.of(config.model)
    needs, (_, weights), width = of.needs(model, latent), shapes.weights(model), jnp.dtype(config.dtype).itemsize
    given = sum(4 * math.prod(shape) for name, shape in of.conditions(model, latent).items() if name != "text")
    # Of both experts: a compiled run computes all conditions before its first step.
    held = config.networks if experts != "one at a time" else 1
    state = 4 * math.prod(latent) * config.seeds
    kept = config.kept * len(config.record_fields) * state
    memory = {
        "parameters" if held == 1 else "parameters of both experts": held * weights,
        **needs.beside,
        "keys and values of the conditions": held * config.branches * needs.context * width,
        "activations of one block": shapes.block(needs, config.branches * config.seeds * config.tokens, width),
        "latents, solver, image channels": 9 * state + given,
    }
    if record == "device":
        memory[f"recorded: {', '.join(config.record_fields)} of {config.kept} steps"] = kept
    after = {moment: held * weights + size + 2 * state for moment, size in needs.after.items()}
    moments = {**needs.before, "denoising": sum(memory.values()), **after}
    changes: dict[str, Any] = {}
    notes = []
    if record == "disk":
        changes["record"] = "disk"
        notes.append(f"recorded steps are streamed to disk: {kept / GIB:.2f} GiB of files")
    if experts == "one at a time":
        changes["experts"] = "one at a time"
        notes.append(f"the other expert waits in the host's memory: {weights / GIB:.1f} GiB")
    notes += [*needs.notes, "JAX takes 75 % of a device by default: set XLA_PYTHON_CLIENT_MEM_FRACTION=0.95"]
    kind = sampling.kind(config).replace(" steps", f" steps, {config.seeds} videos", 1)
    return Account(config.name, kind, topology, config.tokens, hbm, memory, moments, config.work, changes, tuple(notes))
