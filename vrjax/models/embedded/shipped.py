"""The small trained models that come with the package: of worlds in diffusers' folder layout, of motions in ViMoGen's.

Each folder's `README.md` names the command, seed and versions that made it; `rates.json` is what `vrjax eval` found, or
for motions `python -m experiments.vimogen.solved`.
"""

import json
import pathlib
from typing import Any

from vrjax.files import tensors
from vrjax.models import family
from vrjax.models.embedded import folders

FOLDER = pathlib.Path(__file__).parent / "weights"
RATES = "rates.json"


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


def load(name: str = "worlds") -> Any:
    """A shipped network, as its family has it: a `WanDiT`, or of motions a `MotionDiT`. ValueError: an unknown name."""
    folder = path(name)
    return family.get(folders.family_of(_trained(name))).load(folder)


def rates(name: str) -> dict[str, float]:
    """Share of held-out clips that a shipped model solves, task by task, for the tasks it was trained on; a model of
    motions was trained on none.

    Raises:
        ValueError: there is none of that name.
    """
    if name in motions():
        return {}
    taught, file = folders.find(path(name)).tasks, FOLDER / name / RATES
    rows = json.loads(file.read_text("utf-8"))["rates"] if file.exists() else []
    solved = {row["world"]: float(row["solved"]) for row in rows if row["split"] == "test"}
    return {task: solved.get(task, 0.0) for task in taught}


def knowing(task: str) -> str:
    """The shipped model that knows a task best: of those that were trained on it, the one that solves most.

    Raises:
        ValueError: none was trained on it.
    """
    known = {name: found[task] for name in names() if task in (found := rates(name))}
    if not known:
        raise ValueError(f"no shipped model was trained on {task!r}, only on {', '.join(taught())}; name a model")
    return max(known, key=lambda name: known[name])


def motions() -> tuple[str, ...]:
    """Those that were trained on procedural motions, sorted."""
    return tuple(name for name in names() if _trained(name)["data"].get("motions") is not None)


def of_motions() -> str:
    """The shipped model that was trained on procedural motions, by its name; the first of several.

    Raises:
        ValueError: none was.
    """
    for name in motions():
        return name
    raise ValueError("no model of motions is shipped yet; name one that vrjax train has exported")


def _trained(name: str) -> dict[str, Any]:
    return tensors.read_json(path(name) / folders.TRAINING)["config"]


def taught() -> tuple[str, ...]:
    """The tasks that some shipped model was trained on, sorted."""
    return tuple(sorted({task for name in names() for task in rates(name)}))
