"""What a video of a chain shows: read element by element, then judged against the scene's own rule."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer

from vrjax.tasks.chains import rules, sprites


class Truth(NamedTuple):
    """A scene's kinds, its true film (t, cells) of state indices, who could not happen without whom, and where a novel
    kind has changed at the end (cells,)."""

    kinds: tuple[str, ...]
    film: np.ndarray
    ancestry: np.ndarray
    novel: np.ndarray


METRICS = (
    "primary",  # completion and no violation
    "completion",  # the last frame is the true one
    "no_violation",  # lawful in every frame
    "order",  # share of (cause, effect) pairs that happen, the cause first
    "order_all",  # whether all of them do
    "states",  # share of cells and frames that are right, one frame early or late allowed
    "appearance",  # share of changed novel elements that look right in the last frame; NaN without any
    "readable",  # share of cells and frames that show a sprite of the right kind
    "motion",  # cells that change from frame to frame, relative to the true film
    "distinct",  # different frames, relative to the true film
)


def truth(kinds: tuple[str, ...] | list[str], frames: int) -> Truth:
    """The scene as its rule unfolds it."""
    film = rules.unfold(kinds, frames)
    return Truth(tuple(kinds), film, rules.ancestry(kinds, frames), rules.novel(film)[-1])


def read(video: Float[np.ndarray, "t 8 width 3"], kinds: tuple[str, ...]) -> Integer[np.ndarray, "t cells"]:
    """State indices; -1 where a cell shows no sprite, or one of another kind than the scene has there."""
    states = sprites.decode(video)
    own = np.array([[rules.KIND[s] == kind for kind in kinds] for s in range(len(sprites.SYMBOLS))])
    return np.where((states >= 0) & own[states, np.arange(len(kinds))], states, -1)


def violates(states: Integer[np.ndarray, "t cells"], scene: Truth) -> bool:
    """Whether a film breaks the scene's rule anywhere: another first frame, a cell that shows nothing of its own, a
    change that goes back or skips a level, or an element that starts without its sources done a frame earlier.

    Happening late is no violation; never happening is none either (`completion` sees it).
    """
    if (states < 0).any() or not np.array_equal(states[0], scene.film[0]):
        return True
    for before, after in zip(states[:-1], states[1:], strict=True):
        for cell in np.flatnonzero(before != after):
            if after[cell] != before[cell] + 1:
                return True
            if rules.LEVEL[before[cell]] == 0 and not rules.may_start(before, int(cell)):
                return True
    return False


def order(states: Integer[np.ndarray, "t cells"], scene: Truth) -> float:
    """Share of the pairs (a, b), b impossible without a, in which a is done strictly before b first changes."""
    kinds = np.array([rules.symbol(kind, 0) for kind in scene.kinds])
    level = np.where(states >= 0, rules.LEVEL[states], -1)
    frames = len(states)

    def first(reached: np.ndarray) -> np.ndarray:
        return np.where(reached.any(0), reached.argmax(0), frames)

    done, moved = first(level == rules.LAST[kinds]), first(level > 0)
    pairs = np.argwhere(scene.ancestry)
    return float(np.mean([done[a] < moved[b] < frames for a, b in pairs])) if len(pairs) else 1.0


def score(video: Float[np.ndarray, "t 8 width 3"], scene: Truth) -> dict[str, float]:
    """All of `METRICS` for one video: 1.0 each for the true film, and 0.0 primary for one that stands still.

    Raises:
        ValueError: a video of another size, or with values that are not finite.
    """
    frames, cells = scene.film.shape
    expected = (frames, sprites.SIDE, cells * sprites.SIDE, 3)
    if np.shape(video) != expected:
        raise ValueError(f"score: video has shape {np.shape(video)}, expected {expected}")
    return of_states(read(np.asarray(video), scene.kinds), scene)


def of_states(states: Integer[np.ndarray, "t cells"], scene: Truth) -> dict[str, float]:
    """`score` of a film that has been read: state indices, -1 where a cell shows nothing of its own."""
    completion = bool(np.array_equal(states[-1], scene.film[-1]))
    lawful = not violates(states, scene)
    pairs = order(states, scene)
    padded = np.pad(scene.film, ((1, 1), (0, 0)), mode="edge")
    near = np.stack([padded[:-2], padded[1:-1], padded[2:]])
    changes = lambda film: (film[1:] != film[:-1]).sum()
    return {
        "primary": float(completion and lawful),
        "completion": float(completion),
        "no_violation": float(lawful),
        "order": pairs,
        "order_all": float(pairs == 1.0),
        "states": float((states == near).any(0).mean()),
        "appearance": float((states[-1] == scene.film[-1])[scene.novel].mean()) if scene.novel.any() else float("nan"),
        "readable": float((states >= 0).mean()),
        "motion": float(changes(states) / changes(scene.film)),
        "distinct": rules.distinct(states) / rules.distinct(scene.film),
    }


def table(
    videos: Float[np.ndarray, "scenes noises t 8 width 3"], scenes: list[Truth]
) -> dict[str, Float[np.ndarray, "scenes noises"]]:
    """`score` of many videos, by metric."""
    return _by_metric([[score(video, scene) for video in line] for line, scene in zip(videos, scenes, strict=True)])


def table_of_states(
    states: Integer[np.ndarray, "scenes noises t cells"], scenes: list[Truth]
) -> dict[str, Float[np.ndarray, "scenes noises"]]:
    """`of_states` of many films, by metric."""
    return _by_metric([[of_states(film, scene) for film in line] for line, scene in zip(states, scenes, strict=True)])


def _by_metric(rows: list[list[dict[str, float]]]) -> dict[str, np.ndarray]:
    return {name: np.array([[cell[name] for cell in line] for line in rows]) for name in METRICS}
