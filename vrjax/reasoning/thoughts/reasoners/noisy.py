"""Reasoners and imagers that err at a given rate: how much does a method lose as its visual thoughts get worse?

    noisy = NoisyReasoner(oracle, rate=0.25, seed=0, replace=decoys(oracle))     # plausible but wrong captions
    blind = NoisyImager(oracle, rate=0.25, seed=0, replace=frozen)               # right captions, nothing changes
    think(clip.prompt, noisy, blind)

Whether keyframe i of a prompt is corrupted follows from seed, prompt and i alone (SplitMix64): not from the order of
the calls, so runs repeat anywhere. The same uniform number is compared with every rate: what is wrong at a low rate
is wrong at every higher one, in the same way, so a curve over rates is not blurred by other draws.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from vrjax.reasoning.thoughts.keyframes import FirstThought, Imager, NextThought, Reasoner
from vrjax.tasks.core import Draws


@runtime_checkable
class _HasDecoys(Protocol):
    def decoys(self, position: int) -> tuple[str, ...]: ...


ReplaceText = Callable[[str, int, Draws], str]
ReplaceFrame = Callable[[np.ndarray, Sequence[np.ndarray], Draws], np.ndarray]

# ------------------------------------------------------------------------------------------------- what goes wrong


def scrambled(text: str, position: int, draws: Draws) -> str:
    """The caption's words in random order."""
    words = text.split()
    return " ".join(draws.sample(words, len(words)))


def other_text(pool: Sequence[str]) -> ReplaceText:
    """Another caption of the pool, for example of another scene; the caption itself where the pool has no other."""

    def replace(text: str, position: int, draws: Draws) -> str:
        others = [t for t in pool if t != text]
        return draws.choice(others) if others else text

    return replace


def decoys(oracle: _HasDecoys) -> ReplaceText:
    """What a wrong answer's film shows at the same keyframe (`Oracle.decoys`); the truth where all films agree."""
    return lambda text, position, draws: other_text(oracle.decoys(position))(text, position, draws)


def frozen(frame: np.ndarray, before: Sequence[np.ndarray], draws: Draws) -> np.ndarray:
    """Nothing happens: the frame before (the first frame is itself)."""
    return before[-1] if len(before) else frame


# ------------------------------------------------------------------------------------------------------- the wrappers


class NoisyReasoner:
    """A reasoner whose captions are wrong with probability `rate` each, the first frame's concise prompt included.

    Args:
        inner: answers; its `last` and everything but the captions passes through.
        rate: probability in [0, 1]; 0 changes nothing, bit for bit.
        seed: of the errors.
        replace: `(caption, keyframe, draws) -> caption`.
    """

    def __init__(self, inner: Reasoner, rate: float, seed: int, *, replace: ReplaceText = scrambled):
        self.inner, self.rate, self.seed, self.replace = inner, _rate(rate), seed, replace

    def first(self, prompt: str) -> FirstThought:
        thought = self.inner.first(prompt)
        return thought._replace(concise_prompt=self._caption(thought.concise_prompt, prompt, 0))

    def next(self, prompt: str, consequences: str, frames: Sequence[np.ndarray]) -> NextThought:
        edit, last = self.inner.next(prompt, consequences, frames)
        return NextThought(self._caption(edit, prompt, len(frames)) if edit.strip() else edit, last)

    def _caption(self, text: str, prompt: str, position: int) -> str:
        draws = Draws("noisy caption", self.seed, prompt, position)
        return self.replace(text, position, draws) if _errs(draws, self.rate) else text


class NoisyImager:
    """An imager whose frames are wrong with probability `rate` each, the first one included.

    Args:
        inner: draws.
        rate: probability in [0, 1]; 0 changes nothing, bit for bit.
        seed: of the errors; each prompt needs its own (an imager is not told the prompt), or all err at the same
            keyframes.
        replace: `(frame, frames before, draws) -> frame`.
    """

    def __init__(self, inner: Imager, rate: float, seed: int, *, replace: ReplaceFrame = frozen):
        self.inner, self.rate, self.seed, self.replace = inner, _rate(rate), seed, replace

    def generate(self, text: str) -> np.ndarray:
        return self._frame(self.inner.generate(text), ())

    def edit(self, frames: Sequence[np.ndarray], instruction: str) -> np.ndarray:
        return self._frame(self.inner.edit(frames, instruction), frames)

    def _frame(self, frame: np.ndarray, before: Sequence[np.ndarray]) -> np.ndarray:
        draws = Draws("noisy frame", self.seed, len(before))
        return self.replace(frame, before, draws) if _errs(draws, self.rate) else frame


def _rate(rate: float) -> float:
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"noise rate is {rate}, expected a probability in [0, 1]")
    return float(rate)


def _errs(draws: Draws, rate: float) -> bool:
    return draws.bits() < rate * 2.0**64


REASONER, IMAGER = NoisyReasoner, NoisyImager
