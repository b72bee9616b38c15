"""Bodies of 22 joints as pages and figures draw them: the floor, the feet on it, the view, still pictures.

NumPy and Pillow: the page's script (`templates/body.js`) draws the same view with the same formulas. Metres, z up.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from vrjax.report.plots import Number

LOW, NEARLY = 0.02, 0.05  # m over the floor
SLIDES = 0.2  # m/s
TOES, HEAD = (10, 11), 15
AZIMUTH, ELEVATION = 35.0, 12.0  # degrees: from before the body, a little to its left and from above
AWAY = 5.0  # radii from the centre to the eye
NEAR = 1.05  # m: radius of a view of one body that stands
MIDDLE = 0.9  # m: the centre of that view over the floor
INKS = {"left": "#0a5fb4", "right": "#b0307a", "centre": "#14202e"}
GROUND, GRID = "#e4e8ed", "#c3cbd4"
FINER = 3  # a picture is drawn so many times larger and then made smaller: smooth lines


class View(NamedTuple):
    """Where the eye is: on a sphere around `centre` (3,), of which a ball of `radius` metres fills the picture.

    Azimuth 0 looks at a body's face (from +y), 90 at its right side (from +x); elevation 90 looks down. Degrees.
    """

    centre: np.ndarray
    radius: Number
    azimuth: Number = AZIMUTH
    elevation: Number = ELEVATION


def ground(joints: np.ndarray, truth: np.ndarray | None) -> float:
    """Height of the floor: the truth's lowest joint, or else the median over frames of the lowest at the last step.

    Args:
        joints: (seed, step, frame, 22, 3), in metres.
        truth: (frame, 22, 3) or None.
    """
    return float(np.median(joints[:, -1, ..., 2].min(-1)) if truth is None else truth[..., 2].min())


def standing(joints: np.ndarray, floor: Number, fps: Number) -> np.ndarray:
    """Whether the left and the right foot stand: the toe is less than 2 cm over the floor, or less than 5 cm and slower
    than 0.2 m/s. A foot in the air passes low over the floor, but fast.

    Args:
        joints: (..., frame, 22, 3), in metres.
        floor: its height.
        fps: frames a second.

    Returns:
        bool (..., frame, 2).
    """
    height = joints[..., TOES, 2] - floor
    return (height < LOW) | ((height < NEARLY) & (_speed(joints, fps) <= SLIDES))


def _speed(joints: np.ndarray, fps: Number) -> np.ndarray:
    """(..., frame, 2): of each toe to the next frame, in metres a second; at the last frame from the one before."""
    toes = joints[..., TOES, :]
    last = toes[..., -1:, :, :]
    moved = np.diff(toes, axis=-3, append=2 * last - toes[..., -2:-1, :, :] if toes.shape[-3] > 1 else last)
    return np.linalg.norm(moved, axis=-1) * fps


def feet(joints: np.ndarray, contacts: np.ndarray, fps: Number) -> np.ndarray:
    """What each foot does: 0 in the air, 1 stands, 2 slides, faster than 0.2 m/s to a frame in which it stands too.

    Args:
        joints: (..., frame, 22, 3), in metres.
        contacts: (..., frame, 2).
        fps: frames a second.

    Returns:
        uint8 (..., frame, 2).
    """
    out = contacts.astype(np.uint8)
    out[..., :-1, :] += (_speed(joints, fps) > SLIDES)[..., :-1, :] & contacts[..., :-1, :] & contacts[..., 1:, :]
    return out


def whole(joints: np.ndarray, floor: Number) -> View:
    """The view that holds all of (..., 22, 3) and the floor under it."""
    points = joints.reshape(-1, 3)
    low, high = points.min(0), points.max(0)
    low[2] = min(low[2], floor)
    return View((low + high) / 2, max(NEAR, 0.55 * float(np.linalg.norm(high - low))))


def near(pose: np.ndarray, floor: Number) -> View:
    """The view of one pose (22, 3), over the place where its pelvis is."""
    return View(np.array([pose[0, 0], pose[0, 1], floor + MIDDLE]), NEAR)


def project(points: np.ndarray, view: View, width: Number, height: Number) -> np.ndarray:
    """(..., 3) in metres -> (..., 2) in pixels, x to the right and y down; NaN for what is not before the eye."""
    a, e = np.radians([view.azimuth, view.elevation])
    ahead = -np.array([np.sin(a) * np.cos(e), np.cos(a) * np.cos(e), np.sin(e)])
    right = np.array([-np.cos(a), np.sin(a), 0.0])
    offset = points - view.centre
    away = AWAY * view.radius
    depth = away + offset @ ahead
    scale = min(width, height) / (2 * view.radius) * away / np.where(depth > 0.1 * away, depth, np.nan)
    return np.stack([width / 2 + scale * (offset @ right), height / 2 - scale * (offset @ np.cross(right, ahead))], -1)


def bones() -> tuple[tuple[int, int, str], ...]:
    """(joint, its parent, "left" | "right" | "centre") of the 21 bones."""
    from vrjax.motion.kinematics import JOINTS, PARENTS  # it brings JAX, which no other page needs

    side = lambda name: name.split("_")[0] if "_" in name else "centre"
    return tuple((joint, PARENTS[joint], side(JOINTS[joint])) for joint in range(1, len(PARENTS)))


def pictures(joints: np.ndarray, floor: Number, size: int = 96) -> np.ndarray:
    """Still pictures of bodies, each seen from near: left limbs blue, right ones red, a square metre of floor below.

    Args:
        joints: (..., 22, 3), in metres.
        floor: its height.
        size: sides in pixels.

    Returns:
        uint8 (..., size, size, 3).
    """
    tree = bones()
    drawn = np.stack([_picture(pose, floor, size, tree) for pose in joints.reshape(-1, 22, 3)])
    return drawn.reshape(*joints.shape[:-2], size, size, 3)


def _picture(pose: np.ndarray, floor: Number, size: int, tree: tuple[tuple[int, int, str], ...]) -> np.ndarray:
    large = FINER * size
    view = near(pose, floor)
    image = Image.new("RGB", (large, large), GROUND)
    pen = ImageDraw.Draw(image)
    x, y = view.centre[:2]
    corners = np.array([[x + a, y + b, floor] for a, b in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))])
    square = [tuple(corner) for corner in project(corners, view, large, large)]
    pen.line([*square, square[0]], GRID, FINER)
    places = project(pose, view, large, large)
    thick = max(FINER, round(0.028 * large))
    for joint, parent, side in tree:
        ends = places[[parent, joint]]
        if np.isfinite(ends).all() and np.abs(ends).max() < 100 * large:
            pen.line([tuple(end) for end in ends], INKS[side], thick)
            for u, v in ends:
                pen.ellipse([u - thick / 2, v - thick / 2, u + thick / 2, v + thick / 2], INKS[side])
    (u, v), wide = places[HEAD], 0.085 * large / (2 * NEAR)
    if np.isfinite(u + v) and abs(u) + abs(v) < 100 * large:
        pen.ellipse([u - wide, v - wide, u + wide, v + wide], INKS["centre"])
    return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS))
