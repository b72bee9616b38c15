"""How many motions of a trained model do what their text says, beside what costs no training.

    python -m experiments.vimogen.solved runs/vimogen-small/model --clips 64

Sets S, C and V of `vrjax.motion.program`. Every motion is judged twice: by the exact predicates, and by a recogniser
that has never seen a model's motions. Rows beside the model's two branches: the ground truth, the truth's first pose
held still, and the motion of training whose caption is nearest. Speed is not judged.
"""

import argparse
import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from experiments.vimogen import recogniser
from vrjax.align.config import AlignConfig
from vrjax.data import motions
from vrjax.files import records, writing
from vrjax.flow import Record, draws, grids, sample
from vrjax.models import motion as motion_models
from vrjax.models.embedded import captions
from vrjax.motion import from_276, program, reference, rep276, smoothing, to_276
from vrjax.motion.kinematics import forward
from vrjax.motion.program import predicates, scale, verbs
from vrjax.report import statistics
from vrjax.study.sizes import positive
from vrjax.train.config import TrainConfig

SEED = 9001  # of the test motions
BANK = 2000  # motions of training that are looked through for the nearest caption
GROUP = 32  # motions at a time
RULES = jax.jit(jax.vmap(predicates.agrees))
SEEN = jax.jit(jax.vmap(recogniser.recognise, (None, 0)))
ROTATIONS = "rotations"
PATHS = (*rep276.PATHS, ROTATIONS)
TRUTH, FROZEN, NEAREST, TEXT, MOTION = "ground truth", "frozen pose", "nearest caption", "from text", "from reference"


class Items(NamedTuple):
    """Test motions: scripts, their captions as text, another performance's joints, and its corrupted reference."""

    script: program.Script
    text: Float[Array, "n l d"]
    joints: Float[Array, "n t 22 3"]
    reference: Float[Array, "n t 138"]


class Asked(NamedTuple):
    """How a model is sampled, and by which path joints come from its rows: those of `from_276`, of which ViMoGen's is
    "velocity", or "rotations", forward kinematics of the program's body, which ViMoGen's own renderer does with SMPL-X.

    The shift of the grid is that of the training, unless it is given.
    """

    steps: int = 20
    guidance: float = 2.0
    path: str = "velocity"
    shift: float | None = None


def joints_of(rows: Float[Array, "t 276"], path: str = "velocity") -> Float[Array, "t 22 3"]:
    """Joints of normalised rows, by one of PATHS."""
    if path != ROTATIONS:
        return from_276(rep276.denormalise(rows, scale.load()), path=path).joints
    motion = from_276(rep276.denormalise(rows, scale.load()), path="position")
    return forward(motion.root, motion.body, motion.transl, program.OFFSETS)


@functools.partial(jax.jit, static_argnames=("split", "count", "rows", "text", "paraphrase"))
def items(
    split: str, count: int, rows: int, text: tuple[int, int], *, paraphrase: int | None = None, seed: int = SEED
) -> Items:
    """The first `count` test motions of a set; captions in words of training, or in one paraphrase."""

    def one(number: Array) -> Items:
        keys = jax.random.split(jax.random.fold_in(draws.key(seed), number), 3)
        script = program.draw(keys[0], split)
        latent = rep276.normalise(to_276(*program.perform(keys[1], script, rows + 1).motion), scale.load())
        words = program.tokens(script, number % program.HELD_OUT if paraphrase is None else paraphrase)
        true, valid = reference.reference(latent), jnp.ones(rows, bool)
        poor, _ = reference.corrupt(true, valid, reference.draw(keys[2], rows))
        return Items(script, captions.of_tokens(words, *text), joints_of(latent), poor)

    return jax.lax.map(one, jnp.arange(count), batch_size=GROUP)


@functools.partial(jax.jit, static_argnames=("spec", "count"))
def nearest(
    spec: motions.Motions, seed: int, asked: Float[Array, "n l d"], count: int = BANK
) -> Float[Array, "n t 22 3"]:
    """For each text the motion of training, of the first `count`, whose caption shares most words with it."""
    spec = dataclasses.replace(spec, shortest=None, corrupted=False)
    numbers = jnp.arange(count, dtype=jnp.uint32).reshape(-1, min(count, 100))  # all at once would be gigabytes
    bank = jax.lax.map(lambda group: motions.make(spec, seed, group, text=asked.shape[1:]), numbers)
    bank = {name: x.reshape(count, *x.shape[2:]) for name, x in bank.items()}
    return jax.vmap(joints_of)(bank["latent"][closest(asked, bank["text"])])


def closest(asked: Float[Array, "n l d"], texts: Float[Array, "m l d"]) -> Int[Array, " n"]:
    """For each text which of `texts` shares most words with it: cosines of sums of rows, the first of equals."""
    unit = lambda x: x.sum(1) / jnp.linalg.norm(x.sum(1), axis=-1, keepdims=True)
    return jnp.argmax(unit(asked) @ unit(texts).T, -1)


def sampled(
    model: Any,
    noise: Float[Array, "t 276"],
    asked: Asked,
    branch: str,
    given: Float[Array, "_ _"],
) -> Float[Array, "t 276"]:
    """One motion of the model as normalised rows, smoothed.

    Args:
        model: of motions.
        noise: what it starts from.
        asked: steps, guidance and shift; the path does not matter here.
        branch: TEXT or MOTION.
        given: what the branch reads: a text, guided against the empty one, or a reference.
    """
    if branch == TEXT:
        velocity = model.guided(given, jnp.zeros_like(given), asked.guidance, mode="text")
    else:
        velocity = model.velocity(reference=given, mode="motion")
    grid = grids.vimogen(asked.steps, asked.shift or 1.0)
    return smoothing.smooth(sample(velocity, noise, grid, record=Record(steps=(), fields=())).final)


@functools.partial(jax.jit, static_argnames=("asked", "branch"))
def generate(model: Any, items: Items, asked: Asked, branch: str, seed: int = 0) -> Float[Array, "n t 22 3"]:
    """A motion of the model for each item, from its text (guided against the empty one) or from its reference."""
    rows, given = items.reference.shape[1], items.text if branch == TEXT else items.reference

    def one(number: Array, given: Array) -> Array:
        noise = jax.random.normal(jax.random.fold_in(draws.key(seed), number), (rows, model.cfg.channels))
        return joints_of(sampled(model, noise, asked, branch, given), asked.path)

    each = jnp.arange(len(given)), given
    return jax.lax.map(lambda each: one(*each), each, batch_size=GROUP)


def shares(judge: recogniser.Recogniser, scripts: program.Script, joints: Float[Array, "n t 22 3"]) -> dict[str, Any]:
    """Shares of motions that do what their scripts say, by both judges, with Wilson's intervals; and how often these
    agree with each other."""
    rules, seen = RULES(scripts, joints), SEEN(judge, joints)
    parts = recogniser.agrees(scripts, seen)
    out: dict[str, Any] = {"n": len(joints)}
    for name, solved in (("predicates", rules), ("recogniser", parts.all)):
        out[name] = float(np.mean(solved))
        out[f"{name} interval"] = statistics.wilson(int(np.sum(solved)), len(joints)).interval
    out["judges agree"] = float(np.mean(np.asarray(rules) == np.asarray(parts.all)))
    return out | {name: float(np.mean(value)) for name, value in parts._asdict().items()}


def opened(folder: pathlib.Path) -> tuple[Any, motions.Motions, TrainConfig]:
    """The model in a folder that `vrjax train` or `align` has exported, the motions and the config of its training.

    Raises:
        FileNotFoundError, ValueError: no such model, or it was not trained on procedural motions.
    """
    model = motion_models.load_dit(folder)
    file = folder / "training.json"
    said = json.loads(file.read_text("utf-8"))["config"]
    config = records.from_dict(AlignConfig if "preference" in said else TrainConfig, said, str(file))
    if config.data.motions is None:
        raise ValueError(f"{file}: data.motions is null, expected a training on procedural motions")
    return model, config.data.motions, config


def judged(
    folder: pathlib.Path,
    judge: recogniser.Recogniser,
    *,
    clips: int,
    asked: Asked,
    sets: Sequence[str] = program.SETS,
    paraphrase: int | None = None,
    say: Callable[[str], Any] = print,
) -> dict[str, dict[str, Any]]:
    """Set -> row -> `shares` of the model in a folder that `vrjax train` has exported.

    Raises:
        FileNotFoundError, ValueError: no such model, or it was not trained on procedural motions.
    """
    model, spec, config = opened(folder)
    rows, text = spec.rows, (model.cfg.text_len, model.cfg.text_dim)
    asked = asked._replace(shift=config.objective.shift if asked.shift is None else asked.shift)
    branches = {"text": (TEXT,), "motion": (MOTION,)}.get(model.cfg.mode, (TEXT, MOTION))
    out: dict[str, dict[str, Any]] = {}
    for split in sets:
        test = items(split, clips, rows, text, paraphrase=paraphrase)
        arms = {
            TRUTH: test.joints,
            FROZEN: jnp.broadcast_to(test.joints[:, :1], test.joints.shape),
            NEAREST: nearest(spec, config.seed, test.text),
            **{branch: generate(model, test, asked, branch) for branch in branches},
        }
        out[split] = {name: shares(judge, test.script, joints) for name, joints in arms.items()}
        for name, row in out[split].items():
            say(line(split, name, row))
    return out


def line(split: str, name: str, row: dict[str, Any]) -> str:
    """A row for people."""
    told = lambda who: f"{who} {row[who]:.2f} [{row[f'{who} interval'][0]:.2f}, {row[f'{who} interval'][1]:.2f}]"
    parts = "  ".join(f"{part} {row[part]:.2f}" for part in recogniser.Parts._fields)
    return f"{split}  {name:16} {told('predicates')}  {told('recogniser')}  ({parts})"


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m experiments.vimogen.solved", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", type=pathlib.Path, help="a folder that vrjax train has exported")
    parser.add_argument("--clips", type=positive, default=64, help="motions of each set (64)")
    parser.add_argument("--steps", type=positive, default=Asked().steps, help="denoising steps (%(default)s)")
    parser.add_argument("--guidance", type=float, default=Asked().guidance, help="of the text (%(default)s)")
    parser.add_argument("--path", choices=PATHS, default=Asked().path, help="to joints (%(default)s)")
    parser.add_argument("--sets", nargs="+", choices=program.SETS, default=program.SETS, help="all three by default")
    parser.add_argument(
        "--paraphrase",
        type=int,
        choices=range(verbs.PARAPHRASES),
        help="captions in these words; 3 was never trained on",
    )
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/vimogen"), help="(%(default)s)")
    parser.add_argument(
        "--json", type=pathlib.Path, help="where the numbers go (solved.json beside the model's folder)"
    )
    args = parser.parse_args(argv)
    asked = Asked(args.steps, args.guidance, args.path)
    how = {"clips": args.clips, "sets": args.sets, "paraphrase": args.paraphrase}
    try:
        found = judged(args.model, recogniser.trained(args.out), asked=asked, **how)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    writing.json(args.json or args.model.parent / "solved.json", {"asked": how | asked._asdict(), "solved": found})


if __name__ == "__main__":
    main()
