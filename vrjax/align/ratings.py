"""RealDPO's rating protocol for a multimodal judge: five questions a category, 0 to 10 each, parsed strictly.

Categories: visual alignment, text alignment, motion quality, human quality. A video's score in a category is twice the
sum of its five answers (0 ... 100), a model's the mean over videos. An answer that cannot be parsed is no zero: it is
reported, and its video is left out of the mean.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

QUESTIONS = 5
_NUMBER = re.compile(r"(?<![\w.,/-])(\d+(?:\.\d+)?)(?:\s*/\s*10)?(?![\w/]|[.,]\d)")


class Unparsed(NamedTuple):
    """An answer that is no rating."""

    video: str
    question: int
    answer: str
    why: str


class Score(NamedTuple):
    """A category's score over videos: mean (None where no video could be scored), how many counted, what did not."""

    mean: float | None
    videos: int
    unparsed: tuple[Unparsed, ...]


def parse(answer: str) -> float:
    """The one number from 0 to 10 in an answer such as "8", "Score: 8/10" or "I rate it 7.5.".

    Raises:
        ValueError: no number, several different ones, or one outside the range.
    """
    found = {float(match) for match in _NUMBER.findall(answer)}
    if len(found) != 1:
        raise ValueError("no number" if not found else f"several numbers {sorted(found)}")
    value = found.pop()
    if value > 10:
        raise ValueError(f"{value:g} is above 10")
    return value


def score(answers: Mapping[str, Sequence[str]]) -> Score:
    """A category's score from every video's five answers.

    Raises:
        ValueError: a video without exactly five answers.
    """
    totals: list[float] = []
    unparsed: list[Unparsed] = []
    for video, given in answers.items():
        if len(given) != QUESTIONS:
            raise ValueError(f"{video}: {len(given)} answers, expected {QUESTIONS}")
        values = []
        for number, answer in enumerate(given):
            try:
                values.append(parse(answer))
            except ValueError as error:
                unparsed.append(Unparsed(video, number, answer, str(error)))
        if len(values) == QUESTIONS:
            totals.append(2.0 * sum(values))
    return Score(sum(totals) / len(totals) if totals else None, len(totals), tuple(unparsed))
