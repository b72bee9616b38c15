"""A reasoner and imager that look the future up in a world's own simulator (`vrjax.tasks`): perfect visual thoughts.

    world = tasks.get("ball"); clip = world.make(3, "val")
    oracle = Oracle(world, clip, keyframes=4)
    think(clip.prompt, oracle, oracle)

The keyframes are frames of the film, the captions their states in words. The imager draws what it is *told*: told the
state of a wrong answer's film (`decoys`), it draws that one, so that an erring reasoner leads to wrong images too.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vrjax.reasoning.thoughts import pictures
from vrjax.reasoning.thoughts.keyframes import FirstThought, NextThought
from vrjax.tasks import Clip, Task


def state_words(state: Any) -> str:
    """A state (what `Task.read` says of a frame) in few words: `ball 3 4, tail 3 3`, `path RRD, not arrived`.

    Dictionaries become "name value" with commas between, sequences their items, truths the name alone or "not name";
    what is None is left out.
    """
    if isinstance(state, dict):
        parts = []
        for name, value in state.items():
            if isinstance(value, bool | np.bool_):
                parts.append(str(name) if value else f"not {name}")
            elif value is not None:
                parts.append(f"{name} {state_words(value)}".strip())
        return ", ".join(parts)
    if isinstance(state, Sequence | np.ndarray) and not isinstance(state, str):
        return " ".join(state_words(item) for item in state)
    return str(state)


def describe(world: Task, clip: Clip, frame: np.ndarray) -> str:
    """The default caption of a frame (h, w, 3) in [-1, 1]: the world's own entries of `read`, in words."""
    state = world.read(clip, frame)
    return state_words({k: v for k, v in state.items() if k not in ("raster", "answer", "right")})


class Oracle:
    """Knows one clip's film: both a `Reasoner` and an `Imager`, for that clip's prompt.

    Args:
        world, clip: from `vrjax.tasks`, or any world with its interface.
        keyframes: how many, spread evenly from the first frame to the one from which on nothing changes; fewer where
            the film has fewer different frames.
        instants: which frames instead, increasing, the first of them 0.
        describe: `(world, clip, frame) -> caption`.

    Raises:
        ValueError: a clip of another world, instants that do not fit, an empty caption.
    """

    def __init__(
        self,
        world: Task,
        clip: Clip,
        *,
        keyframes: int = 4,
        instants: Sequence[int] | None = None,
        describe: Callable[[Task, Clip, np.ndarray], str] = describe,
    ):
        films = [np.asarray(film) for film in world.candidates(clip, pad=False)]
        prior, right = world.prior(clip, pad=False), int(clip.meta["choice"])
        self.clip = clip
        self.instants = _instants(films[right], keyframes) if instants is None else _checked(instants, films[right])
        # The truth first: where two states read the same, the imager draws the true one.
        order = [right, *(i for i in range(len(films)) if i != right)]
        films, self._wrong = [films[i] for i in order], [not prior[i] > 0 for i in order]
        self._captions = [[describe(world, clip, film[i]) for i in self.instants] for film in films]
        if not all(text.strip() for text in self._captions[0]):
            raise ValueError(f"oracle: a keyframe of {clip.prompt!r} has an empty caption")
        self._frames = [[pictures.to_uint8(film[i]) for i in self.instants] for film in films]

    @property
    def captions(self) -> tuple[str, ...]:
        """The true captions, one per keyframe."""
        return tuple(self._captions[0])

    def decoys(self, position: int) -> tuple[str, ...]:
        """What wrong answers' films (prior 0) show at keyframe `position`, as far as it differs from the truth."""
        true = self._captions[0][position]
        wrong = (c[position] for c, is_wrong in zip(self._captions, self._wrong, strict=True) if is_wrong)
        return tuple(dict.fromkeys(text for text in wrong if text != true))

    def first(self, prompt: str) -> FirstThought:
        """Raises ValueError where the prompt is not the clip's."""
        self._same(prompt)
        captions = self._captions[0]
        return FirstThought("", "\n".join(captions[1:]), captions[0], captions[0])

    def next(self, prompt: str, consequences: str, frames: Sequence[np.ndarray]) -> NextThought:
        """The state after as many keyframes as there are; raises ValueError for another prompt or past the end."""
        self._same(prompt)
        if len(self.instants) == 1:
            return NextThought("", True)
        index = self._index(frames)
        return NextThought(self._captions[0][index], index == len(self.instants) - 1)

    def generate(self, text: str) -> np.ndarray:
        """The first frame, which a world's question gives: whatever the text."""
        return self._frames[0][0]

    def edit(self, frames: Sequence[np.ndarray], instruction: str) -> np.ndarray:
        """The frame whose caption is the instruction: at this keyframe if it occurs there, the truth before the wrong
        answers. An instruction that describes no keyframe of any film changes nothing: the last frame again."""
        index = self._index(frames)
        order = sorted(range(len(self.instants)), key=lambda i: (i != index, i))
        for position in order:
            for captions, images in zip(self._captions, self._frames, strict=True):
                if captions[position] == instruction:
                    return images[position]
        return frames[-1]

    def _same(self, prompt: str) -> None:
        if prompt != self.clip.prompt:
            raise ValueError(f"oracle: asked about {prompt!r}, but knows {self.clip.prompt!r}")

    def _index(self, frames: Sequence[np.ndarray]) -> int:
        if not 1 <= len(frames) < len(self.instants):
            raise ValueError(f"oracle: asked what follows {len(frames)} keyframes, knows {len(self.instants)}")
        return len(frames)


def _instants(film: np.ndarray, count: int) -> tuple[int, ...]:
    if count < 1:
        raise ValueError(f"oracle: keyframes is {count}, expected at least 1")
    moving = np.flatnonzero((film != film[-1]).any(axis=tuple(range(1, film.ndim))))
    rest = int(moving[-1]) + 1 if len(moving) else 0
    return tuple(sorted({int(i) for i in np.rint(np.linspace(0, rest, count))}))


def _checked(instants: Sequence[int], film: np.ndarray) -> tuple[int, ...]:
    given = tuple(int(i) for i in instants)
    if not given or given[0] != 0 or list(given) != sorted(set(given)) or given[-1] >= len(film):
        raise ValueError(f"oracle: instants {given}, expected increasing frames 0, ... below {len(film)}")
    return given


REASONER = IMAGER = Oracle
