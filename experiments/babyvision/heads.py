"""Answers without drawing: a linear head on what a network makes of a question, before anything of an answer is there.

The network is asked once, at the highest noise level, and a block's tokens are read. The head is ridge regression onto
the answers that were seen, its penalty chosen on a fifth of them. Controls: the same head on the network before any
training, and on the question's pixels. Whether the head and the drawing agree, item by item, is told by Cohen's kappa.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.babyvision import drawings, names
from experiments.babyvision.config import BabyVision
from experiments.babyvision.drawings import Models
from vrjax import tasks
from vrjax.flow import draws
from vrjax.models import family
from vrjax.models.embedded import conditions
from vrjax.study.tables import Bench, Tables
from vrjax.tasks import Clip

PENALTIES = 10.0 ** np.arange(-3, 5)
"""Of ridge regression, over the mean square of the features."""
NOISY = 1000.0
"""The network's time at the highest level."""


def measure(study: BabyVision, here: Bench, seed: int, task: str, trained: Models) -> Tables:
    """The table of a seed and skill: `drawn right` (item,), whether the first drawing is right; and by arm (the
    specialist, `names.UNTRAINED`, `names.PIXELS`), all (item,): `<arm> answered`, whether the head on it answers
    rightly, and `<arm> same`, whether it says what is drawn."""

    def make() -> Tables:
        dit = trained.model(task)
        split = next(iter(names.LEVELS))
        seen, asked = drawings.made(task, "train", study.heads.seen), drawings.made(task, split, study.drawings.items)
        frames = drawings.drawn(here, study, dit, asked, f"seed {seed}, {task}: drawings", draws=1)[:, 0, -1]
        own: Any = tasks.get(task)
        shown = [
            own.read(clip, frame.astype(np.float32) / 127.5 - 1) for clip, frame in zip(asked, frames, strict=True)
        ]
        out: Tables = {"drawn right": np.array([one["right"] for one in shown])}
        for arm, look in features(study, here, dit, seed, task).items():
            said = answered(look(seen), [clip.answer for clip in seen], look(asked))
            out[f"{arm} answered"] = np.array([a == clip.answer for a, clip in zip(said, asked, strict=True)])
            out[f"{arm} same"] = np.array([a == one["answer"] for a, one in zip(said, shown, strict=True)])
        return out

    of = {"seed": seed, "task": task, "mark": trained.mark(task, names.SPECIALIST)}
    return here.part(names.part(seed, task, names.ANSWERED), make, of=of)


Look = Callable[[Sequence[Clip]], np.ndarray]


def features(study: BabyVision, here: Bench, dit: Any, seed: int, task: str) -> dict[str, Look]:
    """By arm what a head reads of clips, (clip, n)."""
    like = family.of(dit.cfg).init(dit.cfg, draws.key(seed))

    def inside(weights: Any, label: str) -> Look:
        return lambda clips: here.over(tokens(study.heads.block), weights, rows(clips, dit), f"{task}: {label}")

    def pixels(clips: Sequence[Clip]) -> np.ndarray:
        return np.stack([clip.first_frame.reshape(-1) for clip in clips])

    return {
        names.SPECIALIST: inside(dit, "specialist, read"),
        names.UNTRAINED: inside(like, "untrained, read"),
        names.PIXELS: pixels,
    }


def rows(clips: Sequence[Clip], dit: Any) -> dict[str, np.ndarray]:
    """What a network is given of clips."""
    given = [conditions.example(c, codec_factor=1, text_len=dit.cfg.text_len, text_dim=dit.cfg.text_dim) for c in clips]
    out = {name: np.stack([one[name] for one in given]) for name in ("image", "text")}
    shape = given[0]["latent"].shape
    return out | {"noise": np.stack([conditions.clip_noise(clip, shape, 0) for clip in clips])}


def tokens(block: int) -> Callable[[Any, Any], jax.Array]:
    """The program `(dit, row) -> (n,)` of a block's tokens."""
    site = f"block.{block}"

    def one(dit: Any, row: Any) -> jax.Array:
        found = dit(row["noise"], NOISY, row["text"], image=row["image"], taps={site: lambda h: h}).taps[site]
        return jnp.ravel(found)

    return one


def answered(seen: np.ndarray, answers: Sequence[str], asked: np.ndarray) -> list[str]:
    """What a head says of rows (m, n), fitted on others with their answers."""
    known = sorted(set(answers))
    wanted = np.array([[float(answer == one) for one in known] for answer in answers])
    mean, scale = seen.mean(0), seen.std() + 1e-9
    x, more = (np.asarray((a - mean) / scale, np.float64) for a in (seen, asked))
    cut = len(x) * 4 // 5
    off = [np.mean((ridge(x[:cut], wanted[:cut], x[cut:], p) - wanted[cut:]) ** 2) for p in PENALTIES]
    scores = ridge(x, wanted, more, PENALTIES[int(np.argmin(off))])
    return [known[int(i)] for i in scores.argmax(1)]


def ridge(x: np.ndarray, wanted: np.ndarray, more: np.ndarray, penalty: float) -> np.ndarray:
    """Ridge regression in its dual form: there are more features than rows."""
    gram, centre = x @ x.T, wanted.mean(0)
    weights = np.linalg.solve(gram + penalty * np.trace(gram) / len(gram) * np.eye(len(gram)), wanted - centre)
    return more @ x.T @ weights + centre
