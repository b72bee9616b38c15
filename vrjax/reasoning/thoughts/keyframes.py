"""VChain's visual thoughts (arXiv 2510.05094, stage 1): keyframes and captions that say how a scene goes on.

    reasoner, imager = ...                                     # oracle, folder, HTTP model, noisy wrapper
    thinking = think("A rubber duck falls into a tank", reasoner, imager)
    thinking.thoughts.frames, thinking.thoughts.captions       # what stage 2 (`thoughts.adapt`) tunes on
    thinking.thoughts.story                                    # what stage 3 gives the video model as prompt

A *reasoner* answers in words, an *imager* draws; both are stateless, so one pair may serve many prompts at once.
Reasoners: `reasoner_replay` (a folder of anybody's images), `reasoner_http` (an OpenAI-compatible server; off unless
you make one), `reasoner_oracle` (the worlds of `vrjax.tasks`), `reasoner_learned` (a small trained classifier),
`reasoner_noisy` (wrappers that err at a given rate). Files: `thought_files`. NumPy only.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from vrjax.reasoning.thoughts import pictures

LIMIT = 8  # next-frame calls; the paper's chains took 2.5 on average
MAX_TEXT = 20_000  # characters of one text: more is not a thought


def _line(self: Any) -> str:
    from vrjax.flow import words  # brings JAX, which prompts and pictures do without

    return words.line(self)


class FirstThought(NamedTuple):
    """What a reasoner says about a prompt before anything is drawn.

    Attributes:
        thoughts: its reasoning, free text, may be empty.
        consequences: what will change in appearance, shape, colour, size, position; a hint for every later call.
        context_frame: a rich description of the first frame, before any action: what the imager draws.
        concise_prompt: one sentence: the first frame's caption, because `context_frame` is too long for one.
    """

    thoughts: str
    consequences: str
    context_frame: str
    concise_prompt: str

    __repr__ = _line


class NextThought(NamedTuple):
    """The next keyframe in words, and whether it is the last one.

    `edit` says what to change in the frames so far; it is also the new frame's caption. It may be empty if `last`:
    then nothing significant follows and no frame is drawn.
    """

    edit: str
    last: bool

    __repr__ = _line


class VisualThoughts(NamedTuple):
    """A chain of n >= 1 keyframes with their texts; the fields but `frames` are those of the paper's reasoning.json.

    Attributes:
        key_frames: captions of the frames after the first, n - 1 of them.
        frames: uint8 (h, w, 3) each; sizes may differ.
    """

    input_prompt: str
    thoughts: str
    consequences: str
    context_frame: str
    concise_prompt: str
    key_frames: tuple[str, ...]
    frames: tuple[np.ndarray, ...]

    __repr__ = _line

    @property
    def captions(self) -> tuple[str, ...]:
        """One caption per frame."""
        return (self.concise_prompt, *self.key_frames)

    @property
    def story(self) -> str:
        """All captions in order as one prompt: "A duck sits. Then it falls. Then it floats." """
        sentences = [c.strip() for c in self.captions]
        return " Then ".join(c if c.endswith((".", "!", "?")) else c + "." for c in sentences)


class Thinking(NamedTuple):
    """The chain, and for people why it ended: `stopped` is "last" (the reasoner said so) or "limit"; `calls` counts
    the next-frame calls."""

    thoughts: VisualThoughts
    stopped: str
    calls: int

    __repr__ = _line


@runtime_checkable
class Reasoner(Protocol):
    """Says what is to be seen: first, and next."""

    def first(self, prompt: str) -> FirstThought:
        """How the scene begins and what will follow from it."""
        ...

    def next(self, prompt: str, consequences: str, frames: Sequence[np.ndarray]) -> NextThought:
        """The keyframe after `frames` (uint8 (h, w, 3), all so far, at least one)."""
        ...


@runtime_checkable
class Imager(Protocol):
    """Draws what a reasoner says, uint8 (h, w, 3)."""

    def generate(self, text: str) -> np.ndarray:
        """The first frame from its description."""
        ...

    def edit(self, frames: Sequence[np.ndarray], instruction: str) -> np.ndarray:
        """The frame after `frames`, with what the instruction changes."""
        ...


def think(prompt: str, reasoner: Reasoner, imager: Imager, *, limit: int = LIMIT) -> Thinking:
    """The paper's loop: describe and draw the first frame; then say, draw and append the next one until the last.

    Args:
        prompt: what happens, in one sentence.
        limit: most next-frame calls, so at most `limit + 1` frames. The paper has no cap; a reasoner that never says
            "last" would run (and cost) for ever. 0: the first frame only.

    Returns:
        See `Thinking`.

    Raises:
        ValueError: an empty prompt, a negative limit, or an answer that `check` refuses. What reasoner and imager raise
            passes through.
    """
    if limit < 0:
        raise ValueError(f"think: limit is {limit}, expected 0 or more next-frame calls")
    check_text(prompt, "prompt")
    first = reasoner.first(prompt)
    for name in ("consequences", "context_frame", "concise_prompt"):
        check_text(getattr(first, name), f"first thought: {name}", empty=name == "consequences")
    frames, edits, stopped, calls = [_drawn(imager.generate(first.context_frame), 0)], [], "limit", 0
    while calls < limit:
        edit, last = reasoner.next(prompt, first.consequences, tuple(frames))
        calls += 1
        check_text(edit, f"thought {calls}", empty=bool(last))
        if edit.strip():
            frames.append(_drawn(imager.edit(tuple(frames), edit), calls))
            edits.append(edit)
        if last:
            stopped = "last"
            break
    thoughts = VisualThoughts(
        prompt,
        first.thoughts,
        first.consequences,
        first.context_frame,
        first.concise_prompt,
        tuple(edits),
        tuple(frames),
    )
    return Thinking(check(thoughts), stopped, calls)


def check(thoughts: VisualThoughts, what: str = "visual thoughts") -> VisualThoughts:
    """The chain itself if it is whole.

    Raises:
        ValueError: no frame, not one caption for each frame, a frame that is not uint8 (h, w, 3), an empty prompt or
            caption, a text of more than `MAX_TEXT` characters or one that UTF-8 cannot hold.
    """
    for name in ("input_prompt", "thoughts", "consequences", "context_frame", "concise_prompt"):
        free = name in ("thoughts", "consequences", "context_frame")
        check_text(getattr(thoughts, name), f"{what}: {name}", empty=free)
    for i, text in enumerate(thoughts.key_frames, 1):
        check_text(text, f"{what}: caption of keyframe {i}")
    if len(thoughts.frames) != 1 + len(thoughts.key_frames):
        raise ValueError(
            f"{what}: {len(thoughts.frames)} frames for {len(thoughts.key_frames)} key_frames captions, "
            "expected one frame more (the first has the concise prompt)"
        )
    for i, frame in enumerate(thoughts.frames):
        pictures.check(frame, f"{what}: keyframe {i}")
    return thoughts


def check_text(text: object, what: str, *, empty: bool = False) -> str:
    """The text itself; ValueError that names `what` unless it is a string that a file can hold and, without `empty`,
    says something."""
    if not isinstance(text, str):
        raise ValueError(f"{what}: found {type(text).__name__}, expected a string")
    if not empty and not text.strip():
        raise ValueError(f"{what}: the text is empty")
    if len(text) > MAX_TEXT:
        raise ValueError(f"{what}: {len(text)} characters, expected at most {MAX_TEXT}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{what}: not a text that UTF-8 can hold ({error.reason})") from None
    return text


def _drawn(frame: np.ndarray, index: int) -> np.ndarray:
    return pictures.check(frame, f"the imager's keyframe {index}")
