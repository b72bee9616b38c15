"""`vrjax preview FILE ...`: motions of any kind of file in one page, side by side under one clock."""

import argparse
import pathlib
from collections.abc import Sequence
from typing import Any

SUFFIXES = (".npy", ".npz", ".pt", ".pth", ".bvh")
FPS = 20  # of the page: files that say another rate are resampled


def run(args: argparse.Namespace) -> None:
    """Writes a page of the motions."""
    from vrjax.report import html

    paths = [pathlib.Path(name) for name in args.task]
    if odd := [str(path) for path in paths if path.suffix.lower() not in SUFFIXES]:
        raise ValueError(f"preview: {', '.join(odd)} among motion files, expected {', '.join(SUFFIXES)}")
    if args.split is not None or args.seeds is not None:
        raise ValueError("preview: --split and --seeds are of tasks, not of motion files")
    out = args.out or pathlib.Path("runs") / "preview" / f"{paths[0].stem}.html"
    if out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--out: {out}, expected a page, .html")
    together = body(paths, args.up_axis or 2)
    compare = "Motions, under one clock" if len(paths) > 1 else ""
    title = "Motions" if len(paths) > 1 else paths[0].name
    text = "Drag the body to turn it. It stands on a floor at the height of its lowest joint."
    if compare:
        text = "Drag a body to turn all of them. Each stands on its own floor, at its lowest joint."
    scrubber = html.Scrubber([together], title=title, text=text, compare=compare)
    print(f"{len(paths)} motions: {html.write(out, html.Page(title, scrubbers=[scrubber]))}")


def body(paths: Sequence[pathlib.Path], up_axis: int = 2) -> Any:
    """The motions of some files as a `report.parts.Body`: a seed each, named after its file, on its own floor.

    A motion that is over before the longest one stands still from there on.

    Args:
        paths: of the files.
        up_axis: of files that hold joints, 2 or 1; others say which way is up.

    Raises:
        FileNotFoundError, ValueError: a file that is not there, or does not hold one motion of 22 joints; names it.
    """
    import numpy as np

    from vrjax.report import parts, skeletons

    found = [joints(path, up_axis) for path in paths]
    found = [one - np.array([0, 0, skeletons.ground(one[None, None], None)], np.float32) for one in found]
    most = max(map(len, found))
    held = [np.concatenate([one, np.repeat(one[-1:], most - len(one), 0)]) for one in found]
    over = [
        f"{path.name} is over at frame {len(one)}" for path, one in zip(paths, found, strict=True) if len(one) < most
    ]
    names = [path.name for path in paths]
    return parts.Body(
        ", ".join(names), "", np.stack(held)[:, None], floor=0.0, fps=FPS, seeds=names, note="; ".join(over)
    )


def joints(path: pathlib.Path, up_axis: int = 2) -> Any:
    """Where the joints of a file's motion are: (T, 22, 3), metres, z up, 20 frames a second.

    Args:
        path: a BVH file with the joints' names of `vrjax.motion`; or an array of 22 x 3 joints, or of rows of a
            representation that is known by its width (276 and more: ViMoGen's; 263: HumanML3D's).
        up_axis: of an array of joints.

    Raises:
        FileNotFoundError, ValueError: as `body`.
    """
    import jax.numpy as jnp
    import numpy as np

    from vrjax import motion
    from vrjax.motion import axes, files, representations, resampling

    if path.suffix.lower() == ".bvh":
        found = motion.read_bvh(path)
        try:
            places, fps = motion.bvh.to_motion(found, fps=None).joints, found.fps
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return np.asarray(resampling.resample_joints(places, fps, FPS), np.float32)
    arrays = files.arrays(path, ("motion", "joints", *files.RATES))
    fps = files.rate(path, arrays, None) or FPS
    name = next((name for name in ("joints", "motion", "") if name in arrays), None)
    value = arrays[name] if name is not None else np.zeros(0)
    if value.ndim == 3 and value.shape[1:] == (22, 3) and len(value):
        places = files.finite(path, name or "joints", value)
        places = axes.z_up(places) if up_axis == 1 else places
        return np.asarray(resampling.resample_joints(places, fps, FPS), np.float32)
    kinds = {kind.WIDTH: kind for kind in map(representations.get, representations.names())}
    width = int(value.shape[-1]) if value.ndim == 2 and len(value) else 0
    # The public code takes the first 276 of what ViMoGen's files hold.
    width = max((known for known in kinds if known == width or known == 276 < width), default=None)
    if width is None:
        known = " or ".join(f"(frames, {each})" for each in sorted(kinds))
        raise ValueError(f"{path}: holds {name or 'an array'} {value.shape}, expected (frames, 22, 3) or {known}")
    rows = files.finite(path, name or "rows", value)[:, :width]
    return np.asarray(resampling.resample_joints(kinds[width].decode(jnp.asarray(rows)), fps, FPS), np.float32)
