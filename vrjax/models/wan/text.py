"""Prompts to the rows Wan's transformers read: cleaned text, token ids, rows; what was encoded once is kept on disk.

    rows = encode(folder, ["a maze seen from above", ""])      # (2, 512, 4096) float32
    ids, mask = Tokenizer.load(folder)("a maze, seen")         # (512,), (512,) int32, as Wan's pipelines make them

The encoder has 5.7 billion parameters, so it is loaded only for prompts that the cache does not hold, and let go of
afterwards. A prompt's entry is named by the hash of its token ids and of the encoder's weights: another wording that
cleans to the same text shares it, another encoder does not.
"""

import hashlib
import html
import os
import pathlib
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from vrjax.files import fingerprint, tensors
from vrjax.models.wan import umt5
from vrjax.models.wan.folders import Folder
from vrjax.models.wan.umt5 import load_text_encoder

# What ftfy.fix_text, which the public pipelines call first, does to text in a sound encoding. It also guesses at text
# that was decoded wrongly ("donâ€™t"); such text is left as it is here.
_QUOTES = {ord(c): "'" for c in "\u02bc\u2018\u2019\u201a\u201b"} | {ord(c): '"' for c in "\u201c\u201d\u201e\u201f"}
_LIGATURES = {
    0x132: "IJ", 0x133: "ij", 0x149: "'n", 0x1F1: "DZ", 0x1F2: "Dz", 0x1F3: "dz", 0x1C4: "D\u017d", 0x1C5: "D\u017e",
    0x1C6: "d\u017e", 0x1C7: "LJ", 0x1C8: "Lj", 0x1C9: "lj", 0x1CA: "NJ", 0x1CB: "Nj", 0x1CC: "nj", 0xFB00: "ff",
    0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "\u017ft", 0xFB06: "st",
}  # fmt: skip
_WIDTH = {0x3000: " "} | {c: unicodedata.normalize("NFKC", chr(c)) for c in range(0xFF01, 0xFFF0)}
_C1 = {c: bytes([c]).decode("cp1252", "ignore") or chr(c) for c in range(0x80, 0xA0)}  # Latin-1 read, Windows meant
_LINES = {0x85: "\n", 0x2028: "\n", 0x2029: "\n"}
_ENTITY = re.compile(r"&#?[0-9A-Za-z]{1,24};")
_CONTROL = dict.fromkeys(
    [*range(0x00, 0x09), 0x0B, *range(0x0E, 0x20), 0x7F, *range(0x206A, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFD)]
)
_TERMINAL = re.compile("\033\\[((?:\\d|;)*)([a-zA-Z])")
_SURROGATES = re.compile("[\ud800-\udbff][\udc00-\udfff]")


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
    path = folder.parts["text_encoder"]
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


# ---------------------------------------------------------------------------------------------------------- tokens


def clean(text: str) -> str:
    """The prompt as Wan's public pipelines clean it: Unicode repairs, HTML entities, and single spaces.

    Straight quotes, ligatures spelled out, half- and full-width forms at their normal width, no control characters,
    NFC; entities are resolved twice more, as upstream does.
    """
    if "<" not in text:
        text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    text = _TERMINAL.sub("", text).translate(_C1).translate(_LIGATURES | _WIDTH | _QUOTES)
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_LINES)
    text = _SURROGATES.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)
    text = re.sub("[\ud800-\udfff]", "\ufffd", text).translate(_CONTROL)
    text = unicodedata.normalize("NFC", text)
    return re.sub(r"\s+", " ", html.unescape(html.unescape(text))).strip()


class Tokenizer:
    """UMT5's tokenizer with Wan's cleaning and padding.

    Attributes:
        length: ids of every result; longer prompts are cut, and still end in the end token.
    """

    def __init__(self, tokenizer: Any, length: int = 512):
        if length < 2:
            raise ValueError(f"Tokenizer: length {length}, expected at least 2")
        pad = tokenizer.token_to_id("<pad>")
        if pad is None:
            raise ValueError("Tokenizer: no <pad> token in this vocabulary")
        tokenizer.enable_truncation(max_length=length)
        tokenizer.enable_padding(length=length, pad_id=pad, pad_token="<pad>")
        self._tokenizer, self.length = tokenizer, length

    @classmethod
    def load(cls, path: str | os.PathLike, length: int = 512) -> "Tokenizer":
        """Reads `tokenizer.json`.

        Args:
            path: the file, its folder, or a model's root folder (`tokenizer/` or `google/umt5-xxl/` in it).
            length: ids of every result.

        Raises:
            FileNotFoundError: no tokenizer.json there.
            ValueError: one that cannot be read; names it.
            ImportError: the `tokenizers` package is missing.
        """
        try:
            import tokenizers
        except ImportError:
            raise ImportError("reading a tokenizer needs the `tokenizers` package: pip install tokenizers") from None

        path = pathlib.Path(path)
        places = [
            path,
            path / "tokenizer.json",
            *(path / p / "tokenizer.json" for p in ("tokenizer", "google/umt5-xxl")),
        ]
        file = next((place for place in places if place.is_file()), None)
        if file is None:
            raise FileNotFoundError(
                f"{path}: no tokenizer.json, tokenizer/tokenizer.json or google/umt5-xxl/tokenizer.json"
            )
        try:
            return cls(tokenizers.Tokenizer.from_file(str(file)), length)
        except Exception as error:  # the library raises bare Exception
            raise ValueError(f"{file}: not a tokenizer: {error}") from None

    def __call__(self, text: str) -> tuple[Int[np.ndarray, "l"], Int[np.ndarray, "l"]]:
        """Ids and mask (1 at tokens, 0 at padding) of a prompt, int32; what `UMT5Encoder` takes."""
        encoding = self._tokenizer.encode(clean(text))
        return np.array(encoding.ids, np.int32), np.array(encoding.attention_mask, np.int32)
