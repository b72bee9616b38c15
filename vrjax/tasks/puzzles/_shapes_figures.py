"""Small filled figures, of which the same are used in several subtypes."""

from vrjax.tasks.puzzles.canvas import Canvas, Ink


def figure(canvas: Canvas, shape: str, middle: tuple[float, float], radius: float, colour: Ink) -> None:
    """A disc, square, diamond, triangle or plus of about the same size, about a middle."""
    x, y = middle
    if shape == "disc":
        canvas.disc(middle, radius, colour)
    elif shape == "diamond":
        canvas.polygon([(x - radius, y), (x, y - radius), (x + radius, y), (x, y + radius)], colour)
    elif shape == "triangle":
        wide, low = 1.05 * radius, y + 0.85 * radius
        canvas.polygon([(x, y - radius), (x + wide, low), (x - wide, low)], colour)
    elif shape in ("square", "plus"):
        for wide, high in [(0.87, 0.87)] if shape == "square" else [(1.0, 0.36), (0.36, 1.0)]:
            canvas.box((x - wide * radius, y - high * radius, x + wide * radius, y + high * radius), colour)
    else:
        raise ValueError(f"no figure is called {shape!r}, expected disc, square, diamond, triangle or plus")
