"""Low-rank adapters as PEFT names them: `blocks.3.self_attn.q.lora_A.weight`, in the keys of a network's own files."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from vrjax.files import tensors
from vrjax.files.weights import Names


def write(
    adapters: Mapping[str, Mapping[str, Any]],
    path: str | os.PathLike,
    names: Names,
    layout: str,
    *,
    alpha: float | None = None,
) -> None:
    """Writes adapters, float32; the file appears whole or not at all.

    Args:
        adapters: `{dotted kernel: {"a": (..., in, rank), "b": (..., rank, out)}}`, as `vrjax.train.lora` has them.
        path: a name ending in `.safetensors`.
        names, layout: of the network's keys.
        alpha: strength that the adapters were trained with, their rank if None. `alpha / rank` is folded into B, since
            not every reader asks for it.

    Raises:
        ValueError: an adapter of something that is no matrix.
    """
    shapes: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
    arrays: list[np.ndarray] = []
    for name in sorted(adapters):
        a, b = (np.asarray(adapters[name][part], np.float32) for part in "ab")
        b = b if alpha is None else b * np.float32(alpha / a.shape[-1])
        attributes = tuple(name.split("."))
        if attributes[-1] != "kernel":
            raise ValueError(f"adapters: {name} is no matrix, expected a name ending in .kernel")
        stacked = names.stack(attributes) is not None
        for i, (down, up) in enumerate(zip(a, b, strict=True) if stacked else [(a, b)]):
            module = names.key(attributes, layout, i if stacked else None).removesuffix(".weight")
            for end, array in (("A", down.T), ("B", up.T)):
                shapes[f"{module}.lora_{end}.weight"] = (array.shape, np.dtype(np.float32))
                arrays.append(array)
    tensors.write(path, shapes, arrays, {"format": "pt"})
