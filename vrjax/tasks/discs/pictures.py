"""Discs as pixels, and their centres read back from pixels."""

import numpy as np


def render(path: np.ndarray, radius: float, size: int = 64, view: tuple[float, float] = (-0.3, 1.3)) -> np.ndarray:
    """Exact discs as pixels: (..., frames, size, size, 3) in [-1, 1] for (..., frames, bodies, 2) positions.

    Args:
        radius: of the discs, in box sides.
        size: pixels across. The picture shows `view` in both axes, row 0 at the top; the box is its inner square.
    """
    low, high = view
    pixel = (high - low) / size
    centre = low + (np.arange(size) + 0.5) * pixel
    x, y = centre[None, :], centre[::-1][:, None]
    inside = (np.abs(x - 0.5) <= 0.5) & (y >= 0.0)
    canvas = np.where(inside[..., None], 0.92, 0.72) * np.ones(3)
    colours = (np.array([0.05, 0.35, 0.75]), np.array([0.85, 0.35, 0.05]))
    out = np.broadcast_to(canvas, (*path.shape[:-2], size, size, 3)).copy()
    for body in range(path.shape[-2]):
        centre_x, centre_y = (path[..., body, k][..., None, None] for k in (0, 1))
        away = np.sqrt((x - centre_x) ** 2 + (y - centre_y) ** 2)
        cover = np.clip((radius - away) / pixel + 0.5, 0.0, 1.0)[..., None]  # the edge is one pixel soft
        out = out * (1 - cover) + colours[body] * cover
    return (2 * out - 1).astype(np.float32)


def centroids(video: np.ndarray, bodies: int, size: int = 64, view: tuple[float, float] = (-0.3, 1.3)) -> np.ndarray:
    """(..., frames, bodies, 2) positions read back from `render`'s pixels: centres of mass of each disc's colour.

    Exact to a fraction of a pixel where the discs do not cover each other; NaN where a disc is not in view.
    """
    low, high = view
    pixel = (high - low) / size
    centre = low + (np.arange(size) + 0.5) * pixel
    rgb = (np.asarray(video, np.float64) + 1) / 2
    chroma = rgb[..., 2] - rgb[..., 0]  # +0.7 in the first disc, -0.8 in the second, 0 on the grey ground
    out = []
    for weight in (np.clip(chroma, 0, None), np.clip(-chroma, 0, None))[:bodies]:
        total = weight.sum((-1, -2))
        with np.errstate(invalid="ignore", divide="ignore"):
            x = (weight * centre).sum((-1, -2)) / total
            y = (weight * centre[::-1][:, None]).sum((-1, -2)) / total
        out.append(np.stack([x, y], -1))
    return np.stack(out, -2)
