"""Which scripts are trained on, and three sets to test with.

| set | what | held out |
| --- | --- | --- |
| S | scripts as in training, other performances | nothing |
| C | known actions in unknown compositions | pairs of lower and upper actions; one side of three actions |
| V | verbs that no training script has | kick, jumping_jack, throw |
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from vrjax.files import named
from vrjax.motion.program import verbs
from vrjax.motion.program.choreography import Performance, Script, perform

SETS = ("S", "C", "V")
UNSEEN_VERBS = ("kick", "jumping_jack", "throw")
UNSEEN_SIDES = (("circle", "right"), ("sidestep", "right"), ("bend", "left"))


def set_of(script: Script) -> str:
    """The set, "S", "C" or "V", to which one script (not traced) belongs."""
    lower, upper = verbs.LOWER[int(script.lower)], verbs.UPPER[int(script.upper)]
    if lower.name in UNSEEN_VERBS or upper.name in UNSEEN_VERBS:
        return "V"
    side = lower.sided and (lower.name, verbs.SIDES[int(script.side)]) in UNSEEN_SIDES
    # Every fifth pair, so that each action is seen, and in several pairs.
    pair = script.lower > 0 and script.upper > 0 and (script.lower + 2 * script.upper) % 5 == 0
    return "C" if side or pair else "S"


@functools.cache
def scripts(split: str) -> Script:
    """All scripts of a set that differ in what they say, as arrays of one length.

    Raises:
        ValueError: no set of that name.
    """
    if split not in SETS:
        raise ValueError(named.unknown("set of scripts", split, SETS))
    rows = []
    for i, lower in enumerate(verbs.LOWER):
        for j, upper in enumerate(verbs.UPPER):
            if lower.apart and j:
                continue  # its arms are taken
            sides = range(2 if lower.sided else 1)
            speeds = range(3) if lower.paced else (1,)
            counts = range(1, 4 if lower.counted else 2)
            for side, speed, count, hand in np.ndindex(len(sides), len(speeds), len(counts), 2 if upper.sided else 1):
                row = (i, side, speeds[speed], counts[count], j, hand)
                if set_of(Script(*(np.asarray(x, np.int32) for x in row))) == split:
                    rows.append(row)
    return Script(*np.array(rows, np.int32).T)


@functools.cache
def _chances(split: str) -> np.ndarray:
    """The distribution function over `scripts(split)` that gives every pair of actions an equal chance."""
    all_of = scripts(split)
    pairs = all_of.lower * len(verbs.UPPER) + all_of.upper
    _, which, sizes = np.unique(pairs, return_inverse=True, return_counts=True)
    return np.cumsum(1 / sizes[which] / len(sizes)).astype(np.float32)


def draw(key: PRNGKeyArray, split: str = "S") -> Script:
    """A random script of a set, all pairs of actions equally likely; jit- and vmap-able with static `split`.

    Raises:
        ValueError: no set of that name.
    """
    all_of, chances = scripts(split), jnp.asarray(_chances(split))
    row = jnp.searchsorted(chances, jax.random.uniform(key) * chances[-1], side="right")
    return Script(*(jnp.asarray(column)[jnp.minimum(row, len(chances) - 1)] for column in all_of))


def sample(key: PRNGKeyArray, split: str = "S", frames: int = 60) -> tuple[Script, Performance]:
    """A random script of a set and a performance of it: endless data, jit- and vmap-able with static options.

    Raises:
        ValueError: as `draw` and `perform`.
    """
    what, how = jax.random.split(key)
    drawn = draw(what, split)
    return drawn, perform(how, drawn, frames)


def script(
    lower: str,
    *,
    side: str = "left",
    speed: str = "normal",
    count: int = 1,
    upper: str = "none",
    upper_side: str = "left",
) -> Script:
    """A script by its words.

    Raises:
        ValueError: a word that is not known, or a count beyond 1 to 3.
    """
    if count not in (1, 2, 3):
        raise ValueError(f"script: count must be 1, 2 or 3, found {count}")
    found = (
        _index("action", lower, [row.name for row in verbs.LOWER]),
        _index("side", side, verbs.SIDES),
        _index("speed", speed, list(verbs.SPEEDS)),
        count,
        _index("upper action", upper, [row.name for row in verbs.UPPER]),
        _index("side", upper_side, verbs.SIDES),
    )
    return Script(*(np.asarray(x, np.int32) for x in found))


def _index(what: str, word: str, known: Sequence[str]) -> int:
    if word not in known:
        raise ValueError(f"script: {named.unknown(what, word, known)}")
    return known.index(word)
