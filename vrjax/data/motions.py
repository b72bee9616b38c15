"""Endless training data of procedural motions, made inside the compiled update: a batch on the host is its numbers.

    data = batches.pipeline(motions.Numbers(seed), batch=32)       # {"seed": (32,), "number": (32,)}, uint32
    batch = motions.make(Motions(), **next(data), text=(24, 96))

A motion is a function of seed and number alone. The device that trains on it performs, encodes and normalises it.
"""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Integer, PRNGKeyArray

from vrjax.flow import draws
from vrjax.models.embedded import captions
from vrjax.motion import program, reference, rep276
from vrjax.motion.program import scale, verbs

STREAM = 3  # of the run's seed; 0 to 2 are `vrjax.train.state`'s
WANDER = 1  # of a motion's key, beside its six


@dataclass(frozen=True, kw_only=True)
class Motions:
    """Which procedural motions (`vrjax.motion.program`) are trained on."""

    sets: tuple[str, ...] = ("S",)
    """Sets of scripts, each with an equal share."""
    rows: int = 60
    """Frames of a motion, at 20 a second."""
    shortest: int | None = None
    """Lengths are uniform from here to `rows`, and shorter motions are padded with zeros. None: all are `rows` long."""
    paraphrases: int = program.HELD_OUT
    """How many of the four paraphrases are used; the last one is meant for tests."""
    captions: Literal["short", "long"] = "short"
    """Captions of motions, or in the style of captions of videos."""
    corrupted: bool = True
    """References as a poor estimate would give them (`vrjax.motion.reference.corrupt`), or true ones."""
    told_by_text: tuple[float, ...] = ()
    """How often a motion's reference is withheld, a number for each of `sets`; () leaves it to `objective.drop_others`.
    ViMoGen: 0.8, and 0.4 for two of its sources."""
    noisy: tuple[str, ...] = ()
    """Those of `sets` that count as estimates from videos: where their reference is withheld, only the joints' own
    rotations (the first 126 channels) are learned."""
    wander: float = 0.0
    """Share of motions that wander at random (`vrjax.motion.program.wander`), beside those of `sets`. No words describe
    them: their text is zero and their reference is never withheld, so that `told_by_text` must say it of the others.
    Who has learned to follow them follows references of verbs that were never trained on."""

    def __post_init__(self):
        if not self.sets or not set(self.sets) <= set(program.SETS):
            raise ValueError(f"data.motions.sets: found {self.sets}, expected some of {', '.join(program.SETS)}")
        if not 1 <= (self.rows if self.shortest is None else self.shortest) <= self.rows:
            found = f"shortest {self.shortest} and rows {self.rows}"
            raise ValueError(f"data.motions: found {found}, expected 1 <= shortest <= rows")
        if not 1 <= self.paraphrases <= verbs.PARAPHRASES:
            found = self.paraphrases
            raise ValueError(f"data.motions.paraphrases: found {found}, expected 1 to {verbs.PARAPHRASES}")
        rates = self.told_by_text
        if rates and (len(rates) != len(self.sets) or not all(0 <= rate <= 1 for rate in rates)):
            expected = f"one of 0 to 1 for each of {', '.join(self.sets)}"
            raise ValueError(f"data.motions.told_by_text: found {rates}, expected {expected}")
        if not 0 <= self.wander <= 1:
            raise ValueError(f"data.motions.wander: found {self.wander}, expected a share, 0 to 1")
        if self.wander and not self.told_by_text:
            raise ValueError(f"data.motions.wander: found {self.wander} without told_by_text, expected both or neither")
        if not set(self.noisy) <= set(self.sets):
            raise ValueError(f"data.motions.noisy: found {self.noisy}, expected some of {', '.join(self.sets)}")

    @property
    def latent(self) -> tuple[int, int]:
        """Shape of one motion."""
        return self.rows, rep276.WIDTH

    @property
    def padded(self) -> bool:
        """Whether some motions are shorter than others."""
        return self.shortest is not None and self.shortest < self.rows


class Numbers:
    """Seed and numbers of motions as a source without end, for `batches.pipeline`."""

    def __init__(self, seed: int):
        self.seed = seed

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        return {name: np.asarray(x % 2**32, np.uint32) for name, x in (("seed", self.seed), ("number", i))}

    def __repr__(self) -> str:
        return f"motions({self.seed})"


def check(spec: Motions, text: tuple[int, ...]) -> None:
    """Raises ValueError where captions do not fit a text of this shape."""
    jax.eval_shape(lambda: _text(spec, program.draw(jax.random.key(0), spec.sets[0]), jnp.array(0), text))


def make(
    spec: Motions,
    seed: Integer[Array | np.ndarray, "*b"] | int,
    number: Integer[Array | np.ndarray, " b"],
    *,
    text: tuple[int, ...],
) -> dict[str, Array]:
    """The motions of a batch; jit-able.

    Args:
        spec: which.
        seed: of the run, one for all motions or one for each.
        number: of each motion.
        text: shape of a text, (rows, width); see `captions.rows`.

    Returns:
        `latent` (b, t, 276), normalised; `text` (b, rows, width); `reference` (b, t, 138); where motions are padded,
        `mask` (b, t), 1 in their frames and 0 in the padding, and `length` (b,); as `spec` says, `drop_others` (b,)
        and `channels_alone` (b, 276), see `vrjax.train.step`.

    Raises:
        ValueError: captions that do not fit `text`.
    """
    key = lambda seed, number: jax.random.fold_in(jax.random.fold_in(draws.key(seed), STREAM), number)
    each = lambda seed, number: one(spec, key(seed, number), text)
    return jax.vmap(each)(jnp.broadcast_to(jnp.asarray(seed, jnp.uint32), number.shape), number)


def one(spec: Motions, key: PRNGKeyArray, text: tuple[int, ...]) -> dict[str, Array]:
    """One motion, see `make`."""
    keys = jax.random.split(key, 6)
    scripts = [program.draw(keys[0], split) for split in spec.sets]
    which = jax.random.randint(keys[1], (), 0, len(scripts))
    script = jax.tree.map(lambda *parts: jnp.stack(parts)[which], *scripts)
    paraphrase = jax.random.randint(keys[2], (), 0, spec.paraphrases)
    least = spec.rows if spec.shortest is None else spec.shortest
    length = jax.random.randint(keys[3], (), least, spec.rows + 1)
    motion = program.perform(keys[4], script, spec.rows + 1, duration=length + 1 if spec.padded else None).motion
    words = _text(spec, script, paraphrase, text)
    wanders = jax.random.bernoulli(jax.random.fold_in(key, WANDER), spec.wander)
    if spec.wander:
        other = program.wander(keys[4], spec.rows + 1)
        motion = jax.tree.map(lambda a, b: jnp.where(wanders, a, b), other, motion)
        words = jnp.where(wanders, 0.0, words)
    valid = jnp.arange(spec.rows) < length
    latent = rep276.normalise(rep276.to_276(*motion), scale.load())
    latent = jnp.where(valid[:, None], latent, 0.0)
    shown = reference.reference(latent)
    if spec.corrupted:
        shown, _ = reference.corrupt(shown, valid, reference.draw(keys[5], spec.rows))
    made = {"latent": latent, "text": words, "reference": shown}
    if spec.padded:
        made |= {"mask": valid.astype(jnp.float32), "length": length}
    if spec.told_by_text:
        made["drop_others"] = jnp.where(wanders, 0.0, jnp.asarray(spec.told_by_text, jnp.float32)[which])
    if spec.noisy:
        noisy = jnp.asarray([name in spec.noisy for name in spec.sets])[which]
        made["channels_alone"] = jnp.where(noisy, np.arange(rep276.WIDTH) < rep276.BODY.stop, True).astype(jnp.float32)
    return made


def _text(spec: Motions, script: program.Script, paraphrase: Array, shape: tuple[int, ...]) -> Array:
    return captions.of_tokens(program.tokens(script, paraphrase, long=spec.captions == "long"), *shape)
