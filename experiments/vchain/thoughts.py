"""Visual thoughts of chains: by an oracle, a noisy oracle, a learned reasoner, or a folder in the paper's layout."""

import functools
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from vrjax.reasoning.thoughts import files as thought_files
from vrjax.reasoning.thoughts import pictures
from vrjax.reasoning.thoughts.keyframes import VisualThoughts, think
from vrjax.reasoning.thoughts.reasoners.learned import LearnedReasoner, NextState, fit
from vrjax.reasoning.thoughts.reasoners.noisy import NoisyReasoner, decoys
from vrjax.reasoning.thoughts.reasoners.oracle import Oracle
from vrjax.reasoning.thoughts.reasoners.replay import folder
from vrjax.tasks import Clip, Task
from vrjax.tasks.chains import rules, sprites, words

KEYFRAMES = words.ORDERS  # the paper's chains have three to six; one more sentence each


class Told:
    """Rows of state indices as captions and frames, for `LearnedReasoner`."""

    def parse(self, text: str) -> np.ndarray:
        """Raises ValueError for a word of no element."""
        return words.parse(text)

    def describe(self, row: np.ndarray) -> str:
        return words.caption(row)

    def read(self, frame: np.ndarray) -> np.ndarray:
        """Raises ValueError for a frame in which a cell shows no sprite."""
        row = sprites.decode(pictures.to_float(frame))
        if (row < 0).any():
            raise ValueError(f"keyframe: cells {np.flatnonzero(row < 0).tolist()} show no element")
        return row

    def draw(self, row: np.ndarray) -> np.ndarray:
        return pictures.to_uint8(sprites.render(row))


def describe(scenes: Task, clip: Clip, frame: np.ndarray) -> str:
    """A frame's caption, for `Oracle`."""
    return words.caption(sprites.decode(frame))


def oracle(scenes: rules.Chains, clip: Clip) -> Oracle:
    """Who knows the clip's film."""
    return Oracle(scenes, clip, keyframes=KEYFRAMES, describe=describe)


def noisy(scenes: rules.Chains, clip: Clip, rate: float, seed: int) -> VisualThoughts:
    """An oracle that tells, with probability `rate` for each keyframe, what a wrong rule's film shows there; the image
    is drawn as told."""
    knows = oracle(scenes, clip)
    wrapped = NoisyReasoner(knows, rate, seed, replace=decoys(knows))
    return think(clip.prompt, wrapped, knows, limit=KEYFRAMES - 1).thoughts


def learned(model: NextState, clip: Clip) -> VisualThoughts:
    """What the classifier expects of the clip's prompt."""
    reasoner = LearnedReasoner(model, Told(), keyframes=KEYFRAMES)
    return think(clip.prompt, reasoner, reasoner, limit=KEYFRAMES - 1).thoughts


def through_folder(chains: Sequence[VisualThoughts], path: str | os.PathLike) -> list[VisualThoughts]:
    """The chains after a round trip through the paper's files. The folder is written if it is not there.

    Raises:
        ValueError: the folder there holds other chains.
    """
    names = [f"scene{i:03d}" for i in range(len(chains))]
    if not pathlib.Path(path).exists():
        thought_files.write(path, dict(zip(names, chains, strict=True)))
    replays = folder(path)
    if list(replays) != names:
        raise ValueError(f"{path}: holds the cases {list(replays)[:3]}, ..., expected {names[:3]}, ...")
    back = []
    for name, chain in zip(names, chains, strict=True):
        replay = replays[name]
        thoughts = think(chain.input_prompt, replay, replay, limit=KEYFRAMES - 1).thoughts
        same = thoughts[:6] == chain[:6] and all(map(np.array_equal, thoughts.frames, chain.frames))
        if not same:
            raise ValueError(
                f"{path}: case {name!r} is not the chain of this study; delete the folder to write it anew"
            )
        back.append(thoughts)
    return back


def transitions(scenes: rules.Chains, n: int, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """n simulated (row, next row) pairs of scenes of all kinds, novel ones too: a reasoner has read of broken eggs.

    The scenes are those of the validation split from number `first` on; half of them show a novel kind changed.
    """
    before: list[np.ndarray] = []
    after: list[np.ndarray] = []
    seed = first
    while len(before) < n:
        layout = scenes.make(seed, "val").meta["layout"]
        film = scenes.film(layout, "true")[:, 0].astype(int)
        last = int(np.flatnonzero((film != film[-1]).any(1))[-1]) + 1
        before += list(film[: last + 1])  # at rest once: that nothing follows is to be learned too
        after += [*film[1 : last + 1], film[last]]
        seed += 1
    return np.array(before[:n]), np.array(after[:n])


@functools.lru_cache(maxsize=2)
def classifier(scenes: rules.Chains, *, n: int = 2000, steps: int = 600, seed: int = 0) -> NextState:
    """The learned reasoner's model, trained on n transitions; scenes far from those used for validation."""
    before, after = transitions(scenes, n, first=50_000)
    return fit(before, after, symbols=len(sprites.SYMBOLS), reach=2, steps=steps, seed=seed)
