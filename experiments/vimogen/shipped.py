"""Puts a trained model of motions among those that come with the package, with weights of half precision.

python -m experiments.vimogen.shipped runs/vimogen-small/model
python -m experiments.vimogen.solved vrjax/models/embedded/weights/motion --path position --clips 200 \\
    --json vrjax/models/embedded/weights/motion/rates.json

They are read back in the network's own precision. The shares of 200 motions of a pilot were the same with either.
"""

import argparse
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from vrjax.files import tensors, writing
from vrjax.models import motion as motion_models
from vrjax.models.embedded import folders, shipped
from vrjax.models.motion import readers

FOLDER = shipped.FOLDER / "motion"


def halve(model: pathlib.Path, to: pathlib.Path) -> None:
    """Writes a model's folder with its weights as float16.

    Args:
        model: a folder that `vrjax train` has exported.
        to: made where it is missing.

    Raises:
        FileNotFoundError, ValueError: no such model, or weights that float16 does not hold.
    """
    trained = tensors.read_json(model / folders.TRAINING)
    motion_models.load_dit(model)  # whole, and of this family
    source, half = tensors.read(model / readers.FILE), np.dtype(np.float16)
    if big := [name for name in source.shapes if not np.abs(source[name]).max() <= np.finfo(half).max]:
        raise ValueError(f"{model}: {big[0]} and {len(big) - 1} more do not fit float16")
    to.mkdir(parents=True, exist_ok=True)
    shapes = {name: (shape, half) for name, shape in source.shapes.items()}
    tensors.write(to / readers.FILE, shapes, (source[name] for name in shapes), source.metadata)
    writing.json(to / "config.json", tensors.read_json(model / "config.json"))
    writing.json(to / folders.TRAINING, trained)


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m experiments.vimogen.shipped", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", type=pathlib.Path, help="a folder that vrjax train has exported")
    parser.add_argument("--to", type=pathlib.Path, default=FOLDER, help="(the package's own)")
    args: Any = parser.parse_args(argv)
    try:
        halve(args.model, args.to)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
