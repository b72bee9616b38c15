"""Prompts to the rows Wan's transformers read, with what was encoded once kept on disk.

    rows = encode(folder, ["a maze seen from above", ""])      # (2, 512, 4096) float32

The encoder has 5.7 billion parameters, so it is loaded only for prompts that the cache does not hold, and let go of
afterwards. A prompt's entry is named by the hash of its token ids and of the encoder's weights: another wording that
cleans to the same text shares it, another encoder does not.
"""

import hashlib
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from vrjax.files import fingerprint, tensors
from vrjax.models.wan import umt5
from vrjax.models.wan.folders import Folder
from vrjax.models.wan.tokenizer import Tokenizer
from vrjax.models.wan.umt5 import load_text_encoder


def cache_folder() -> pathlib.Path:
    """Where embeddings are kept: `$VRJAX_CACHE/text`, else `vrjax/text` in the user's cache folder."""
    if os.environ.get("VRJAX_CACHE"):
        return pathlib.Path(os.environ["VRJAX_CACHE"]) / "text"
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "vrjax" / "text"


def encode(
    folder: Folder, prompts: Sequence[str], *, dtype: str = "float32", cache: str | os.PathLike | bool | None = None
) -> Float[np.ndarray, "n l d"]:
    """Text rows of each prompt, cut at its end and padded with zero rows to the model's text length.

    Args:
        folder: the model.
        prompts: as a person writes them; cleaned as upstream does.
        dtype: of the encoder's matrix products.
        cache: the folder of the cache; None for `cache_folder()`, False for none.

    Raises:
        FileNotFoundError: the folder has no tokenizer or text encoder.
        ValueError: one that cannot be read, or whose rows are not of the transformer's width.
    """
    tokenizer = Tokenizer.load(folder.root, folder.cfg.text_len)
    tokens = [tokenizer(prompt) for prompt in prompts]
    path = folder.part("text_encoder", umt5._FILES, "text encoder")
    place = None
    if cache is not False:
        place = cache_folder() if cache is None or cache is True else pathlib.Path(cache)
    found: dict[str, np.ndarray] = {}
    names = [_name(ids, mask, dtype, path) for ids, mask in tokens]
    if place is not None:
        found = {name: rows for name in set(names) if (rows := _read(place / name, folder.cfg.text_dim)) is not None}
    if set(names) - set(found):
        encoder = load_text_encoder(path, dtype=dtype)
        if encoder.cfg.dim != folder.cfg.text_dim:
            raise ValueError(f"{path}: rows of {encoder.cfg.dim}, the transformer reads {folder.cfg.text_dim}")
        for name, (ids, mask) in zip(names, tokens, strict=True):
            if name not in found:
                found[name] = np.asarray(_run(encoder, ids, mask))[: int(mask.sum())]
                if place is not None:
                    _write(place / name, found[name])
    out = np.zeros((len(prompts), folder.cfg.text_len, folder.cfg.text_dim), np.float32)
    for row, name in zip(out, names, strict=True):
        row[: len(found[name])] = found[name]
    return out


@jax.jit
def _run(encoder: umt5.UMT5Encoder, ids: Any, mask: Any) -> jax.Array:
    return encoder(ids, mask)


def _name(ids: np.ndarray, mask: np.ndarray, dtype: str, path: pathlib.Path) -> str:
    text = hashlib.sha256(ids[: int(mask.sum())].tobytes() + dtype.encode())
    text.update(fingerprint(path).encode())
    return text.hexdigest()[:40] + ".safetensors"


def _read(file: pathlib.Path, width: int) -> np.ndarray | None:
    """A cached entry, or None where there is none, or one that is torn."""
    try:
        rows = np.array(tensors.read(file)["rows"])
    except (OSError, ValueError, KeyError):
        return None
    return rows if rows.ndim == 2 and rows.shape[1] == width else None


def _write(file: pathlib.Path, rows: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    tensors.write(file, {"rows": (rows.shape, rows.dtype)}, [rows], {"format": "np"})
