"""Fingerprints of what a study trained, one file a seed: tables that were measured elsewhere come here with it, and
nothing is trained again for them.

    marks.of(folder / "seed3-marks.json", {"maze": folder / "seed3-maze" / "model"}, make)
"""

import json
import pathlib
from collections.abc import Callable, Mapping

from vrjax.files import kept, writing


def of(file: pathlib.Path, folders: Mapping[str, pathlib.Path], make: Callable[[str], object]) -> dict[str, str]:
    """The fingerprints of folders of weights by name.

    Args:
        file: where they are kept.
        folders: what is asked for. A folder that is there is read, whatever the file says.
        make: makes the folder of a name, which is neither there nor in the file.
    """
    told: dict[str, str] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    out = {}
    for name, folder in folders.items():
        if name not in told and not folder.exists():
            make(name)
        out[name] = kept.fingerprint(folder) if folder.exists() else told[name]
    if told | out != told:
        writing.json(file, told | out)
    return out
