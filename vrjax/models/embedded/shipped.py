"""The small trained models that come with the package, in diffusers' folder layout.

Each folder's `README.md` names the command, seed and versions that made it.
"""

import pathlib

from vrjax.models.wan import WanDiT, load_dit

FOLDER = pathlib.Path(__file__).parent / "weights"


def names() -> tuple[str, ...]:
    """The models there are, sorted."""
    return tuple(sorted(p.name for p in FOLDER.iterdir() if (p / "config.json").is_file())) if FOLDER.is_dir() else ()


def path(name: str = "worlds") -> pathlib.Path:
    """The folder of a shipped model.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in names():
        raise ValueError(f"no shipped model {name!r}, expected one of {names()}")
    return FOLDER / name


def load(name: str = "worlds") -> WanDiT:
    """A shipped model. Raises ValueError for an unknown name."""
    return load_dit(path(name))
