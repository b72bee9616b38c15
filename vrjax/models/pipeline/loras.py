"""Which LoRA file changes which network of a model."""

import os
import pathlib
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from vrjax.models.wan import lora_files, lora_keys
from vrjax.models.wan.lora_keys import HIGH, LOW

BOTH = "both"
# In a LoRA file's name. The words alone are no statement: styles are called "low poly" and "high contrast" too.
_EXPERT = re.compile(r"(?<![a-z])(high|low)[ _.-]?noise", re.IGNORECASE)


class Lora(NamedTuple):
    """A LoRA file to merge, its weight, and which expert of a pair it changes: "high", "low" or "both".

    None leaves it to the keys in the file (`transformer_2...`), then to its name ("..._high_noise.safetensors"). Keys
    or a name that speak of the other expert are refused: the two experts' files fit each other, and swapping them would
    only be seen in the videos. With `without_image`, changes of attention to a picture that the model does not have
    are left out, and counted.
    """

    path: str | os.PathLike
    weight: float = 1.0
    expert: str | None = None
    without_image: bool = False


class Assigned(NamedTuple):
    """A LoRA with what was read of it.

    Attributes:
        given: with its expert.
        parts: of each network, the high-noise expert's first; None for one that it leaves alone.
        said: file, expert and weight, what chose the expert, and how many changes are left out: for a person.
    """

    given: Lora
    parts: tuple[lora_files.Lora | None, ...]
    said: str


def all_of(given: Any, folder: Any) -> tuple[Assigned, ...]:
    """LoRAs as a caller may write them, each with its expert: files, `Lora`s, or tuples of their fields.

    Raises:
        ValueError: something else. And as `assigned`.
    """
    if isinstance(given, (str, os.PathLike, Lora)) or not isinstance(given, Iterable):
        raise ValueError(f"loras: found {given!r}, expected a list of them, such as [{given!r}]")
    return tuple(assigned(one, folder) for one in given)


def assigned(given: Any, folder: Any) -> Assigned:
    """A LoRA with its expert, read and held against the networks' shapes.

    Raises:
        FileNotFoundError: no such file. ValueError: it cannot be read or does not fit, has no expert, or its keys or
            its name speak of the other.
    """
    if isinstance(given, (str, os.PathLike)):
        given = (given,)
    try:
        lora = given if isinstance(given, Lora) else Lora(*given)
        float(lora.weight)
        os.fspath(lora.path)
    except (TypeError, ValueError):
        raise ValueError(f"loras: found {given!r:.200}, expected a file, or Lora(path, weight, expert)") from None
    path = pathlib.Path(lora.path)
    if not path.exists() and not path.is_symlink():
        raise FileNotFoundError(f"{lora.path}: no such LoRA file")
    if lora.expert not in (None, BOTH, HIGH, LOW):
        raise ValueError(f"{lora.path}: expert {lora.expert!r}, expected high, low or both")
    if len(folder.networks) == 1 and lora.expert in (HIGH, LOW):
        raise ValueError(f"{lora.path}: a LoRA for the {lora.expert} expert, {folder.name} has one network")
    keys = lora_keys.experts(path)
    lora, why = _with_expert(lora, folder, keys)
    parts, left = [], 0
    for name in (HIGH, LOW)[: len(folder.networks)]:
        part = None
        if lora.expert in (BOTH, name):
            part = lora_files.load_lora(path, expert=name if keys else None)
            if lora.without_image:
                part, count = part.without_image(folder.cfg)
                left += count
            part.check(folder.cfg)
        parts.append(part)
    said = f"LoRA {path.name}: weight {lora.weight:g}"
    if len(parts) == 2:
        said += f", {'both experts' if lora.expert == BOTH else f'the {lora.expert}-noise expert'} ({why})"
    if lora.without_image:
        said += f", {left} changes of image attention left out"
    return Assigned(lora, tuple(parts), said)


def _with_expert(lora: Lora, folder: Any, keys: tuple[str, ...]) -> tuple[Lora, str]:
    """The LoRA with its expert, and what says so."""
    if len(folder.networks) == 1:
        if keys:
            what = "both experts" if len(keys) == 2 else f"the {keys[0]} expert"
            raise ValueError(f"{lora.path}: its keys name {what} of a pair, {folder.name} has one network")
        return lora._replace(expert=BOTH), ""
    names = {m[1].lower() for m in _EXPERT.finditer(pathlib.Path(lora.path).name)}
    for found, what in ((set(keys), "keys"), (names, "name")):
        if len(found) == 1 and lora.expert not in (None, *found) and (what == "keys" or lora.expert != BOTH):
            given, speaks = "both experts" if lora.expert == BOTH else f"the {lora.expert} expert", found.pop()
            raise ValueError(f"{lora.path}: given to {given}, but its {what} speaks of the {speaks} one")
    if lora.expert is not None:
        return lora, "as given"
    if keys:
        return lora._replace(expert=BOTH if len(keys) == 2 else keys[0]), "by its keys"
    if len(names) != 1:
        raise ValueError(f"{lora.path}: say which expert of {folder.name} it changes: high, low or both")
    return lora._replace(expert=names.pop()), "by its name"
