"""Sampled motions, from ViMoGen's rows: what the viewer shows of them, and files that other programs open.

rows = trajectory.x0 * std + mean                            # (seed, step, T, 276), no longer normalised
body = bodies.of_rows("walk", prompt, rows, sigma=grid.sigmas[:-1], solved=solved)
html.write(folder, html.Page("Motion", scrubbers=[html.Scrubber([body])]))
bodies.write(folder, rows[:, -1])                            # seed-0.npy, seed-0.bvh, seed-1.npy, ...
"""

import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.motion import bvh, files, rep276
from vrjax.report.parts import Array, Body


def of_rows(
    name: str, prompt: str, rows: Array, *, truth: Array | None = None, path: str = "velocity", **more: Any
) -> Body:
    """The viewer's record of motions that are rows of 276 numbers a frame.

    Args:
        name, prompt: as in `Body`.
        rows: (seed, step, frame, 276), not normalised.
        truth: (frame, 276) or None, likewise.
        path: how joints are read where rows contradict themselves: "velocity", as ViMoGen and MBench do, or "position".
        more: the other fields of `Body`.

    Raises:
        ValueError: rows of another shape or with numbers that are not finite; as `Body` and `vrjax.motion.from_276`.
    """
    given = _rows(name, "rows", rows, 4)
    joints = _joints(given.reshape(-1, *given.shape[2:]), path).reshape(*given.shape[:3], 22, 3)
    beside = None if truth is None else _joints(_rows(name, "truth", truth, 2)[None], path)[0]
    return Body(name, prompt, joints, truth=beside, **more)


def write(folder: str | os.PathLike[str], rows: Array, labels: Sequence[str] | None = None) -> list[pathlib.Path]:
    """Each motion as NAME.npy, its rows, which `vrjax.motion.files.read` reads, and NAME.bvh, which Blender opens.

    Args:
        folder: made where it is not there.
        rows: (seed, frame, 276), not normalised.
        labels: a name each, of letters and digits, whatever else is in it becoming a dash; "seed-0", ... if left out.

    Returns:
        The files, motion by motion.

    Raises:
        ValueError: rows as in `of_rows`; another number of labels, or labels that do not give names that differ.
    """
    given, out = _rows("write", "rows", rows, 3), pathlib.Path(folder)
    labels = [f"seed-{i}" for i in range(len(given))] if labels is None else labels
    names = [re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-.") for label in labels]
    if len(names) != len(given) or len({name.lower() for name in names}) < len(names) or not all(names):
        raise ValueError(f"write: labels {list(labels)}, expected {len(given)} that differ")
    out.mkdir(parents=True, exist_ok=True)
    made = []
    for name, one in zip(names, given, strict=True):
        made += [out / f"{name}.npy", out / f"{name}.bvh"]
        files.write(made[-2], one)
        bvh.write_bvh(made[-1], rep276.from_276(jnp.asarray(one)))
    return made


def _joints(rows: np.ndarray, path: str) -> np.ndarray:
    """(motion, frame, 276) -> (motion, frame, 22, 3)."""
    return np.asarray(jax.jit(jax.vmap(lambda one: rep276.from_276(one, path=path).joints))(rows))


def _rows(where: str, name: str, given: Array, axes: int) -> np.ndarray:
    rows = np.asarray(given, np.float32)
    if rows.ndim != axes or rows.shape[-1] != rep276.WIDTH or not rows.size:
        expected = {4: "seed, step, frame", 3: "seed, frame", 2: "frame"}[axes]
        raise ValueError(f"{where}: {name} has shape {rows.shape}, expected ({expected}, {rep276.WIDTH})")
    if bad := int((~np.isfinite(rows)).sum()):
        raise ValueError(f"{where}: {bad} of {rows.size} values of {name} are not finite")
    return rows
