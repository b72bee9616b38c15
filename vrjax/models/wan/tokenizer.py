"""Prompts to token ids as Wan's pipelines do it: cleaned text, UMT5's tokenizer, 512 ids with a mask.

tokenizer = Tokenizer.load(path)                   # a folder with tokenizer.json
ids, mask = tokenizer("a maze, seen from above")   # (512,), (512,) int32
"""

import html
import os
import pathlib
import re
import unicodedata
from typing import Any

import numpy as np
from jaxtyping import Int

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
