"""What a guided run needs of one GPU, by account: nothing is compiled, as there is no GPU compiler without a GPU.

    found = single.account(config, "gpu:80")           # the pair of 14 B experts on one 80 GB device
    print(found.table()); found.fits

Exact: parameters, keys and values of the conditions, what is recorded, latents. Formulas: activations of one block, and
of the VAE, which counts the arrays that are alive at the same time in the widest place, with attention as a fused
kernel (no scores). The text encoder runs before the transformers are loaded and the VAE between calls of them: what is
needed is the largest of the three moments.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from vrjax.models import wan
from vrjax.models.wan import flops, vae
from vrjax.plan.sampling import SampleConfig
from vrjax.plan.topology import GIB

USABLE = 0.95  # of the device; CUDA's context, its libraries and the allocator's gaps take the rest
UMT5 = 5_680_910_336  # parameters of UMT5-XXL's encoder, kept in bfloat16
_ATTENTION = (
    9  # arrays of the residual stream's size around self-attention: stream, its copy in the loop, normed, q, k, v,
)
# rotated q and k, output
_MLP = 4  # around the feed-forward: stream, its copy in the loop, normed, output; beside two of its inner width
_VAE = 5  # arrays of the widest stage: input, normed with context, convolved twice, shortcut


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
    moments: dict[str, float | int]
    flops: float | int
    changes: dict[str, Any]
    notes: tuple[str, ...] = ()

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
    model, latent = config.model, config.latent
    branches = 1 if config.guidance == 1.0 else 2
    networks = 1 if config.boundary is None else 2
    width = np.dtype(jax.numpy.dtype(config.dtype)).itemsize
    weights = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(wan.abstract(model)))
    rows = branches * config.seeds
    images = 0 if model.image_dim is None else model.image_positions or 257
    # Of both experts: a compiled run computes all conditions before its first step.
    held = networks if experts != "one at a time" else 1
    context = 2 * held * rows * model.layers * (model.text_len + images) * model.dim * width
    stream = rows * config.tokens * model.dim * width
    inner = rows * config.tokens * model.ffn_dim * width
    state = 4 * math.prod(latent) * config.seeds
    steps = config.steps if config.record_steps is None else len(config.record_steps)
    kept = steps * len(config.record_fields) * state
    own = vae.WAN_22 if latent[-1] == vae.WAN_22.latent_channels else vae.WAN_21
    coder = sum(4 * math.prod(leaf.shape) for leaf in jax.tree.leaves(vae.abstract(own)))
    memory = {
        "parameters" if held == 1 else "parameters of both experts": held * weights,
        "VAE": coder,
        "keys and values of the conditions": context,
        "activations of one block": max(_ATTENTION * stream, _MLP * stream + 2 * inner),
        "latents, solver, image channels": state * 8 + config.seeds * 4 * math.prod(latent[:3]) * model.in_channels,
    }
    if record == "device":
        memory[f"recorded: {', '.join(config.record_fields)} of {steps} steps"] = kept
    pixels = math.prod(latent[1:3]) * own.space_factor**2 / own.patch**2
    widest = 4 * own.time_factor * pixels * own.decoder_dim * own.multipliers[0]
    moments = {
        "encoding text (before the rest is loaded)": 2 * UMT5,
        "denoising": sum(memory.values()),
        "decoding, a latent frame at a time": held * weights + coder + _VAE * widest + 2 * state,
    }
    changes: dict[str, Any] = {}
    notes = []
    if record == "disk":
        changes["record"] = "disk"
        notes.append(f"recorded steps are streamed to disk: {kept / GIB:.2f} GiB of files")
    if experts == "one at a time":
        changes["experts"] = "one at a time"
        notes.append(f"the other expert waits in the host's memory: {weights / GIB:.1f} GiB")
    if images:
        notes.append("the CLIP encoder (1.2 GiB) runs before the transformers are loaded")
    notes.append("JAX takes 75 % of a device by default: set XLA_PYTHON_CLIENT_MEM_FRACTION=0.95")
    kind = f"sampling, {config.steps} steps, {config.seeds} videos" + ("" if branches == 1 else ", guided")
    work = branches * flops.forward(model, config.tokens, model.text_len, images) * config.seeds
    return Account(config.name, kind, topology, config.tokens, hbm, memory, moments, work, changes, tuple(notes))
