"""A page on a video that is still being made: it plays the frames that are there, and looks for the next one.

It needs no server: frames are pictures beside it, numbered from 0, and what is not there yet is asked for again.
"""

import html
import json
import os
import pathlib
from collections.abc import Sequence

from vrjax.files import writing

NAME = "live.html"
_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }}
body {{ max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.2rem; overflow-wrap: anywhere; }}
figure {{ margin: 1rem 0; }}
img {{ max-width: 100%; background: #8884; min-width: 8rem; min-height: 4rem; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p><button id="play" type="button" aria-pressed="true">pause</button></p>
{figures}
<noscript>The frames are in the folder frames/.</noscript>
</main>
<script>
const asked = {asked};
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
const button = document.getElementById("play");
let playing = !still;
const say = () => {{ button.textContent = playing ? "pause" : "play"; button.ariaPressed = playing; }};
button.onclick = () => {{ playing = !playing; say(); }};
say();
asked.seeds.forEach((seed) => {{
  const shown = document.getElementById("seed-" + seed), note = document.getElementById("note-" + seed);
  const frames = [];
  let at = 0;
  const seek = () => {{
    if (frames.length === asked.frames) return;
    const next = new Image();
    next.onload = () => {{
      frames.push(next.src);
      note.textContent = `seed ${{seed}}: ${{frames.length}} of ${{asked.frames}} frames`;
      seek();
    }};
    next.onerror = () => setTimeout(seek, 500);
    next.src = `frames/seed-${{seed}}/${{String(frames.length).padStart(5, "0")}}.png`;
  }};
  setInterval(() => {{ if (playing && frames.length) shown.src = frames[at++ % frames.length]; }}, 1000 / asked.fps);
  seek();
}});
</script>
</body>
</html>
"""


def write(
    folder: str | os.PathLike, title: str, seeds: Sequence[int], *, frames: int, fps: float | int
) -> pathlib.Path:
    """Writes the page of a run's folder.

    Args:
        folder: of the run; frames are looked for as `frames/seed-N/00000.png` in it.
        title: of the page, from whoever.
        seeds: whose videos there will be.
        frames: of each video in the end.
        fps: how fast they are played.
    """
    picture = '<img id="seed-{0}" alt="the video of seed {0}">'
    figure = f'<figure>{picture}<figcaption id="note-{{0}}">seed {{0}}</figcaption></figure>'
    asked = json.dumps({"seeds": [int(seed) for seed in seeds], "frames": int(frames), "fps": float(fps)})
    figures = "\n".join(figure.format(int(seed)) for seed in seeds)
    path = pathlib.Path(folder) / NAME
    writing.text(path, _PAGE.format(title=html.escape(title), figures=figures, asked=asked))
    return path


def frame(folder: str | os.PathLike, seed: int, number: int) -> pathlib.Path:
    """Where a frame lies."""
    return pathlib.Path(folder) / "frames" / f"seed-{seed}" / f"{number:05d}.png"
