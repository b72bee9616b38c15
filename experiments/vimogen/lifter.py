"""From a film to the reference that leads the motion model: what body estimation from videos is to ViMoGen.

    lift = lifter.trained(pathlib.Path("runs/vimogen"), codec)   # read, or trained and kept
    lifted = lift(film)                                          # Lifted(reference (60, 138), height (60,))
    lifter.placed(lifted)                                        # joints: the video baseline

    python -m experiments.vimogen.lifter                         # how good it is, and where it leads a model of motions

It has seen true films of all verbs, through the codec, blurred and noisy, and no film that a model made: whoever
estimates bodies from videos has seen kicks, too. What it has not seen is a caption. Of a video model that knows verbs
which mocap lacks it makes references of these. The command measures what true films give, which is a bound for all that
a video model can: errors of references, and shares of solved motions for the lifted body itself and for the motions
that a model makes of it. With a video model (`--video`) its films stand beside the true ones.
"""

import argparse
import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from einops import rearrange
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from experiments.vimogen import film, recogniser, solved
from vrjax.data.motions import Motions
from vrjax.files import kept, leaves, writing
from vrjax.flow import draws
from vrjax.models import wan
from vrjax.models.embedded import shipped
from vrjax.motion import matrix, program, reference, rep276
from vrjax.motion.kinematics import REST_PELVIS, Motion, forward
from vrjax.motion.program import scale
from vrjax.motion.program.body import steps
from vrjax.motion.rotations import angle_between
from vrjax.study.sizes import positive

SEED, HELD_OUT = 7101, 7201  # of its training, and of the films that its errors are measured on
WIDTH, BATCH, STEPS, RATE = 192, 64, 2350, 2e-3
SPREAD = (1, 2, 4, 1)  # how far apart the three pictures are that a layer looks at
NOISE, BLUR = 0.25, 0.5  # at most: each film has its own share of them
SIZE = (film.CAMERA.height // film.CODEC.factor, film.CAMERA.width // film.CODEC.factor, 3)
TALL, TENTH = 0.9, 0.1  # metres: about where a pelvis is, and the unit of what is learned
TRUE, IMAGINED = "true film", "video film"
FILMS = pathlib.Path("runs/vimogen/films")


class Lifted(NamedTuple):
    """What a film shows of a motion at 20 frames a second.

    Attributes:
        reference (t, 138): normalised, as `vrjax.motion.reference` and the motion model have it.
        height (t,): of the pelvis over the floor, in metres, which is no part of a reference.
    """

    reference: Float[Array, "*t 138"]
    height: Float[Array, "*t"]


class Lifter(nnx.Module):
    """Pictures one by one, layers that look at three of them at a time, and four frames of motion from each."""

    def __init__(self, rngs: nnx.Rngs):
        self.look = nnx.Linear(int(np.prod(SIZE)), WIDTH, rngs=rngs)
        self.norms = nnx.List([nnx.LayerNorm(WIDTH, rngs=rngs) for _ in SPREAD])
        self.over_time = nnx.List([nnx.Linear(3 * WIDTH, WIDTH, rngs=rngs) for _ in SPREAD])
        self.out = nnx.Linear(WIDTH, film.EVERY * (reference.WIDTH + 1), rngs=rngs)

    def __call__(self, pictures: Float[Array, "f h w 3"]) -> Lifted:
        """Of a film as `film.shoot` and `film.imagine` give it: a picture is four frames."""
        h = self.look(2 * (pictures + 1).reshape(len(pictures), -1))  # what is empty is 0
        for norm, layer, step in zip(self.norms, self.over_time, SPREAD, strict=True):
            padded = jnp.pad(norm(h), ((step, step), (0, 0)), "edge")
            three = [padded[start : start + len(h)] for start in (0, step, 2 * step)]
            h = h + jax.nn.gelu(layer(jnp.concatenate(three, -1)))
        rows = rearrange(self.out(h), "f (every d) -> (f every) d", every=film.EVERY)
        return Lifted(rows[:, :-1], TALL + TENTH * rows[:, -1])


def worn(key: PRNGKeyArray, pictures: Float[Array, "f h w 3"], codec: film.Components) -> Float[Array, "f h w 3"]:
    """A film as a model might have made it: every second one has been through the codec; blurred in space and over
    time, and noisy, each by a share of its own."""
    keys = jax.random.split(key, 5)
    coded = jax.random.bernoulli(keys[4], 0.5)
    pictures = jnp.where(coded, codec.decode(codec.encode(pictures)), pictures)
    space, time, noise = (jax.random.uniform(k) for k in keys[:3])
    for axis, share in ((1, BLUR * space), (2, BLUR * space), (0, BLUR * time)):
        pictures = pictures + share * (_soft(pictures, axis) - pictures)
    return pictures + NOISE * noise**2 * jax.random.normal(keys[3], pictures.shape)


def _soft(x: Array, axis: int) -> Array:
    """Weights 1/4, 1/2, 1/4 along an axis, whose ends go on as they are."""
    size = x.shape[axis]
    beside = lambda step: jnp.take(x, np.clip(np.arange(size) + step, 0, size - 1), axis)
    return (beside(-1) + 2 * x + beside(1)) / 4


# -------------------------------------------------------------------------------------------------------------- bodies


def standing(lifted: Lifted) -> Motion:
    """What was lifted as a motion: the program's body, at the height that was seen, its standing foot held still.

    From one frame to the next the lower ankle stands, and the body goes by what that ankle moves in it (`steps`). The
    floor is at 0, and the pelvis begins over the origin.
    """
    seen = pose(lifted.reference)
    place = jnp.concatenate([steps(seen.joints - seen.joints[:, :1]), lifted.height[:, None]], -1)
    return seen._replace(joints=seen.joints + place[:, None], transl=seen.transl + place)


def placed(lifted: Lifted) -> Float[Array, "t 22 3"]:
    """Joints of `standing`: the video baseline."""
    return standing(lifted).joints


def rows(lifted: Lifted) -> Float[Array, "t 276"]:
    """Normalised rows of `standing`, as a model is trained on them; the last frame's way is that before it."""
    motion = jax.tree.map(lambda x: jnp.concatenate([x, x[-1:]]), standing(lifted))
    further = lambda x: x.at[-1].add(x[-2] - x[-3])
    motion = motion._replace(joints=further(motion.joints), transl=further(motion.transl))
    return rep276.normalise(rep276.to_276(*motion), scale.load())


def pose(rows: Float[Array, "t 138"]) -> Motion:
    """The program's body in the poses of a normalised reference, its pelvis at the origin."""
    rows = rep276.denormalise(rows, rep276.Statistics(*map(reference.reference, scale.load())))
    body = matrix(rearrange(rows[:, rep276.BODY], "t (j c) -> t j c", c=6))
    root = matrix(rows[:, rep276.BODY.stop : rep276.BODY.stop + 6])
    transl = jnp.broadcast_to(-jnp.asarray(REST_PELVIS), (len(rows), 3))
    return Motion(forward(root, body, transl, program.OFFSETS), root, body, transl)


# ------------------------------------------------------------------------------------------------------------ training


def examples(numbers: Any, seed: Any, spec: Motions) -> tuple[Array, Lifted]:
    """True films of motions by their numbers, and what is to be lifted from them."""
    made = film.take(numbers, seed, spec)
    joints = jax.vmap(lambda rows: solved.joints_of(rows, "position"))(made["latent"])
    height = joints[:, :, 0, 2] - joints[..., 2].min((1, 2))[:, None]
    return made["film"], Lifted(made["reference"], height)


def loss(lift: Lifter, films: Array, true: Lifted) -> Array:
    """Mean squared error of references, each number in its own standard deviation, and of heights in decimetres."""
    found = jax.vmap(lift)(films)
    return jnp.mean((found.reference - true.reference) ** 2) + jnp.mean(((found.height - true.height) / TENTH) ** 2)


def train(codec: film.Components, steps: int = STEPS, spec: Motions = film.SPEC, seed: int = SEED) -> Lifter:
    """A lifter trained on films that never repeat, of the motions that `spec` says; their length is a multiple of 4."""
    graph, weights = nnx.split(Lifter(nnx.Rngs(seed)))
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(RATE, steps)))

    def step(weights: Any, moments: Any, number: Array) -> tuple[Any, Any]:
        films, true = examples(BATCH * number + jnp.arange(BATCH, dtype=jnp.uint32), seed, spec)
        key = jax.random.fold_in(draws.key(seed), number)
        films = jax.vmap(worn, (0, 0, None))(jax.random.split(key, BATCH), films, codec)
        grad = jax.grad(lambda weights: loss(nnx.merge(graph, weights), films, true))(weights)
        updates, moments = tx.update(grad, moments)
        return optax.apply_updates(weights, updates), moments

    run, moments = jax.jit(step, donate_argnums=(0, 1)), tx.init(weights)
    for number in np.arange(steps, dtype=np.uint32):
        weights, moments = run(weights, moments, number)
    return nnx.merge(graph, weights)


def named(spec: Motions) -> str:
    """What a lifter's files are called: by its sets, and whether something wandered beside them."""
    return f"lifter-{''.join(spec.sets)}{'-wander' if spec.wander else ''}"


def trained(folder: pathlib.Path, codec: film.Components, spec: Motions = film.SPEC) -> Lifter:
    """The lifter that is kept in `folder`, or a new one, kept there; see `vrjax.files.leaves.keep`.

    Lifters of other sets of motions lie beside each other.
    """
    code = kept.source("experiments.vimogen.lifter")  # also where this file is run as a command
    content = hashlib.sha256(b"".join(np.asarray(x).tobytes() for x in codec)).hexdigest()
    about = {"seed": SEED, "steps": STEPS, "spec": writing.to_dict(spec), "codec": content, "code": code}
    file = folder / f"{named(spec)}.safetensors"
    return leaves.keep(file, about, lambda: train(codec, STEPS, spec), lambda: Lifter(nnx.Rngs(0)))


# ----------------------------------------------------------------------------------------------------------- measuring


@functools.partial(jax.jit, static_argnames=("split", "clips"))
def errors(lift: Lifter, split: str, clips: int) -> dict[str, Array]:
    """Of true films of a set which no training has seen; means over frames and films.

    Returns:
        `reference`, squared error over the variance of the set S, per number (guessing the mean of S gives about 1);
        `pose` and `root`, degrees between rotations of joints in their parents' frames, and of pelvises in the world;
        `joints`, metres between joints, pelvis upon pelvis; `height`, metres between pelvises' heights.
    """

    def group(numbers: Array) -> dict[str, Array]:
        films, true = examples(numbers, HELD_OUT, Motions(sets=(split,), corrupted=False, rows=film.SPEC.rows))
        found = jax.vmap(lift)(films)
        ours, theirs = (jax.vmap(pose)(x.reference) for x in (found, true))
        return {
            "reference": jnp.mean((found.reference - true.reference) ** 2),
            "pose": jnp.degrees(jnp.mean(angle_between(ours.body, theirs.body))),
            "root": jnp.degrees(jnp.mean(angle_between(ours.root, theirs.root))),
            "joints": jnp.mean(jnp.linalg.norm(ours.joints - theirs.joints, axis=-1)),
            "height": jnp.mean(jnp.abs(found.height - true.height)),
        }

    size = min(clips, solved.GROUP)
    numbers = jnp.arange(clips // size * size, dtype=jnp.uint32).reshape(-1, size)
    return jax.tree.map(jnp.mean, jax.lax.map(group, numbers))


@jax.jit
def lifted(lift: Lifter, films: Float[Array, "n f h w 3"]) -> tuple[Lifted, Float[Array, "n t 22 3"]]:
    """What is lifted of each film, and the bodies themselves (`placed`)."""
    return jax.lax.map(lambda pictures: (found := lift(pictures), placed(found)), films)


def judged(
    lift: Lifter,
    folder: pathlib.Path,
    judge: recogniser.Recogniser,
    *,
    clips: int,
    asked: solved.Asked,
    video: tuple[Any, film.Components] | None = None,
    sets: Sequence[str] = program.SETS,
    say: Callable[[str], Any] = print,
) -> dict[str, dict[str, Any]]:
    """Set -> row -> `solved.shares`: the truth, the bodies lifted of films, and a model of motions led by these films,
    beside the same model led by a corrupted true reference, which is what it was trained on.

    Films are the true ones and, where there is a `video` model with its codec, those that it makes of the captions.

    Raises:
        FileNotFoundError, ValueError: no such model, or it was not trained on procedural motions.
    """
    model, spec, config = solved.opened(folder)
    asked = asked._replace(shift=config.objective.shift if asked.shift is None else asked.shift)
    out: dict[str, dict[str, Any]] = {}
    for split in sets:
        test = solved.items(split, clips, spec.rows, (model.cfg.text_len, model.cfg.text_dim))
        films = {TRUE: jax.jit(jax.vmap(film.shoot))(test.joints)}
        if video is not None:
            films[IMAGINED] = film.imagine(*video, test.text)
        arms = {solved.TRUTH: test.joints, solved.MOTION: solved.generate(model, test, asked, solved.MOTION)}
        for which, pictures in films.items():
            found, bodies = lifted(lift, pictures)
            arms[f"{which}, lifted"] = bodies
            shown = test._replace(reference=found.reference)
            arms[f"{which}, leads"] = solved.generate(model, shown, asked, solved.MOTION)
        out[split] = {name: solved.shares(judge, test.script, joints) for name, joints in arms.items()}
        for name, row in out[split].items():
            say(solved.line(split, name, row))
    return out


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m experiments.vimogen.lifter", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--model", type=pathlib.Path, help="of motions, as vrjax train exports it (the shipped one)")
    parser.add_argument("--video", type=pathlib.Path, help="a model of films, as vrjax train exports it (none)")
    parser.add_argument("--films", type=pathlib.Path, default=FILMS, help="what it was trained on (%(default)s)")
    parser.add_argument("--clips", type=positive, default=64, help="motions of each set (%(default)s)")
    parser.add_argument("--knows", nargs="+", choices=program.SETS, default=program.SETS, help="what it is trained on")
    parser.add_argument("--wander", type=float, default=0.0, help="share of motions at random beside these (0)")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/vimogen"), help="(%(default)s)")
    args = parser.parse_args(argv)
    try:
        sets, codec = tuple(args.knows), film.read(args.films)
        told = (0.0,) * len(sets) if args.wander else ()
        spec = dataclasses.replace(film.SPEC, sets=sets, wander=args.wander, told_by_text=told)
        lift = trained(args.out, codec, spec)
        model = args.model or shipped.path(shipped.of_motions())
        found: dict[str, Any] = {"clips": args.clips, "knows": args.knows, "errors": {}}
        for split in program.SETS:
            found["errors"][split] = row = {name: float(x) for name, x in errors(lift, split, args.clips).items()}
            print(f"{split}  " + "  ".join(f"{name} {value:.3f}" for name, value in row.items()))
        video = None if args.video is None else (wan.load_dit(args.video), codec)
        how = {"clips": args.clips, "asked": solved.Asked(path="position"), "video": video}
        found["solved"] = judged(lift, model, recogniser.trained(args.out), **how)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    writing.json(args.out / f"{named(spec)}.json", found)


if __name__ == "__main__":
    main()
