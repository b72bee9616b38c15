"""Weights in eight bits: which tensors of a file are values, which are the scales of others, and what is not read."""

import math
import pathlib
from collections.abc import Mapping
from typing import Any

_SCALES = ("scale_weight", "weight_scale")  # of eight-bit weights, in ComfyUI's files, old and new, and LightX2V's
_BESIDE = ("scaled_fp8", "scale_input", "input_scale", "comfy_quant")  # say how others multiply such weights
_COUNTERS = ("step", "global_step", "epoch", "iteration", "num_updates", "n_averaged", "num_batches_tracked")


def split(path: pathlib.Path, places: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors that are weights, and the scales of those that are eight-bit floats.

    Args:
        path: for messages.
        places: of all tensors, see `vrjax.files.tensors.Place`.

    Returns:
        name -> place of the weights; name -> place of the scale, for those that have one.

    Raises:
        ValueError: weights that are whole numbers, with scales or without; scales of another shape.
    """
    kept, scales = {}, {}
    for name, place in places.items():
        stem, dot, last = name.rpartition(".")
        if dot and last in _SCALES and f"{stem}.weight" in places:
            rows = places[f"{stem}.weight"].shape[:1]
            if math.prod(place.shape) not in (1, *rows):
                raise ValueError(f"{path}: {name} has shape {place.shape}, expected one scale, or {rows} of rows")
            scales[f"{stem}.weight"] = place
        elif last not in _BESIDE and (last not in _COUNTERS or math.prod(place.shape) != 1):
            kept[name] = place
    for name, place in kept.items():
        whole = place.dtype.kind in "iu" and len(place.shape) > 1
        if name in scales and (whole or place.dtype.itemsize != 1) or whole and name.endswith(".weight"):
            how = "with scales, quantised" if name in scales else "without scales"
            raise ValueError(
                f"{path}: {name:.99} holds {place.dtype} weights {how}, which is not read; expected bfloat16, float32, "
                "or fp8 (with or without scales)"
            )
    return kept, scales
