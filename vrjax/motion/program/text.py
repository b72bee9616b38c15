"""What a script says: captions by a grammar, and the same as word numbers inside compiled programs.

Four paraphrases each of subject, action, speed, count and upper action. `HELD_OUT`, the last, is for tests.
"""

import functools
import itertools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from vrjax.motion.program import verbs
from vrjax.motion.program.choreography import Script

HELD_OUT = verbs.PARAPHRASES - 1
_SUBJECT = ("a person", "someone", "a figure", "an actor")
_FILM = ("the video shows {} who", "in this clip {}", "we see {} who", "the camera follows {} who")
_END = (
    "in an empty room , seen from a camera that stands still",
    "on a plain floor in even light",
    "alone in a bare hall , the whole body in view",
    "before a plain wall , from head to feet",
)


def caption(script: Script, paraphrase: int = 0, *, long: bool = False) -> str:
    """The caption of one script (not traced), such as "a person walks forward slowly while waving the left hand".

    Args:
        script: what is done.
        paraphrase: 0 to 3.
        long: in the style of captions of videos.

    Raises:
        ValueError: no such paraphrase.
    """
    if not 0 <= paraphrase < verbs.PARAPHRASES:
        raise ValueError(f"caption: paraphrase must be 0 to {verbs.PARAPHRASES - 1}, found {paraphrase}")
    lower, side, speed, count, upper, upper_side = (int(x) for x in script)
    first = _first(lower, side, speed, count, paraphrase, long)
    second = _second(upper, upper_side, paraphrase, long)
    return f"{first} {second}".strip().replace(" ,", ",")


def vocabulary() -> tuple[str, ...]:
    """All words of all captions, sorted; the number of a word is its place here plus 1, and 0 is padding."""
    return _tables(False)[0]


def tokens(script: Script, paraphrase: Int[Array, ""] | int = 0, *, long: bool = False) -> Int[Array, " l"]:
    """The caption as numbers of words, padded with 0 at its end; jit- and vmap-able with static `long`.

    Args:
        script: what is done; may be traced.
        paraphrase: 0 to 3; may be traced.
        long: in the style of captions of videos.
    """
    _, first, second = _tables(long)
    a = jnp.asarray(first)[script.lower, script.side, script.speed, script.count - 1, paraphrase]
    b = jnp.asarray(second)[script.upper, script.upper_side, paraphrase]
    place, size = jnp.arange(a.size + b.size), jnp.sum(a > 0)
    padded = jnp.concatenate([a, jnp.zeros_like(b)])
    return jnp.where(place < size, padded, jnp.concatenate([b, jnp.zeros_like(a)])[jnp.maximum(place - size, 0)])


def _first(lower: int, side: int, speed: int, count: int, paraphrase: int, long: bool) -> str:
    row = verbs.LOWER[lower]
    subject = _FILM[paraphrase].format(_SUBJECT[paraphrase]) if long else _SUBJECT[paraphrase]
    words = [subject, row.words[paraphrase].format(side=verbs.SIDES[side])]
    if row.paced:
        words.append(list(verbs.SPEED_WORDS.values())[speed][paraphrase])
    if row.counted:
        words.append(verbs.COUNT_WORDS[count - 1][paraphrase])
    return " ".join(word for word in words if word)


def _second(upper: int, side: int, paraphrase: int, long: bool) -> str:
    words = []
    if upper:
        words += [verbs.WITH[paraphrase], verbs.UPPER[upper].words[paraphrase].format(side=verbs.SIDES[side])]
    return " ".join(words + [_END[paraphrase]] * long)


@functools.cache
def _tables(long: bool) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """The vocabulary of both styles, and the numbers of the first and second parts of captions in this one."""
    shapes = ((len(verbs.LOWER), 2, 3, 3, verbs.PARAPHRASES), (len(verbs.UPPER), 2, verbs.PARAPHRASES))
    first = lambda i, style: _first(i[0], i[1], i[2], i[3] + 1, i[4], style).split()
    second = lambda i, style: _second(i[0], i[1], i[2], style).split()
    texts = {
        (part, style): {i: make(i, style) for i in np.ndindex(*shape)}
        for (part, make, shape), style in itertools.product(
            ((0, first, shapes[0]), (1, second, shapes[1])), (False, True)
        )
    }
    words = tuple(sorted({word for table in texts.values() for text in table.values() for word in text}))
    number = {word: i + 1 for i, word in enumerate(words)}
    out = []
    for part, shape in enumerate(shapes):
        table = texts[part, long]
        numbers = np.zeros((*shape, max(map(len, table.values()))), np.int32)
        for i, text in table.items():
            numbers[i][: len(text)] = [number[word] for word in text]
        out.append(numbers)
    return words, *out
