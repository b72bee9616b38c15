"""Arrays in a folder, addressed by what they depend on.

    store = Store("cache", dtype="bfloat16")
    parts = {"video": fingerprint("clip.mp4"), "frames": 81}
    at = store.keep("latents", "latent", parts, lambda: encode("clip.mp4"), 4)     # cache/latents/<at>.safetensors
    value = store.read("latents", "latent", at)

A key names everything that went into an array, so that nothing stale can be read; files appear whole or not at all, so
that a run that was killed goes on where it stopped.
"""

import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from vrjax.files import tensors
from vrjax.files.kept import key

DTYPES = ("float32", "bfloat16", "float16")


class Store:
    """The arrays of one folder.

    Args:
        folder: made if missing.
        dtype: what arrays are stored in, "float32", "bfloat16" or "float16".

    Raises:
        ValueError: another dtype.
    """

    def __init__(self, folder: str | os.PathLike, *, dtype: str = "float32"):
        if dtype not in DTYPES:
            raise ValueError(f"{folder}: dtype must be one of {', '.join(DTYPES)}, found {dtype!r}")
        self.folder, self.dtype = pathlib.Path(folder), dtype
        self.made = 0
        """Arrays written by this object."""

    def path(self, kind: str, at: str) -> pathlib.Path:
        """Where the array of a key is, or would be."""
        if len(at) != 64 or not set(at) <= set("0123456789abcdef"):
            raise ValueError(f"{self.folder}: {at!r:.80} is not a key")
        return self.folder / kind / f"{at}.safetensors"

    def has(self, kind: str, at: str) -> bool:
        """Whether the array of a key is there."""
        return self.path(kind, at).is_file()

    def keep(self, kind: str, name: str, parts: dict[str, Any], make: Callable[[], Any], axes: int) -> str:
        """The key of an array, which is made and written if it is not there yet.

        Args:
            kind: the folder within the store.
            name: of the array in its file.
            parts: everything that the array depends on, but kind and dtype.
            make: makes it.
            axes: how many it must have.

        Raises:
            ValueError: another number of axes, values that are not finite; and what `make` raises.
        """
        parts = {**parts, "dtype": self.dtype}
        at = key(kind=kind, **parts)
        if not self.has(kind, at):
            value = np.asarray(make())
            if value.ndim != axes:
                raise ValueError(f"{self.folder}: expected {kind} of {axes} axes, found shape {value.shape}")
            self.put(kind, name, at, value, parts)
        return at

    def put(
        self,
        kind: str,
        name: str,
        at: str,
        value: Any,
        made: dict[str, Any] | None = None,
        dtype: str | None = None,
    ) -> None:
        """Writes an array under a key.

        Args:
            kind: the folder within the store.
            name: of the array in its file.
            at: the key.
            value: the array.
            made: what the key stands for; written beside the array, for a person.
            dtype: stored in, where it is not the store's.

        Raises:
            ValueError: values that are not finite.
        """
        path, value = self.path(kind, at), np.asarray(value)
        if not np.isfinite(value.astype(np.float32)).all():
            raise ValueError(f"{path}: {name} would hold values that are not finite")
        path.parent.mkdir(parents=True, exist_ok=True)
        about = {"format": "np"} if made is None else {"made": json.dumps(made, sort_keys=True)}
        tensors.write(path, {name: (value.shape, np.dtype(jnp.dtype(dtype or self.dtype)))}, [value], about)
        self.made += 1

    def read(self, kind: str, name: str, at: str) -> np.ndarray:
        """An array by its key, float32.

        Raises:
            FileNotFoundError: there is none. ValueError: the file is torn, has no such array, or values that are not
                finite.
        """
        found = tensors.read(self.path(kind, at))
        if name not in found.shapes:
            raise ValueError(f"{found.path}: no array {name!r}, found {sorted(found.shapes)[:3]}")
        value = np.asarray(found[name]).astype(np.float32)
        if not np.isfinite(value).all():
            raise ValueError(f"{found.path}: {name} holds values that are not finite")
        return value
