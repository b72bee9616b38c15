"""A folder as RealDPO's authors publish it, for tests of what reads it."""

import pathlib

import numpy as np

from vrjax.data import mp4
from vrjax.files import pixels


def write(root, items):
    """Items are name, caption, winner and losers, videos (t, h, w, 3) in [-1, 1]."""
    root = pathlib.Path(root)
    for name, _, win, lose in items:
        mp4.write(root / "videos" / f"{name}.mp4", win, fps=8)
        first = root / "first_frames" / f"videos_{name}.png"
        first.parent.mkdir(parents=True, exist_ok=True)
        first.write_bytes(pixels.png(pixels.to_uint8(np.asarray(win)[0])))
        for k, video in enumerate(lose):
            mp4.write(root / "negative_samples" / name / f"{k}.mp4", video, fps=8)
    (root / "prompt.txt").write_text("".join(f"{prompt}\n" for _, prompt, *_ in items))
    (root / "video.txt").write_text("".join(f"videos/{name}.mp4\n" for name, *_ in items))
