"""Contact sheets of puzzles: a row a subtype, and in it each difficulty with its answer drawn in."""

import os
import textwrap
from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vrjax.files.writing import atomic
from vrjax.tasks import puzzles

SIZE, WIDE, TALL = 256, 2.3, 3.1
"""Pixels of a picture; inches of one, and of a row."""


def puzzle_sheet(
    subtypes: Sequence[str],
    path: str | os.PathLike[str] | None = None,
    *,
    split: str = "test",
    index: int = 0,
    size: int = SIZE,
) -> Figure:
    """Draws one puzzle of each subtype at every difficulty, beside it the same with its answer.

    Args:
        subtypes: which, in any spelling.
        path: where to write the picture (its suffix is the format; nothing half-written is left there), or None.
        split, index: of the puzzles.
        size: pixels at which they are made; smaller ones are shown with sharp pixels.

    Returns:
        The figure.

    Raises:
        ValueError: no subtypes, or what `puzzles.make` refuses.
    """
    if not subtypes:
        raise ValueError("subtypes is empty, expected at least one")
    columns = 2 * len(puzzles.DIFFICULTIES)
    figure = Figure((columns * WIDE, len(subtypes) * TALL + 0.5), dpi=100, facecolor="#fbfaf7")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(subtypes), columns, squeeze=False)
    for row, subtype in zip(axes, subtypes, strict=True):
        for i, difficulty in enumerate(puzzles.DIFFICULTIES):
            item = puzzles.make(subtype, index, split=split, difficulty=difficulty, size=size)
            for axis, pixels in ((row[2 * i], item.image), (row[2 * i + 1], item.answer_image)):
                axis.set_axis_off()
                if pixels is not None:
                    axis.imshow(pixels, interpolation="nearest")
            # Text of data: a dollar sign is no formula.
            plain = {"loc": "left", "fontsize": 7, "parse_math": False}
            row[2 * i].set_title("\n".join(textwrap.wrap(item.question, 42)), **plain)
            row[2 * i + 1].set_title(f"difficulty {difficulty}: {item.answer}", **plain)
        named = {"rotation": 90, "va": "center", "ha": "right", "fontsize": 10, "weight": "bold"}
        row[0].text(-0.06, 0.5, item.subtype, transform=row[0].transAxes, **named)
    figure.tight_layout(rect=(0.03, 0, 1, 1))
    if path is not None:
        with atomic(path) as scratch:
            figure.savefig(scratch, format=os.fspath(path).rpartition(".")[2])
    return figure
