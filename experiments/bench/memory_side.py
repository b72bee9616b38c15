"""Peak memory of a large model on a small machine: a random checkpoint is written, loaded, sampled and measured.

A process of its own loads the checkpoint and samples 5 frames of 128 x 128 pixels with guidance, every field of every
step recorded, and says at each stage what it holds at most (`ru_maxrss`: its own memory and what it has mapped of
files). Beside it stand the bytes that must be there: parameters, what is recorded, and the process as it was before
anything was loaded. The checkpoint lies in a temporary folder and is deleted.
"""

import pathlib
import resource
import tempfile
import time
from collections.abc import Sequence

from experiments.bench import timing
from experiments.bench.sides import Side

LIMIT = 1.15  # of the peak over what must be there
SHAPES = {
    "1.3b": {"dim": 1536, "ffn_dim": 8960, "heads": 12, "layers": 30},
    "5b": {"dim": 3072, "ffn_dim": 14336, "heads": 24, "layers": 30, "in_channels": 48, "out_channels": 48},
}
LATENT = (2, 16, 16)  # of 5 frames, 128 x 128 pixels, by Wan's VAE 2.1


def start(cores: int, devices: int) -> None:
    """Nothing to set."""


def write(folder: pathlib.Path, shapes: dict, dtype: str) -> None:
    """A random checkpoint in diffusers' layout, made tensor by tensor."""
    import jax
    import numpy as np

    from vrjax.files import tensors, weights, writing
    from vrjax.models import wan
    from vrjax.models.wan import readers

    cfg = wan.WanConfig(**shapes, param_dtype=dtype)
    rng = np.random.default_rng(0)
    leaves = jax.tree_util.tree_leaves_with_path(wan.abstract(cfg))
    rows = list(zip(leaves, readers.NETWORK.slots(cfg, "diffusers"), strict=True))
    listed = {key: (slot.shape, np.dtype(leaf.dtype)) for (_, leaf), slot in rows for key in slot.keys}

    def arrays():
        for (path, leaf), slot in rows:
            name, shape = weights.attributes(path)[-1], slot.shape
            scale = 1.0 if name == "scale" or "norm" in name else shape[-1] ** -0.5
            for _ in slot.keys:
                yield (scale * rng.standard_normal(shape, np.float32)).astype(leaf.dtype)

    tensors.write(folder / "diffusion_pytorch_model.safetensors", listed, arrays(), {"format": "pt"})
    writing.json(folder / "config.json", readers.public_config(cfg, "diffusers"))


def peak() -> int:
    """Most bytes that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(folder: pathlib.Path, steps: int) -> dict:
    """Loads, samples, and says what it took: the peak after each stage, in bytes."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from vrjax import flow
    from vrjax.models import wan

    jnp.zeros(1).block_until_ready()
    found: dict = {"start": peak()}
    began = time.monotonic()
    dit = wan.load_dit(folder)
    found |= {"load": peak(), "load_seconds": time.monotonic() - began}
    cfg = dit.cfg
    rng = np.random.default_rng(1)
    text = rng.standard_normal((2, cfg.text_len, cfg.text_dim), np.float32)
    grid = flow.grids.wan_unipc(steps, shift=5.0)

    @jax.jit
    def run(dit, text, key):
        x = jax.random.normal(key, (*LATENT, cfg.out_channels))
        velocity = dit.guided(text[0], text[1], 5.0)
        return flow.sample(velocity, x, grid, solver=flow.unipc(), record=flow.Record())

    began = time.monotonic()
    compiled = run.lower(dit, text, jax.random.key(0)).compile()
    found |= {"compile": peak(), "compile_seconds": time.monotonic() - began}
    began = time.monotonic()
    trajectory = jax.block_until_ready(compiled(dit, text, jax.random.key(0)))
    found |= {"sample": peak(), "sample_seconds": time.monotonic() - began}
    stats = compiled.memory_analysis()
    found |= {
        "parameters": sum(leaf.nbytes for leaf in jax.tree.leaves(dit)),
        "recorded": sum(leaf.nbytes for leaf in jax.tree.leaves(trajectory)),
        "temporaries": 0 if stats is None else stats.temp_size_in_bytes,
        "count": sum(leaf.size for leaf in jax.tree.leaves(dit)),
        "finite": all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(trajectory)),
        "steps": steps,
    }
    return found


def table(found: dict) -> str:
    """For people."""
    must = found["parameters"] + found["recorded"] + found["start"]
    gib = lambda n: f"{n / 2**30:9.3f}"
    rows = [
        (f"parameters ({found['count'] / 1e9:.3f} B)", gib(found["parameters"])),
        (f"trajectory of {found['steps']} steps, all fields", gib(found["recorded"])),
        ("the process before", gib(found["start"])),
        ("must be there", gib(must)),
        (f"peak after loading ({found['load_seconds']:.0f} s)", gib(found["load"])),
        (f"peak after compiling ({found['compile_seconds']:.0f} s)", gib(found["compile"])),
        (f"peak after sampling ({found['sample_seconds']:.0f} s)", gib(found["sample"])),
        ("of it XLA's temporaries", gib(found["temporaries"])),
        ("peak over what must be there", f"{found['sample'] / must:9.3f}"),
        ("peak over parameters and trajectory alone", f"{found['sample'] / (must - found['start']):9.3f}"),
    ]
    return "\n".join([f"{'GiB':>53}", *(f"{name:<44}{value}" for name, value in rows)])


def row(
    cores: Sequence[int], shape: str, layers: int | None, dtype: str, steps: int, scratch: pathlib.Path | None
) -> dict:
    """The row "memory": peak over what must be there.

    Args:
        cores: those that the processes run on.
        shape: name of the model's sizes, one of `SHAPES`.
        layers: blocks, where not the model's own number.
        dtype: of the file.
        steps: denoising steps.
        scratch: where the checkpoint may lie for a while.
    """
    shapes = SHAPES[shape] | ({} if layers is None else {"layers": layers})
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        with Side("memory", cores) as writer:
            writer.ask("write", pathlib.Path(folder), shapes, dtype)
        with Side("memory", cores) as fresh:
            found = fresh.ask("measure", pathlib.Path(folder), steps)
    print(table(found))
    ratio = found["sample"] / (found["parameters"] + found["recorded"] + found["start"])
    return timing.row("memory", [ratio], **found, within=ratio <= LIMIT and found["finite"])
