"""Films of motions: a stick figure in 15 small pictures, five a second, as a video model learns them.

    film.shoot(joints)                      # joints (60, 22, 3) at 20 a second -> (15, 24, 16, 3) in [-1, 1]
    python -m experiments.vimogen.film runs/vimogen/films              # 4,000 films with captions, encoded clips
    vrjax train configs/vimogen/film.py
    film.imagine(model, film.read("runs/vimogen/films"), text)         # films of a trained model

What the video model sees of a picture are principal components of its upper and lower half, 48 each, in the place of a
VAE: 30 tokens a film, where pixels would be 360 (`tuning.md` has what that cost).

Limbs of the left are red, those of the right blue, trunk and head green. Colours add up, so that nothing hides what is
of another colour; of one colour the nearer limb cannot be told from the farther one. The camera never turns: it looks
horizontally at the left front of a body as it stands in the first frame, and travels along with the pelvis, so that the
figure stays in the middle and large. Where a motion leads is not in the film, as it is not in a reference.
"""

import argparse
import functools
import hashlib
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jaxtyping import Array, Float, Integer
from safetensors.numpy import load_file, save_file

from experiments.vimogen import solved
from vrjax.data import latents, motions
from vrjax.files import kept, writing
from vrjax.files.store import Store
from vrjax.flow import Record, draws, grids, sample
from vrjax.models.embedded import conditions
from vrjax.motion import JOINTS, PARENTS, program
from vrjax.motion import camera as cameras
from vrjax.motion.canonical import LEFT_HIP, RIGHT_HIP, Placement, facing
from vrjax.motion.rotations import Real, about, rotate
from vrjax.study.sizes import positive

EVERY = 4  # frames of a motion for one picture: 20 a second become 5, and the fastest arm swings 2 times a second
CODEC = conditions.blocks(2)  # a mean over 2 x 2 pixels
HALVES, COMPONENTS, FITTED = 2, 48, 1000  # of the codec: parts of a picture, numbers of each, and films it is fitted to
SPEC = motions.Motions(sets=program.SETS, corrupted=False)  # what films show: all verbs, those that mocap lacks too
TEXT = (24, 96)  # captions as configs/vimogen/small.py has them: one text serves both models
SEED, CLIPS, GROUP = 5001, 4000, 100  # of films for training
LIMB, TRUNK, HEAD = 0.045, 0.06, 0.10  # radii in metres
CODEC_FILE = "codec.safetensors"
COLOURS = ("left", "", "right")  # red, green, blue
HEAD_JOINT = JOINTS.index("head")


class Camera(NamedTuple):
    """A camera beside a body, see the module.

    Attributes:
        height, width: of a picture, in pixels; even.
        metre: pixels of a metre at the pelvis' distance.
        azimuth: radians from straight ahead of the body, to its left.
        distance: of the pelvis, in metres.
        level: of the lens over the floor, in metres; the middle of the picture.
    """

    height: int = 48
    width: int = 32
    metre: float = 20.0
    azimuth: float = math.radians(40)
    distance: float = 6.0
    level: float = 1.1

    @property
    def intrinsic(self) -> Float[Array, "3 3"]:
        """See `vrjax.motion.camera.intrinsic`."""
        return cameras.intrinsic(self.metre * self.distance, self.width, self.height)

    @property
    def extrinsic(self) -> Float[Array, "9"]:
        """See `vrjax.motion.camera.extrinsic`; of a world whose origin is on the floor under the pelvis."""
        turn = about("z", jnp.asarray(self.azimuth))
        ahead = jnp.array([0.0, self.distance, 0.0])
        return cameras.extrinsic(Placement(turn, rotate(turn, ahead) + jnp.array([0.0, 0.0, self.level])))


CAMERA = Camera()


# ---------------------------------------------------------------------------------------------------------- one picture


def seen(joints: Float[Real, "t 22 3"], camera: Camera = CAMERA) -> Float[Array, "t 22 2"]:
    """Where joints are in the pictures: (u to the right, v down), in pixels.

    Where in the world a motion is, and where it heads, does not matter: the floor is the lowest joint of all frames.
    """
    joints = jnp.asarray(joints)
    under = jnp.concatenate([joints[:, :1, :2], jnp.full((len(joints), 1, 1), joints[..., 2].min())], -1)
    turned = rotate(facing(joints[0, LEFT_HIP : RIGHT_HIP + 1]), joints - under)
    return cameras.project(turned, camera.extrinsic, camera.intrinsic)


def draw(points: Float[Array, "22 2"], camera: Camera = CAMERA) -> Float[Array, "h w 3"]:
    """One picture in [-1, 1] of joints at these pixels, by how much of each pixel limbs cover."""
    rows, columns = jnp.arange(camera.height) + 0.5, jnp.arange(camera.width) + 0.5
    picture = []
    for colour in COLOURS:
        cover = jnp.zeros((camera.height, camera.width))
        for start, end, radius in limbs(colour):  # one after the other: a loop over pixels that needs no memory
            cover = jnp.maximum(cover, _cover(columns, rows, points[start], points[end], radius * camera.metre))
        picture.append(cover)
    return 2 * jnp.stack(picture, -1) - 1


def limbs(colour: str) -> list[tuple[int, int, float]]:
    """Joints at both ends and radius in metres of all limbs of a colour; the head is one without length."""
    side = lambda joint: name if (name := JOINTS[joint].partition("_")[0]) in COLOURS else ""
    pairs = [(parent, joint) for joint, parent in enumerate(PARENTS) if parent >= 0 and side(joint) == colour]
    found = [(*pair, LIMB if colour else TRUNK) for pair in pairs]
    return found if colour else [*found, (HEAD_JOINT, HEAD_JOINT, HEAD)]


def _cover(columns: Array, rows: Array, start: Array, end: Array, radius: float) -> Float[Array, "h w"]:
    """How much of each pixel is within `radius` of a line: 1 inside, 0 outside, and a ramp as wide as a pixel."""
    way = end - start
    u, v = columns[None, :] - start[0], rows[:, None] - start[1]
    along = jnp.clip((u * way[0] + v * way[1]) / jnp.maximum(way @ way, 1e-6), 0.0, 1.0)
    away = jnp.sqrt(jnp.maximum((u - along * way[0]) ** 2 + (v - along * way[1]) ** 2, 1e-12))
    return jnp.clip(radius + 0.5 - away, 0.0, 1.0)


def pictures(joints: Float[Real, "t 22 3"], camera: Camera = CAMERA) -> Float[Array, "f h w 3"]:
    """The film of a motion at 20 frames a second, pixels in [-1, 1]: every fourth frame, the first one first.

    Args:
        joints: in metres, z up; any heading and place.
        camera: see `Camera`.
    """
    return jax.vmap(functools.partial(draw, camera=camera))(seen(joints, camera)[::EVERY])


def shoot(joints: Float[Real, "t 22 3"], camera: Camera = CAMERA) -> Float[Array, "f h2 w2 3"]:
    """The film as the codec has it (`CODEC.encode` of `pictures`): what a model is trained on."""
    return CODEC.encode(pictures(joints, camera))


# --------------------------------------------------------------------------------------------------------- as training


@functools.partial(jax.jit, static_argnames=("spec", "text"))
def take(
    numbers: Integer[Array | np.ndarray, " n"],
    seed: Any = SEED,
    spec: motions.Motions = SPEC,
    text: tuple[int, int] = TEXT,
) -> dict[str, Array]:
    """Films of motions by their numbers, as `vrjax.data.motions.make` has these, and `film` (n, f, h, w, 3)."""
    made = motions.make(spec, seed, numbers, text=text)
    joints = jax.vmap(lambda rows: solved.joints_of(rows, "position"))(made["latent"])
    return made | {"film": jax.vmap(shoot)(joints)}


class Codec(NamedTuple):
    """Principal components of the halves of small pictures.

    Attributes:
        mean (halves, pixels), basis (halves, pixels, components): of each half.
        scale: the standard deviation of all components together.
    """

    mean: Float[Array | np.ndarray, "halves d"]
    basis: Float[Array | np.ndarray, "halves d k"]
    scale: Float[Array | np.ndarray, ""]

    def encode(self, film: Float[Array, "f h w 3"]) -> Float[Array, "f halves 1 k"]:
        """Of a film as `shoot` gives it."""
        parts = rearrange(film, "f (n h) w c -> f n (h w c)", n=HALVES)
        return (jnp.einsum("fnd,ndk->fnk", parts - self.mean, self.basis) / self.scale)[:, :, None]

    def decode(self, latent: Float[Array, "f halves 1 k"]) -> Float[Array, "f h w 3"]:
        """The film again, in [-1, 1]."""
        parts = jnp.einsum("fnk,ndk->fnd", latent[:, :, 0] * self.scale, self.basis) + self.mean
        width = CAMERA.width // CODEC.factor
        return jnp.clip(rearrange(parts, "f n (h w c) -> f (n h) w c", w=width, c=3), -1, 1)


def fit(films: int = FITTED, seed: int = SEED, spec: motions.Motions = SPEC) -> Codec:
    """The codec of the first films."""
    size = min(films, GROUP)
    mean: Any = 0.0
    square: Any = 0.0
    for start in range(0, films, size):
        shot = take(np.arange(start, start + size, dtype=np.uint32), seed, spec)["film"]
        parts = np.asarray(rearrange(shot, "b f (n h) w c -> n (b f) (h w c)", n=HALVES), np.float64)
        mean, square = mean + parts.mean(1), square + np.einsum("nbi,nbj->nij", parts, parts) / parts.shape[1]
    mean, square = mean * size / films, square * size / films
    values, vectors = np.linalg.eigh(square - mean[:, :, None] * mean[:, None])  # the largest ones are the last
    scale = np.sqrt(values[:, -COMPONENTS:].mean())
    vectors = vectors[..., ::-1][..., :COMPONENTS]
    vectors = vectors * np.sign(np.sum(vectors**3, 1, keepdims=True))  # a component's sign is nobody's choice
    return Codec(*(np.asarray(x, np.float32) for x in (mean, vectors, scale)))


def read(folder: str | pathlib.Path) -> Codec:
    """The codec beside films.

    Raises:
        FileNotFoundError: none there.
    """
    return Codec(**load_file(pathlib.Path(folder) / CODEC_FILE))


def write(
    folder: str | pathlib.Path,
    clips: int = CLIPS,
    *,
    spec: motions.Motions = SPEC,
    text: tuple[int, int] = TEXT,
    say: Callable[[str], Any] = print,
) -> pathlib.Path:
    """Films and captions as encoded clips (`vrjax.data.latents`), the form in which `vrjax train` takes them.

    Args:
        folder: what is there of the same films is not written again.
        clips: how many.
        spec: of which motions.
        text: shape of a caption's rows.
        say: told of progress.

    Raises:
        OSError: they cannot be written.
    """
    code = kept.source("experiments.vimogen.film")
    made = {"seed": SEED, "spec": writing.to_dict(spec), "text": text, "code": code}
    codec, store, rows = fit(min(clips, FITTED), SEED, spec), Store(folder, dtype="float16"), []
    encode = jax.jit(jax.vmap(codec.encode))
    for start in range(0, clips, GROUP):
        numbers = np.arange(start, start + GROUP, dtype=np.uint32)  # always as many: one program
        batch = jax.device_get(take(numbers, SEED, spec, text))
        films = jax.device_get(encode(batch["film"]))
        for number, film, words in zip(numbers[: clips - start].tolist(), films, batch["text"], strict=False):
            words = words[: np.flatnonzero(np.abs(words).max(-1))[-1] + 1]  # the rest is padding
            row = {"name": f"film {number}"}
            row["latents"] = store.keep("latents", latents.ARRAY, made | {"film": number}, lambda film=film: film, 4)
            parts = {"rows": hashlib.sha256(words.tobytes()).hexdigest()}
            row["text"] = store.keep("text", latents.ARRAY, parts, lambda words=words: words, 2)
            rows.append(row)
        say(f"{len(rows)} of {clips} films, {store.made} files written")
    with writing.atomic(pathlib.Path(folder) / CODEC_FILE) as scratch:
        save_file({name: np.ascontiguousarray(x) for name, x in codec._asdict().items()}, scratch)
    path = pathlib.Path(folder) / latents.INDEX
    writing.json(path, {"schema": latents.SCHEMA, "model": "films of motions", "made": made, "clips": rows}, indent=1)
    return path


# ------------------------------------------------------------------------------------------------------ a trained model


@functools.partial(jax.jit, static_argnames=("steps", "guidance", "shift", "frames"))
def imagine(
    model: Any,
    codec: Codec,
    text: Float[Array, "n l d"],
    *,
    steps: int = 20,
    guidance: float = 2.0,
    shift: float = 3.0,
    seed: int = 0,
    frames: int = SPEC.rows // EVERY,
) -> Float[Array, "n f h w 3"]:
    """A film of a video model (`configs/vimogen/film.py`) for each text, guided against the empty one, in [-1, 1]."""
    grid = grids.shifted(steps, shift=shift)
    shape = (frames, HALVES, 1, COMPONENTS)

    def one(each: tuple[Array, Array]) -> Array:
        number, words = each
        noise = jax.random.normal(jax.random.fold_in(draws.key(seed), number), shape)
        velocity = model.guided(words, jnp.zeros_like(words), guidance)
        return codec.decode(sample(velocity, noise, grid, record=Record(steps=(), fields=())).final)

    return jax.lax.map(one, (jnp.arange(len(text)), text), batch_size=solved.GROUP)


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m experiments.vimogen.film", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=pathlib.Path, help="where the films go")
    parser.add_argument("--clips", type=positive, default=CLIPS, help="how many (%(default)s)")
    args = parser.parse_args(argv)
    try:
        write(args.folder, args.clips)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
