"""What the elements of a chain look like: one sprite of 8 x 8 pixels per element and level."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Float32, Integer

SIDE = 8  # pixels of a sprite's side

INKS = {
    ".": (0.875, 0.875, 0.75),  # wall behind everything
    "#": (-0.75, -0.75, -0.625),  # dark lines
    "=": (0.25, 0.125, 0.0),  # the table
    "r": (0.875, -0.625, -0.625),
    "o": (0.875, 0.125, -0.75),
    "y": (1.0, 0.75, -0.75),
    "g": (-0.625, 0.375, -0.625),
    "b": (-0.625, -0.25, 0.875),
    "c": (-0.375, 0.625, 0.875),
    "p": (0.5, -0.5, 0.75),
    "w": (1.0, 1.0, 1.0),
}

ART = {
    "ball held": "..####..|.rrrr#..|rrwrrr..|rrrrrr..|rrrrrr..|.rrrr...|........|========",
    "ball gone": "..####..|.#......|........|........|..rrrr..|.rwrrrr.|.rrrrrr.|==rrrr==",
    "domino standing": "...##...|..#oo#..|..#oo#..|..####..|..#oo#..|..#oo#..|...##...|========",
    "domino fallen": "........|........|........|........|.######.|#oo##oo#|#oo##oo#|.######.",
    "tap closed": ".####...|...#....|.######.|.#####.#|......##|........|........|========",
    "tap open": "#.......|##.#....|.######.|.#####.#|......##|......cc|.....ccc|====cccc",
    "cup empty": "........|#......#|#......#|#......#|#......#|#......#|.######.|========",
    "cup half": "........|#......#|#......#|#......#|#bbbbbb#|#bbbbbb#|.######.|========",
    "cup full": "..cccc..|#bbbbbb#|#bbbbbb#|#bbbbbb#|#bbbbbb#|#bbbbbb#|c######c|========",
    "lamp dark": "..####..|.#....#.|.#....#.|.#....#.|..#..#..|..####..|...##...|========",
    "lamp lit": "y.yyyy.y|.yywwyy.|yywwwwyy|yywwwwyy|.yywwyy.|y.####.y|...##...|========",
    "scale level": "........|pp....pp|########|...##...|...##...|...##...|..####..|========",
    "scale tipped": "......pp|....###.|.###....|pp.##...|...##...|...##...|..####..|========",
    "gap": "........|........|........|........|........|##....##|##....##|##....##",
    "egg whole": "........|...oo...|..owwo..|.oowooo.|.oooooo.|.oooooo.|..oooo..|========",
    "egg broken": "........|........|w..w...w|ww.ww.ww|.wyyyyw.|yyyooyyy|yyyooyyy|=yyyyyy=",
    "duck dry": "........|..yy....|oyy#....|..yy...y|..yyyyyy|..yyyyy.|...yyy..|========",
    "duck afloat": "..gg....|.yygg...|oy#y....|..yy.g.g|ccyyyygc|cccyyccc|bcbcbcbc|bbbbbbbb",
}
SYMBOLS = tuple(ART)  # order of all state indices
INDEX = {name: i for i, name in enumerate(SYMBOLS)}


def drawn(arts: Mapping[str, str]) -> Float32[np.ndarray, "n 8 8 3"]:
    """Pixels of sprites given as rows of inks, in order."""
    rows = [[[INKS[ink] for ink in line] for line in art.split("|")] for art in arts.values()]
    sprites = np.array(rows, np.float32)
    sprites.setflags(write=False)
    return sprites


TEMPLATES = drawn(ART)
REJECT = 0.2  # root mean square distance to the nearest sprite above which a cell shows nothing


def render(states: Integer[np.ndarray, "*lead cells"]) -> Float32[np.ndarray, "*lead 8 width 3"]:
    """State indices of a row of cells -> pixels in [-1, 1], `width` = 8 x cells."""
    tiles = np.moveaxis(TEMPLATES[states], -4, -3)  # cells beside the sprites' columns
    *lead, high, cells, wide, colours = tiles.shape
    return np.ascontiguousarray(tiles.reshape(*lead, high, cells * wide, colours))


def distances(video: Float[np.ndarray, "*lead 8 width 3"]) -> Float32[np.ndarray, "*lead cells symbols"]:
    """Root mean square distance of every cell to every sprite.

    Raises:
        ValueError: a canvas that is no row of cells, or values that are not finite.
    """
    video = np.asarray(video, np.float32)
    *lead, high, wide, colours = video.shape
    if high != SIDE or wide % SIDE or colours != 3:
        raise ValueError(f"video has shape {video.shape}, expected (..., {SIDE}, {SIDE} x cells, 3)")
    if not np.isfinite(video).all():
        raise ValueError("video holds values that are not finite, expected numbers in about [-1, 1]")
    cells = np.moveaxis(video.reshape(*lead, SIDE, wide // SIDE, SIDE, 3), -3, -4)
    flat, shapes = cells.reshape(*cells.shape[:-3], -1), TEMPLATES.reshape(len(TEMPLATES), -1)
    squared = (flat**2).sum(-1, keepdims=True) - 2 * flat @ shapes.T + (shapes**2).sum(-1)
    return np.sqrt(np.maximum(squared, 0) / flat.shape[-1])


def decode(video: Float[np.ndarray, "*lead 8 width 3"], reject: float = REJECT) -> Integer[np.ndarray, "*lead cells"]:
    """The state that each cell shows: the nearest sprite, or -1 (a ghost, a blur) beyond `reject`.

    `reject` lies below half the smallest distance between two sprites, so an equal mixture of two is none of them.
    """
    far = distances(video)
    nearest = far.argmin(-1)
    return np.where(np.take_along_axis(far, nearest[..., None], -1)[..., 0] <= reject, nearest, -1)
