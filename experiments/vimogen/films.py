"""What is asked for, and the films of it as references: test items, prompts of distillation, and the bank.

    video = films.opened()                                        # one video model and lifter for all seeds
    items = films.items(study, seed)                              # S, C and V of a training seed
    films.bank(study, here, video, seed, items.text)              # Bank(reference (n, 60, 138), height (n, 60))
    films.distillation(study, here, video)                        # prompts for all students, and their films
    films.wild(study, here, video)                                # lifted true films of S and C

    python -m experiments.vimogen.films runs/vimogen-film/model runs/vimogen/films runs/vimogen/lifter-SCV.safetensors

The command makes `base0/` of what was trained: the video model, its codec and the lifter, in half precision.

Films are made, lifted and kept group by group; of them only what was lifted remains.
"""

import argparse
import functools
import hashlib
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float16

from experiments.vimogen import film, lifter, solved
from experiments.vimogen.config import SETS, ViMoGen
from vrjax.data.motions import Motions
from vrjax.files import kept, leaves, tensors, writing
from vrjax.flow import draws
from vrjax.models import wan
from vrjax.models.embedded import captions
from vrjax.motion import program
from vrjax.motion.program import splits, verbs
from vrjax.study.tables import Bench

HOME = pathlib.Path(__file__).parent / "base0"
VIDEO, LIFTER = "film", "lifter.safetensors"  # a folder, and beside it this file and film.CODEC_FILE
ROWS, TEXT = film.SPEC.rows, film.TEXT
PROMPTS, WILD = 6001, 6101  # seeds of what students are asked for, and of true films; neither of items nor of trainings
LIFT = jax.jit(jax.vmap(lambda lift, pictures: lift(pictures), (None, 0)))


class Video(NamedTuple):
    """What makes films and reads them, one for all seeds.

    Attributes:
        model, codec: of films.
        lift: reads references from them.
        of: fingerprint of the weights of all three.
    """

    model: Any
    codec: film.Components
    lift: lifter.Lifter
    of: str


class Prompts(NamedTuple):
    """What is asked for: scripts, and their captions as rows of text."""

    script: program.Script
    text: Float[np.ndarray, "n l d"]


class Bank(NamedTuple):
    """What was lifted from films, see `lifter.Lifted`."""

    reference: Float16[np.ndarray, "n t 138"]
    height: Float16[np.ndarray, "n t"]


class Wild(NamedTuple):
    """True films as they would be found: what was lifted from them, and their captions."""

    reference: Float16[np.ndarray, "n t 138"]
    height: Float16[np.ndarray, "n t"]
    text: Float[np.ndarray, "n l d"]


def opened(folder: pathlib.Path = HOME) -> Video:
    """The video model with its codec and the lifter in a folder, by default those that come with the study.

    Raises:
        FileNotFoundError, ValueError: they are not there, or torn.
    """
    of = kept.key(**{name: kept.fingerprint(folder / name) for name in (VIDEO, film.CODEC_FILE, LIFTER)})
    return Video(wan.load_dit(folder / VIDEO), film.read(folder), leaves.read(folder / LIFTER, _lifter), of)


def _lifter() -> lifter.Lifter:
    return lifter.Lifter(nnx.Rngs(0))


def pack(model: pathlib.Path, shot: pathlib.Path, lift: pathlib.Path, to: pathlib.Path) -> None:
    """Writes a folder for `opened`, with both networks in half precision.

    Args:
        model: the folder that `vrjax train configs/vimogen/film.py` has exported.
        shot: the folder of films that it was trained on, with their codec.
        lift: the file that `lifter.trained` keeps.
        to: made where it is missing.

    Raises:
        FileNotFoundError, ValueError: they are not there, or weights that float16 does not hold.
    """
    wan.load_dit(model)  # whole, and of this family
    half = np.dtype(np.float16)
    (to / VIDEO).mkdir(parents=True, exist_ok=True)
    for file in sorted(model.iterdir()):
        if file.suffix == ".safetensors":
            source = tensors.read(file)
            if big := [name for name in source.shapes if not np.abs(source[name]).max() <= np.finfo(half).max]:
                raise ValueError(f"{file}: {big[0]} and {len(big) - 1} more do not fit float16")
            shapes = {name: (shape, half) for name, shape in source.shapes.items()}
            tensors.write(to / VIDEO / file.name, shapes, (source[name] for name in shapes), source.metadata)
        elif file.suffix == ".json":
            writing.json(to / VIDEO / file.name, tensors.read_json(file))
    leaves.write(to / LIFTER, leaves.read(lift, _lifter), dtype=half)
    shutil.copyfile(shot / film.CODEC_FILE, to / film.CODEC_FILE)


# ---------------------------------------------------------------------------------------------------- what is asked for


def items(study: ViMoGen, seed: int) -> solved.Items:
    """The test items of a training seed: as many of S, then of C, then of V.

    They are asked for in words of training, whose hashes alone a model knows: of the fourth paraphrase of a seen script
    the shipped one solves .06 instead of .87.
    """
    made = functools.partial(solved.items, count=study.items, rows=ROWS, text=TEXT, seed=study.items_seed + seed)
    sets = [made(split) for split in SETS]
    return jax.tree.map(lambda *parts: np.concatenate(parts), *sets)


def prompts(study: ViMoGen) -> Prompts:
    """What all students' clips are asked for: half of C, half of V with no other unseen verb than `study.distilled`;
    each pair of actions equally likely, in the paraphrases of training.

    Raises:
        ValueError: a verb in `study.distilled` that mocap does not lack.
    """
    if strange := sorted({*study.distilled} - {*splits.UNSEEN_VERBS}):
        expected = ", ".join(splits.UNSEEN_VERBS)
        raise ValueError(f"{study.name}: distilled has {strange[0]!r}, expected some of {expected}")
    keys, half = jax.random.split(draws.key(PROMPTS), 3), study.clips // 2
    with draws.settled(True):
        known = jax.jit(jax.vmap(lambda key: program.draw(key, "C")))(jax.random.split(keys[0], study.clips - half))
        unseen, chances = _distilled(study)
        rows = np.asarray(jax.random.choice(keys[1], len(chances), (half,), p=jnp.asarray(chances)))
        said = jax.random.randint(keys[2], (study.clips,), 0, program.HELD_OUT)
    both = (np.concatenate([a, b[rows]]).astype(np.int32) for a, b in zip(known, unseen, strict=True))
    script = program.Script(*both)
    return Prompts(script, np.asarray(_told(script, said)))


def _distilled(study: ViMoGen) -> tuple[program.Script, Float[np.ndarray, " n"]]:
    """The scripts of V whose unseen verbs are all in `study.distilled`, and their chances."""
    barred = {*splits.UNSEEN_VERBS} - {*study.distilled}
    every = program.scripts("V")
    lower, upper = (np.array([row.name not in barred for row in rows]) for rows in (verbs.LOWER, verbs.UPPER))
    script = jax.tree.map(lambda column: column[lower[every.lower] & upper[every.upper]], every)
    pairs = script.lower * len(verbs.UPPER) + script.upper
    _, which, sizes = np.unique(pairs, return_inverse=True, return_counts=True)
    return script, 1 / sizes[which] / len(sizes)


@jax.jit
def _told(script: program.Script, paraphrase: Array) -> Float[Array, "n l d"]:
    return jax.vmap(lambda *row: captions.of_tokens(program.tokens(*row), *TEXT))(script, paraphrase)


# -------------------------------------------------------------------------------------------------------------- films


def bank(
    study: ViMoGen,
    here: Bench,
    video: Video,
    seed: int,
    text: Float[Any, "n l d"],
    name: str | None = None,
    *,
    back: bool = False,
) -> Bank:
    """Films of the video model for texts, lifted.

    Args:
        study: sizes.
        here: where they are kept.
        video: makes and reads them.
        seed: of their noises, and of their name where it has no other; a training seed's items have that seed.
        text: what is asked for.
        name: of what is kept.
        back: begin with the last group. Of two processes that need the same films at the same time, each makes half.
    """
    text, name = np.asarray(text), name or f"seed{seed}"
    parts, groups = {}, range(-(-len(text) // study.group))
    with here.bar(f"{name}: films", len(text)) as tick:
        for number in reversed(groups) if back else groups:
            few = _group(text, number, study.group)
            # No two groups of any seed have a noise in common; within one it follows the place.
            noises = 1000 * (study.items_seed + seed) + number
            make = functools.partial(_films, study, video, few, noises)
            of = {"video": video.of, "text": hashlib.sha256(few.tobytes()).hexdigest(), "noises": noises}
            parts[number] = here.part(f"films-{name}-{number:02d}", make, code=lifted, of=of, packed=False)
            tick(min(study.group, len(text) - number * study.group))
    whole = {field: np.concatenate([parts[number][field] for number in groups]) for field in Bank._fields}
    return Bank(**{field: value[: len(text)] for field, value in whole.items()})


def _group(rows: Any, number: int, size: int) -> Any:
    """Rows of one group; the last one is filled up with its last row, so that all are one program."""
    return rows[np.minimum(np.arange(number * size, (number + 1) * size), len(rows) - 1)]


def _films(study: ViMoGen, video: Video, text: np.ndarray, noises: int) -> dict[str, np.ndarray]:
    how = {"steps": study.steps, "guidance": study.guidance, "frames": ROWS // film.EVERY}
    return lifted(video, film.imagine(video.model, video.codec, text, seed=noises, **how))


def lifted(video: Video, films: Float[Any, "n f h w 3"]) -> dict[str, np.ndarray]:
    """What is lifted from films, in half precision, by the fields of `Bank`."""
    return {name: np.asarray(x, np.float16) for name, x in LIFT(video.lift, films)._asdict().items()}


def distillation(study: ViMoGen, here: Bench, video: Video, seed: int = 0) -> tuple[Prompts, Bank]:
    """The prompts of all students' clips, and the video model's films of them, lifted.

    They are of no training seed; which one asks says with which end the films begin: processes measure the first half
    of the seeds and the second one, see `bank`.
    """
    asked, back = prompts(study), seed in study.seeds[(len(study.seeds) + 1) // 2 :]
    return asked, bank(study, here, video, PROMPTS, asked.text, "prompts", back=back)


def wild(study: ViMoGen, here: Bench, video: Video) -> Wild:
    """As many true films of S and C as there are clips, lifted, with captions in the paraphrases of training."""
    spec = Motions(sets=("S", "C"), corrupted=False, rows=ROWS)

    def make() -> dict[str, np.ndarray]:
        parts = []
        with here.bar("true films", study.clips) as tick:
            for start in range(0, study.clips, study.group):
                made = film.take(np.arange(start, start + study.group, dtype=np.uint32), WILD, spec, TEXT)
                parts.append(lifted(video, made["film"]) | {"text": np.asarray(made["text"])})
                tick(min(study.group, study.clips - start))
        return {name: np.concatenate([part[name] for part in parts])[: study.clips] for name in Wild._fields}

    return Wild(**here.part("films-true", make, of=video.of, packed=False))


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m experiments.vimogen.films", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", type=pathlib.Path, help="that vrjax train configs/vimogen/film.py has exported")
    parser.add_argument("films", type=pathlib.Path, help="the folder of films that it was trained on")
    parser.add_argument("lifter", type=pathlib.Path, help="the file that experiments.vimogen.lifter keeps")
    parser.add_argument("--out", type=pathlib.Path, default=HOME, help="(the study's own folder)")
    args = parser.parse_args(argv)
    try:
        pack(args.model, args.films, args.lifter, args.out)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
