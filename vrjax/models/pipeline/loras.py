"""Which LoRA file changes which network of a model."""

import os
import pathlib
import re
from typing import Any, NamedTuple

BOTH, HIGH, LOW = "both", "high", "low"
_EXPERT = re.compile(r"(?<![a-z])(high|low)(?=[ _-]?noise|[_.-]|$)", re.IGNORECASE)  # in a LoRA file's name


class Lora(NamedTuple):
    """A LoRA file to merge, its weight, and which expert of a pair it changes: "high", "low" or "both".

    None leaves it to the file's name ("..._high_noise.safetensors"). A name that speaks of the other expert is refused:
    the two experts' files fit each other, and swapping them would only be seen in the videos.
    """

    path: str | os.PathLike
    weight: float = 1.0
    expert: str | None = None


def assigned(given: Lora | tuple[Any, ...], folder: Any) -> Lora:
    """The LoRA with its expert; ValueError where it has none, or its name speaks of the other."""
    lora = given if isinstance(given, Lora) else Lora(*given)
    named = {m[1].lower() for m in _EXPERT.finditer(pathlib.Path(lora.path).name)}
    if not pathlib.Path(lora.path).exists():
        raise FileNotFoundError(f"{lora.path}: no such LoRA file")
    if len(folder.networks) == 1:
        if lora.expert not in (None, BOTH):
            raise ValueError(f"{lora.path}: a LoRA for the {lora.expert} expert, {folder.name} has one network")
        return lora._replace(expert=BOTH)
    if lora.expert is None:
        if len(named) != 1:
            raise ValueError(f"{lora.path}: say which expert of {folder.name} it changes: high, low or both")
        return lora._replace(expert=named.pop())
    if lora.expert not in (BOTH, HIGH, LOW):
        raise ValueError(f"{lora.path}: expert {lora.expert!r}, expected high, low or both")
    if len(named) == 1 and lora.expert not in (BOTH, *named):
        raise ValueError(f"{lora.path}: given to the {lora.expert} expert, but its name speaks of the other")
    return lora
