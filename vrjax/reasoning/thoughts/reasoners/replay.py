"""A reasoner and imager that repeat a finished chain: visual thoughts from a folder, offline, with anybody's images.

for case, replay in folder("thoughts").items():
    thinking = think(replay.recorded.input_prompt, replay, replay)
"""

import os
from collections.abc import Sequence

import numpy as np

from vrjax.reasoning.thoughts import files as thought_files
from vrjax.reasoning.thoughts import keyframes
from vrjax.reasoning.thoughts.keyframes import FirstThought, NextThought, VisualThoughts


def folder(path: str | os.PathLike) -> dict[str, "Replay"]:
    """One replay per case of a folder with reasoning.json and keyframes. Raises as `thought_files.read` does."""
    return {case: Replay(thoughts) for case, thoughts in thought_files.read(path).items()}


class Replay:
    """Repeats one chain: both a `Reasoner` and an `Imager`.

    The next thought and frame are found by the number of frames so far. The imager draws the recorded frame whatever it
    is told, so that a wrapper may change captions without changing images.
    """

    def __init__(self, recorded: VisualThoughts):
        self.recorded = keyframes.check(recorded)

    def first(self, prompt: str) -> FirstThought:
        """Raises ValueError where the prompt is not the recorded one."""
        self._same(prompt)
        r = self.recorded
        return FirstThought(r.thoughts, r.consequences, r.context_frame, r.concise_prompt)

    def next(self, prompt: str, consequences: str, frames: Sequence[np.ndarray]) -> NextThought:
        """The caption of frame number `len(frames)`; raises ValueError for another prompt or past the end."""
        self._same(prompt)
        captions = self.recorded.captions
        if len(captions) == 1:
            return NextThought("", True)
        return NextThought(captions[self._index(frames)], len(frames) == len(captions) - 1)

    def generate(self, text: str) -> np.ndarray:
        return self.recorded.frames[0]

    def edit(self, frames: Sequence[np.ndarray], instruction: str) -> np.ndarray:
        return self.recorded.frames[self._index(frames)]

    def _same(self, prompt: str) -> None:
        if prompt != self.recorded.input_prompt:
            raise ValueError(f"replay: asked about {prompt!r}, but holds {self.recorded.input_prompt!r}")

    def _index(self, frames: Sequence[np.ndarray]) -> int:
        if not 1 <= len(frames) < len(self.recorded.frames):
            raise ValueError(f"replay: asked what follows {len(frames)} frames, holds {len(self.recorded.frames)}")
        return len(frames)


REASONER = IMAGER = Replay
