"""Made-up tables of the ViMoGen study, of which the answers are known."""

import numpy as np

from experiments.vimogen import names, reading
from experiments.vimogen.config import SETS, ViMoGen
from vrjax.motion import program

STUDY = ViMoGen(name="made_up", seeds=tuple(range(8)), items=40, clips=24, resamples=200)
SOLVED = {  # shares of S, C, distilled verbs and other verbs; those of T2M and M2M come from the films
    names.TRUTH: (1, 1, 1, 1),
    names.FROZEN: (0.1, 0, 0, 0),
    names.NEAREST: (0.9, 0.05, 0, 0),
    names.VIDEO: (0.7, 0.6, 0.5, 0.5),
    names.TRUE: (0.95, 0.8, 0.7, 0.7),
    names.UNTRAINED: (0, 0, 0, 0),
    names.CONTROL: (0.85, 0.35, 0, 0),
    names.STUDENT: (0.85, 0.4, 0.5, 0),
    names.LIFTED: (0.85, 0.6, 0, 0),
    names.SYNTHETIC: (0.85, 0.6, 0.3, 0.3),
}
SHAKES = {names.TRUTH: 0.02, names.FROZEN: 0.0, names.VIDEO: 0.05, names.M2M: 0.03}


def arm(name, solved, text, rng):
    """A table of an arm that solves these; the recogniser errs in three of a hundred."""
    sure = name in (names.TRUTH, names.UNTRAINED)
    seen = solved if sure else solved ^ (rng.random(len(solved)) < 0.03)
    metrics = np.zeros((len(solved), 5), np.float32)
    metrics[:, 0] = SHAKES.get(name, 0.021) + 0.001 * rng.random(len(solved))
    metrics[:, 1] = 0.0 if name == names.FROZEN else 0.07
    metrics[:, 2] = 0.5 * metrics[:, 0]
    off = 0.05 if name == names.TRUTH else 0.3 if solved.mean() > 0.3 else 2
    features = text + off * rng.normal(size=text.shape)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return {
        "rules": solved,
        "recogniser": seen,
        "parts": np.stack([seen] * 5, 1),
        "metrics": metrics,
        "match": (text * features).sum(1).astype(np.float32),
        "features": features.astype(np.float16),
    }


def made_up(study=STUDY, *, looks=1.0, known=0.85, led=0.05, distilled=None, seed=0):
    """Tables of all seeds of a study.

    Args:
        looks: how much of a film's cosine says whether it is right; the rest says which set it is of.
        known: share of S that T2M solves.
        led: how much worse M2M is than the film that leads it.
        distilled: what the student solves of distilled verbs.
    """
    kept = {}
    for number in study.seeds:
        rng = np.random.default_rng([seed, number])
        scripts = [np.stack(program.scripts(split), 1) for split in SETS]
        script = np.concatenate([rows[rng.integers(len(rows), size=study.items)] for rows in scripts])
        which = np.repeat(np.arange(3), study.items)
        shown = reading.taught(study, program.Script(*script.T))
        kind = np.where((which == 2) & ~shown, 3, which)  # S, C, distilled, others
        n = len(script)
        right = rng.random(n) < np.array([0.7, 0.7, 0.6, 0.6])[kind]  # the film
        cosine = looks * np.where(right, 0.8, 0.2) + (1 - looks) * np.where(rng.random(n) < 0.6, 0.8, 0.2)

        text = rng.normal(size=(n, 32))
        text /= np.linalg.norm(text, axis=1, keepdims=True)
        solved = {name: rng.random(n) < np.array(shares)[kind] for name, shares in SOLVED.items()}
        solved[names.T2M] = rng.random(n) < np.array([known, 0.35, 0, 0])[kind]
        solved[names.M2M] = right & (rng.random(n) >= led)
        solved[names.STUDENT] = np.where(kind == 0, solved[names.CONTROL], solved[names.STUDENT])
        if distilled is not None:
            solved[names.STUDENT] = np.where(kind == 2, rng.random(n) < distilled, solved[names.STUDENT])
        solved[names.TRUTH], solved[names.UNTRAINED] = np.ones(n, bool), np.zeros(n, bool)
        kept |= {names.part(number, name): arm(name, found, text, rng) for name, found in solved.items()}
        kept[names.part(number, names.ITEMS)] = {
            "script": script.astype(np.int8),
            "jitter": np.full(n, 0.03, np.float32),
            "cosine": cosine.astype(np.float32),
            "text features": text.astype(np.float16),
            "far student control": np.full(n, 0.1, np.float32),
        }
        clips = scripts[2][rng.integers(len(scripts[2]), size=study.clips)]
        good = rng.random(study.clips) < 0.7
        kept[names.part(number, names.CLIPS)] = {
            "rules": good,
            "recogniser": good,
            "chosen": rng.random(study.clips) < 0.5,
            "script": clips.astype(np.int8),
        }
        kept[names.part(number, names.TRAINING)] = {
            "teacher": np.ones(4, np.float32),
            "teacher seconds": np.float32([400 + number]),
        }
    return kept
