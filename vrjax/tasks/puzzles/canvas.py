"""A canvas in whose unit square puzzles are drawn, x to the right and y down, at any size in pixels.

    canvas = Canvas(256)
    canvas.disc((0.5, 0.5), 0.3, "red")
    canvas.part((0.5, 0.5, 1.0, 1.0)).polygon([(0, 0), (1, 0), (0, 1)], "blue")     # in the lower right quarter
    canvas.pixels()                                                                 # (256, 256, 3), uint8

Everything is drawn `FINE` times as large and then made smaller, so that edges are smooth. NumPy and Pillow only.
"""

import functools
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

Place = Any
"""(2,): x and y, a sequence or an array."""
Places = Any
"""(n, 2)."""
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in a unit square."""
Ink = str | tuple[int, int, int]

FINE = {64: 4}
"""How many times as large a picture is drawn, by its size; others `USUAL`."""
USUAL = 2
INKS: dict[str, tuple[int, int, int]] = {
    "white": (255, 255, 255),
    "black": (24, 24, 28),
    "grey": (168, 168, 172),
    "pale": (224, 224, 228),
    "blue": (38, 84, 196),
    "orange": (238, 140, 32),
    "yellow": (240, 208, 48),
    "purple": (132, 60, 164),
    "teal": (24, 150, 160),
    "brown": (130, 84, 48),
    "pink": (240, 160, 190),
    "navy": (24, 36, 92),
}
"""Colours of puzzles. None is near the ones that answers are drawn in: see `MARKERS`."""
MARKERS: dict[str, tuple[int, int, int]] = {"red": (230, 20, 30), "green": (20, 190, 50)}
"""Colours of answers."""


def ink(name: Ink) -> tuple[int, int, int]:
    """A colour by its name. Raises ValueError where there is none of it."""
    if not isinstance(name, str):
        return name
    found = INKS.get(name) or MARKERS.get(name)
    if found is None:
        raise ValueError(f"no ink is called {name!r}, expected one of {', '.join([*INKS, *MARKERS])}")
    return found


@functools.lru_cache(maxsize=64)
def _font(height: int) -> Any:
    return ImageFont.load_default(height)


class Canvas:
    """A square, or a rectangle of one (`part`): all lengths are in units of its sides, radii and widths of the shorter.

    Args:
        size: pixels of a side.
        paper: the colour of what nothing is drawn on.
    """

    def __init__(self, size: int, paper: Ink = "white"):
        self.size, self._fine = size, FINE.get(size, USUAL)
        side = size * self._fine
        self._image = Image.new("RGB", (side, side), ink(paper))
        self._draw = ImageDraw.Draw(self._image)
        self._origin, self._unit = (0.0, 0.0), (float(side), float(side))

    @classmethod
    def over(cls, pixels: UInt8[np.ndarray, "s s 3"]) -> "Canvas":
        """A canvas on which a picture lies already, and stays as it is where nothing is drawn."""
        found = cls(len(pixels))
        side = len(pixels) * found._fine
        found._image = Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST)
        found._draw = ImageDraw.Draw(found._image)
        return found

    def part(self, box: Box) -> "Canvas":
        """The canvas of a box of this one; what is drawn on it is drawn here."""
        found = object.__new__(Canvas)
        found.size, found._fine, found._image, found._draw = self.size, self._fine, self._image, self._draw
        x, y = self._at((box[0], box[1]))
        found._origin = (x, y)
        found._unit = ((box[2] - box[0]) * self._unit[0], (box[3] - box[1]) * self._unit[1])
        return found

    def square(self, box: Box = (0.0, 0.0, 1.0, 1.0)) -> "Canvas":
        """The canvas of the largest square in the middle of a box: what is drawn on it keeps its shape."""
        wide, high = (box[2] - box[0]) * self._unit[0], (box[3] - box[1]) * self._unit[1]
        side = min(wide, high)
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        dx, dy = 0.5 * side / self._unit[0], 0.5 * side / self._unit[1]
        return self.part((x - dx, y - dy, x + dx, y + dy))

    def _at(self, point: Place) -> tuple[float, float]:
        return (
            self._origin[0] + float(point[0]) * self._unit[0],
            self._origin[1] + float(point[1]) * self._unit[1],
        )

    def _long(self, length: float) -> float:
        return length * min(self._unit)

    def polygon(self, points: Places, fill: Ink | None, outline: Ink | None = None, width=0.02):
        """A filled polygon (n, 2), with an outline of a width where one is asked for."""
        corners = [self._at(p) for p in points]
        if fill is not None:
            self._draw.polygon(corners, fill=ink(fill))
        if outline is not None:
            self.line([*points, points[0]], outline, width)

    def box(self, box: Box, fill: Ink | None, outline: Ink | None = None, width: float = 0.02):
        """A rectangle."""
        x0, y0, x1, y1 = box
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill, outline, width)

    def disc(self, centre: Place, radius: float, fill: Ink | None, outline: Ink | None = None, width: float = 0.02):
        """A disc, or with an outline alone a circle, whose line lies about the radius."""
        x, y = self._at(centre)
        r, w = self._long(radius), max(1.0, self._long(width))
        if outline is not None:
            r += w / 2
            self._draw.ellipse(
                (x - r, y - r, x + r, y + r), fill=fill and ink(fill), outline=ink(outline), width=round(w)
            )
        else:
            self._draw.ellipse((x - r, y - r, x + r, y + r), fill=fill and ink(fill))

    def line(self, points: Places, colour: Ink, width: float = 0.02):
        """A line through points (n, 2), with round corners and ends."""
        w, at = max(1.0, self._long(width)), [self._at(p) for p in points]
        self._draw.line(at, fill=ink(colour), width=round(w), joint="curve")
        for x, y in (at[0], at[-1]):
            self._draw.ellipse((x - w / 2, y - w / 2, x + w / 2, y + w / 2), fill=ink(colour))

    def text(self, centre: Place, text: str, height: float, colour: Ink = "black"):
        """Letters about a centre, of a height (that of a capital) in units of the shorter side."""
        font = _font(max(4, round(self._long(height) * 1.38)))
        self._draw.text(self._at(centre), text, fill=ink(colour), font=font, anchor="mm")

    def pixels(self) -> UInt8[np.ndarray, "s s 3"]:
        """What is drawn."""
        small = self._image if self._fine == 1 else self._image.reduce(self._fine)
        return np.asarray(small).copy()
