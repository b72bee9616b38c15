"""What each guess of the finished video is: right, another answer, or nothing that can be read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vrjax.tasks.core import Clip, Task

Kind = Literal["right", "other", "unreadable"]
KINDS: tuple[Kind, ...] = ("right", "other", "unreadable")


@dataclass(frozen=True)
class Guess:
    """One guess: its kind, and what it shows in words (the name of an answer, say)."""

    kind: Kind
    words: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"guess: kind must be one of {', '.join(KINDS)}, found {self.kind!r}")


def judged(task: Task, clip: Clip, films: Any) -> tuple[tuple[Guess, ...], ...]:
    """The guesses of a clip's runs, (seed, step).

    "right" is what `task.solved` says, the one meaning of solved in the house; "other" shows one of the task's answers
    in the last frame, but not a right one in every frame that decides; a film that is not finite is unreadable.

    Args:
        task: its verifier.
        clip: what was asked.
        films: (seed, step, t, h, w, 3), in [-1, 1].
    """
    return tuple(tuple(_judged(task, clip, film) for film in run) for run in np.asarray(films))


def _judged(task: Task, clip: Clip, film: np.ndarray) -> Guess:
    if not np.isfinite(film).all():
        return Guess("unreadable", "not finite")
    answer = task.read(clip, film[-1])["answer"]
    if task.solved(clip, film):
        return Guess("right", answer or "")
    return Guess("unreadable") if answer is None else Guess("other", answer)


def ends(guesses: Sequence[Sequence[Guess]]) -> tuple[bool, ...]:
    """Whether each run's last guess is right."""
    return tuple(run[-1].kind == "right" for run in guesses)
