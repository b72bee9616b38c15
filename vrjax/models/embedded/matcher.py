"""A network that puts captions and motions of `vrjax.motion.program` into one space, near where they belong together.

    match = matcher.load()                                    # the weights that come with the package
    match.texts(["a person walks forward slowly"])            # (1, 32)
    match.motions(joints)                                     # (n, t, 22, 3), metres, z up, 20 a second -> (n, 32)

It stands in HumanML3D's protocol (`vrjax.bench.humanml3d`) where text_mot_match stands in papers, and is not that
network: it knows one body and the program's words, and its features have length one, so that no distance is above 2.
Numbers of the two cannot be compared. It is trained by `python -m experiments.vimogen.evaluator`, on all three sets.
"""

import os
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from vrjax.files import leaves
from vrjax.models.embedded import captions, shipped
from vrjax.motion import axes, rep263
from vrjax.motion.rotations import unit

NAME = "program-matcher"
FOLDER, FILE = shipped.FOLDER / "matcher", "matcher.safetensors"
TEXT = (24, 96)  # of a caption: rows and their width
WIDTH, FEATURES = 128, 32
COLUMNS = 133  # of HumanML3D's 263: without rotations, which follow from positions, and contacts
GROUP = 64  # motions at a time


class Matcher(nnx.Module):
    """Two encoders: of words, and of frames, three times three of them into one; mean and maximum, and two layers.

    Attributes:
        name: of this evaluator; see `vrjax.bench.humanml3d.Evaluator`.
    """

    name = NAME

    def __init__(self, rngs: nnx.Rngs):
        self.words = nnx.Linear(TEXT[1], WIDTH, rngs=rngs)
        self.of_words = nnx.List([nnx.Linear(2 * WIDTH, WIDTH, rngs=rngs), nnx.Linear(WIDTH, FEATURES, rngs=rngs)])
        self.frames = nnx.Linear(COLUMNS, WIDTH, rngs=rngs)
        self.over_time = nnx.List([nnx.Linear(3 * WIDTH, WIDTH, rngs=rngs) for _ in range(3)])
        self.of_frames = nnx.List([nnx.Linear(2 * WIDTH, WIDTH, rngs=rngs), nnx.Linear(WIDTH, FEATURES, rngs=rngs)])

    def text(self, rows: Float[Array, "l d"]) -> Float[Array, " 32"]:
        """Features of one caption, given as `captions.rows(caption, *TEXT)`; of length one."""
        there = jnp.any(rows != 0, -1, keepdims=True)
        h = jnp.where(there, jax.nn.gelu(self.words(rows)), 0.0)
        return self._end(self.of_words, h.sum(0) / jnp.maximum(there.sum(), 1), h.max(0))

    def motion(self, joints: Float[Array, "t j xyz"]) -> Float[Array, " 32"]:
        """Features of one motion (t, 22, 3), in metres, z up, 20 frames a second; of length one. Where it is drawn and
        where it faces does not matter."""
        h = jax.nn.gelu(self.frames(columns(joints)))
        for layer in self.over_time:
            padded = jnp.pad(h, ((1, 1), (0, 0)), "edge")  # a convolution
            h = jax.nn.gelu(layer(jnp.concatenate([padded[:-2], padded[1:-1], padded[2:]], -1)[::2]))
        return self._end(self.of_frames, h.mean(0), h.max(0))

    def texts(self, said: Sequence[str]) -> Float[np.ndarray, "n 32"]:
        """Features of captions.

        Raises:
            ValueError: a caption of more than 24 words; none at all.
        """
        if not said:
            raise ValueError("texts: expected captions, found none")
        return np.asarray(_texts(self, np.stack([captions.rows(each, *TEXT) for each in said])))

    def motions(self, joints: Float[Array | np.ndarray, "n t j xyz"]) -> Float[np.ndarray, "n 32"]:
        """Features of motions (n, t, 22, 3) of one number of frames; it was trained on 60.

        Rows of HumanML3D's 263 numbers become such joints by `axes.z_up(motion.from_263(rows))`.

        Raises:
            ValueError: another number of joints, or fewer than two frames.
        """
        joints, found = np.asarray(joints, np.float32), []
        for start in range(0, len(joints), GROUP):
            group = joints[start : start + GROUP]
            padded = np.concatenate([group, np.repeat(group[:1], GROUP - len(group), 0)])  # one program for any number
            found.append(np.asarray(_motions(self, padded))[: len(group)])
        return np.concatenate([np.zeros((0, FEATURES), np.float32), *found])

    @staticmethod
    def _end(layers: nnx.List, mean: Array, most: Array) -> Array:
        inner, out = layers
        return unit(out(jax.nn.gelu(inner(jnp.concatenate([mean, most])))))


@jax.jit
def _texts(match: Matcher, rows: Float[Array, "n l d"]) -> Float[Array, "n 32"]:
    return jax.vmap(match.text)(rows)


@jax.jit
def _motions(match: Matcher, joints: Float[Array, "n t j xyz"]) -> Float[Array, "n 32"]:
    return jax.vmap(match.motion)(joints)


def columns(joints: Float[Array, "t j xyz"]) -> Float[Array, "s 133"]:
    """What the network sees of a motion: HumanML3D's root, positions and velocities (`rep263`), a row less than frames;
    ways to the next frame count tenfold, so that all numbers are of one size."""
    rows = rep263.to_263(axes.y_up(joints), unwrap=True)
    return jnp.concatenate([10 * rows[:, :3], rows[:, 3:67], 10 * rows[:, 193:259]], -1)


# ---------------------------------------------------------------------------------------------------------------- files


def save(match: Matcher, folder: str | os.PathLike, about: dict[str, str]) -> None:
    """Writes `matcher.safetensors` into a folder, in half precision.

    Args:
        match: trained.
        folder: made where it is missing.
        about: how it was made; kept in the file's header.
    """
    os.makedirs(folder, exist_ok=True)
    leaves.write(os.path.join(folder, FILE), match, {"name": NAME} | about, dtype=np.float16)


def load(folder: str | os.PathLike = FOLDER) -> Matcher:
    """A matcher that `save` has written, in float32; by default the one that comes with the package.

    Raises:
        FileNotFoundError: none there. ValueError: a torn file, or one of other tensors; names the file.
    """
    return leaves.read(os.path.join(folder, FILE), lambda: Matcher(nnx.Rngs(0)), NAME)
