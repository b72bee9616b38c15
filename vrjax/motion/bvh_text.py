"""The text of BVH files: a tree of joints with their channels in braces, then a row of numbers a frame."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

ORDER = "ZXY"  # of the rotations that are written: Blender's and most programs' own
_TIP = 0.1  # metres from a last joint to its tip, which the format wants
_MOST, _MOST_POSES = 500, 1 << 24  # joints of a file; joints times frames
_CHANNELS = tuple(f"{axis}{kind}" for kind in ("position", "rotation") for axis in "XYZ")


class Joint(NamedTuple):
    """A joint as a file has it: the number of its parent (-1: none), OFFSET in the file's unit, CHANNELS in order."""

    name: str
    parent: int
    offset: tuple[float, ...]
    channels: tuple[str, ...]


def parse(text: str) -> tuple[list[Joint], np.ndarray, float]:
    """The joints, the numbers of their channels (frames, channels), and the seconds of a frame."""
    parts = re.split(r"^[ \t]*MOTION[ \t]*\r?$", text, maxsplit=1, flags=re.MULTILINE | re.IGNORECASE)
    if len(parts) != 2 or not re.match(r"\s*HIERARCHY\b", parts[0], re.IGNORECASE):
        raise ValueError("not a BVH file, expected HIERARCHY, and MOTION on a line of its own")
    skeleton = _skeleton(parts[0].lstrip()[len("HIERARCHY") :])
    motion = re.match(r"\s*Frames:\s*(\d+)\s+Frame\s+Time:\s*(\S+)", parts[1], re.IGNORECASE)
    if motion is None:
        raise ValueError("expected Frames: and Frame Time: after MOTION")
    frames, seconds = int(motion[1][:9]), _float(motion[2])
    if not seconds > 0:
        raise ValueError(f"Frame Time: {motion[2]:.40}, expected seconds")
    words, width = parts[1][motion.end() :].split(), sum(len(joint.channels) for joint in skeleton)
    if frames * len(skeleton) > _MOST_POSES:
        raise ValueError(f"{frames} frames of {len(skeleton)} joints, expected at most {_MOST_POSES} of both")
    if not frames or len(words) != frames * width:
        raise ValueError(f"{len(words)} numbers, expected {frames} frames of {width} (torn?)")
    try:
        numbers = np.array(words, np.float64).reshape(frames, width)
    except ValueError as error:
        raise ValueError(f"motion: {error}") from None
    if not np.isfinite(numbers).all():
        frame, column = np.argwhere(~np.isfinite(numbers))[0]
        raise ValueError(f"number {column} of frame {frame} is {numbers[frame, column]}, expected finite numbers")
    return skeleton, numbers, seconds


def _skeleton(text: str) -> list[Joint]:
    """The joints of the part between HIERARCHY and MOTION."""
    joints: list[Joint] = []
    above: list[int] = []  # joints whose braces are open; an End Site is -2
    named: int | None = None  # whose brace comes next
    for line in re.sub(r"([{}])", r"\n\1\n", text).split("\n"):
        word, rest = [*line.split(None, 1), "", ""][:2]
        word, rest = word.upper(), rest.strip()
        if not word:
            continue
        current = above[-1] if above else None
        starts = word == "ROOT" and not joints or word == "JOINT" and current not in (None, -2)
        if starts and named is None:
            if not rest or len(joints) == _MOST:
                raise ValueError(f"{word} {rest:.40}: expected a name, and at most {_MOST} joints")
            named = len(joints)
            joints.append(Joint(rest, -1 if current is None else current, (), ()))
        elif word == "END" and named is None and current not in (None, -2):
            named = -2
        elif word == "{" and named is not None:
            above.append(named)
            named = None
        elif word == "}" and named is None and above:
            above.pop()
        elif word == "OFFSET" and named is None and current is not None:
            offset = tuple(map(_float, rest.split()))
            if len(offset) != 3:
                raise ValueError(f"OFFSET {rest:.40}, expected three numbers")
            if current != -2:
                joints[current] = joints[current]._replace(offset=offset)
        elif word == "CHANNELS" and named is None and current not in (None, -2):
            count, *channels = rest.split() or [""]
            channels = tuple(channel.capitalize() for channel in channels)
            if count != str(len(channels)) or not set(channels) <= set(_CHANNELS) or len(set(channels)) < len(channels):
                raise ValueError(f"CHANNELS {rest:.80}, expected their number and names out of {', '.join(_CHANNELS)}")
            joints[current] = joints[current]._replace(channels=channels)
        else:
            raise ValueError(f"{line.strip()!r:.40} in the hierarchy, where it has no place")
    if above or named is not None or not joints or any(not joint.offset for joint in joints):
        raise ValueError("the hierarchy is torn: a brace is open, or a joint has no OFFSET")
    if len({joint.name for joint in joints}) < len(joints):
        raise ValueError("two joints have one name")
    return joints


def _float(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise ValueError(f"{word!r:.40}, expected a number")
    return value


def unpack(skeleton: list[Joint], numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Local rotations (T, J, 3, 3) and places in the parents' frames (T, J, 3), in the file's unit.

    A position channel takes the place of its part of OFFSET, as Blender reads it.
    """
    turns = np.tile(np.eye(3), (len(numbers), len(skeleton), 1, 1))
    places = np.tile(np.array([joint.offset for joint in skeleton]), (len(numbers), 1, 1))
    column = 0
    for i, joint in enumerate(skeleton):
        for channel in joint.channels:
            axis, values = channel[0], numbers[:, column]
            if channel.endswith("position"):
                places[:, i, "XYZ".index(axis)] = values
            else:
                turns[:, i] = turns[:, i] @ Rotation.from_euler(axis, values[:, None], degrees=True).as_matrix()
            column += 1
    return turns, places


def describe(
    joint: int,
    indent: str,
    names: Sequence[str],
    parents: Sequence[int],
    offsets: np.ndarray,
    lines: list[str],
    order: list[int],
) -> None:
    """Adds the lines of a joint and of all below it, and their numbers in the order in which the file has them."""
    order.append(joint)
    inner, turns = indent + "  ", " ".join(f"{axis}rotation" for axis in ORDER)
    lines += [f"{indent}{'JOINT' if joint else 'ROOT'} {names[joint]}", indent + "{"]
    lines.append(f"{inner}OFFSET {row_text(offsets[joint] if joint else np.zeros(3))}")
    lines.append(f"{inner}CHANNELS " + (f"3 {turns}" if joint else f"6 Xposition Yposition Zposition {turns}"))
    children = [child for child, parent in enumerate(parents) if parent == joint]
    for child in children:
        describe(child, inner, names, parents, offsets, lines, order)
    if not children:
        length = np.linalg.norm(offsets[joint])
        tip = _TIP * offsets[joint] / length if length else np.array([0, _TIP, 0])
        lines += [f"{inner}End Site", inner + "{", f"{inner}  OFFSET {row_text(tip)}", inner + "}"]
    lines.append(indent + "}")


def row_text(row: np.ndarray) -> str:
    """Micrometres, and millionths of a degree."""
    return " ".join(f"{x:.6f}" for x in row)
