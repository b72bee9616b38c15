"""The memory that a run of a public model will need, said before anything is loaded, beside what is there."""

import dataclasses
import math
import os
import pathlib
from typing import Any

GIB = 2**30
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container


def lines(pipe: Any, settings: Any, together: int) -> list[str]:
    """What to print: the need of each moment, and a warning where it is more than there is.

    Args:
        pipe: a `WanPipeline` on one device; nothing of it is loaded.
        settings: of the run.
        together: seeds computed at once.
    """
    moments = needs(pipe, settings, together)
    most, (where, there) = max(moments, key=lambda name: moments[name]), machine()
    each = ", ".join(f"{name} {amount / GIB:.3g}" for name, amount in moments.items())
    has = "" if there is None else f"; {where} has {there / GIB:.3g} GiB"
    said = [f"memory by account: {moments[most] / GIB:.3g} GiB ({each}){has}"]
    if there is not None and moments[most] > there:
        short, smaller = (
            (moments[most] - there) / GIB,
            "--dtype bfloat16, --mesh, fewer at once (--together), or --size",
        )
        said.append(f"warning: {most} needs {short:.3g} GiB more than {where} has; {smaller}")
    return said


def needs(pipe: Any, settings: Any, together: int) -> dict[str, float | int]:
    """Bytes at each moment of a run, of one device: weights, activations and what the VAE holds, from shapes alone.

    The text encoder is gone before the transformers are loaded; these stay while the VAE decodes.
    """
    import jax

    from vrjax.files import tensors
    from vrjax.models.wan import conditions, vae
    from vrjax.models.wan.family import VAE_ARRAYS
    from vrjax.plan import single
    from vrjax.plan.jobs.sampling import SampleConfig

    latent, coder = pipe.latent_shape(settings), pipe.vae_config
    model = dataclasses.replace(pipe.folder.cfg, dtype=pipe.dtype, param_dtype=pipe.dtype)
    config = SampleConfig(
        name=pipe.name,
        model=model,
        latent=latent,
        seeds=together,
        guidance=max(settings.guidance),
        boundary=settings.boundary,
        dtype=pipe.dtype,
    )
    memory = single.account(config, "gpu:1", record="disk", experts="both").memory
    weights = sum(amount for name, amount in memory.items() if name.startswith("parameters"))
    of_vae = sum(4 * math.prod(leaf.shape) for leaf in jax.tree.leaves(vae.abstract(coder)))
    encoder = tensors.read(pipe.folder.parts["text_encoder"]).places.values()
    at_once = latent if conditions.chunk_of(latent, coder) is None else (2, *latent[1:])
    return {
        "text encoder": sum(math.prod(place.shape) * place.dtype.itemsize for place in encoder),
        "sampling": sum(memory.values()) - memory["VAE"] + (of_vae if pipe.folder.kind != "t2v" else 0),
        "decoding": weights + of_vae + VAE_ARRAYS * conditions.widest(at_once, coder),
    }


def machine() -> tuple[str, float | int | None]:
    """The device's name and its bytes; of a CPU, the machine's or the container's. None where nobody says."""
    import jax

    device = jax.local_devices()[0]
    if device.platform != "cpu":
        return device.device_kind, (device.memory_stats() or {}).get("bytes_limit")
    try:
        there = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (ValueError, OSError):
        return "this machine", None
    for path in map(pathlib.Path, _LIMITS):
        if path.is_file() and (text := path.read_text().strip()).isdecimal():
            there.append(int(text))
    return "this machine", min(there)
