"""HumanML3D's protocol for a model of procedural motions, by an evaluator of this house.

    python -m experiments.vimogen.humanml vrjax/models/embedded/weights/motion --path position

The measures are the protocol's (`vrjax.bench.humanml3d`); data and evaluator are not: motions of
`vrjax.motion.program`, judged by its program-matcher. Numbers compare with each other here, and with no paper's.
Beside the model's branches: other performances of the same scripts, the same beside captions of others, each one's
first pose held still, and the motion of training whose caption is nearest.

One set of motions serves all replications, whose intervals then show the spread of batches and pairs; with --anew the
model's motions are sampled for each, as the protocol has it, in as many times the time.
"""

import argparse
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.vimogen import solved
from experiments.vimogen.solved import Asked, Items
from vrjax.bench import humanml3d
from vrjax.files import kept, writing
from vrjax.flow import draws
from vrjax.models.embedded import matcher
from vrjax.motion import program
from vrjax.study.sizes import positive

SEED = 9002  # of draws of pairs, and of further performances
OTHERS = "captions of others"
TITLE = "Set {split}, by {by}, which is not the evaluator of papers:"


class Sizes(NamedTuple):
    """How much is measured.

    Attributes:
        clips: motions with a caption each; full batches of 32 count.
        real: further real motions, for the Fréchet distance.
        texts, times: of the first captions, so many motions each, for multimodality.
        repeats: replications.
    """

    clips: int = 256
    real: int = 1024
    texts: int = 32
    times: int = 10
    repeats: int = humanml3d.REPEATS


class Made(NamedTuple):
    """The motions of one row: one for each caption, and several for the first captions."""

    joints: Float[Array, "n t 22 3"]
    many: Float[Array, "texts times t 22 3"]


@functools.partial(jax.jit, static_argnames=("times", "frames"))
def performed(scripts: program.Script, times: int, frames: int) -> Float[Array, "n times t 22 3"]:
    """Other performances of scripts, their joints."""

    def one(number: Array) -> Array:
        script = jax.tree.map(lambda column: column[number // times], scripts)
        key = jax.random.fold_in(draws.key(SEED), number)
        return program.perform(key, script, frames + 1).motion.joints[:-1]  # as long as a model's, which lacks the last

    count = len(scripts.lower)
    flat = jax.lax.map(one, jnp.arange(count * times), batch_size=solved.GROUP)
    return flat.reshape(count, times, *flat.shape[1:])


def said(scripts: program.Script) -> list[str]:
    """The captions that `solved.items` gives its motions, as strings."""
    rows = zip(*(np.asarray(column) for column in scripts), strict=True)
    return [program.caption(program.Script(*row), i % program.HELD_OUT) for i, row in enumerate(rows)]


def split_up(joints: Float[Array, "n t 22 3"], sizes: Sizes) -> Made:
    """One row's motions, where those for multimodality stand behind the others."""
    many = joints[sizes.clips :].reshape(sizes.texts, sizes.times, *joints.shape[1:])
    return Made(joints[: sizes.clips], many)


def measured(
    folder: pathlib.Path,
    evaluator: humanml3d.Evaluator,
    *,
    split: str,
    asked: Asked,
    sizes: Sizes = Sizes(),  # noqa: B008
    anew: bool = False,
) -> list[dict[str, Any]]:
    """The lines of the protocol's table (`humanml3d.summary`) of the model in a folder that `vrjax train` has exported.

    Args:
        folder: of the model.
        evaluator: who judges.
        split: S, C or V.
        asked: how the model is sampled.
        sizes: how much is measured.
        anew: whether the model is sampled for each replication.

    Raises:
        FileNotFoundError, ValueError: no such model, or it was not trained on procedural motions; fewer clips than a
            batch.
    """
    model, spec, config = solved.opened(folder)
    if not humanml3d.BATCH <= sizes.clips or sizes.texts > sizes.clips:
        raise ValueError(f"clips: expected at least {max(humanml3d.BATCH, sizes.texts)}, found {sizes.clips}")
    asked = asked._replace(shift=config.objective.shift if asked.shift is None else asked.shift)
    branches = {"text": (solved.TEXT,), "motion": (solved.MOTION,)}.get(model.cfg.mode, (solved.TEXT, solved.MOTION))
    every = solved.items(split, sizes.clips + sizes.real, spec.rows, (model.cfg.text_len, model.cfg.text_dim))
    items: Items = jax.tree.map(lambda x: x[: sizes.clips], every)
    tail = lambda x: jnp.concatenate([x, jnp.repeat(x[: sizes.texts], sizes.times, axis=0)])
    posed: Items = jax.tree.map(tail, items)  # the first captions again, for multimodality
    still = lambda x: jnp.broadcast_to(x[..., :1, :, :], x.shape)

    first = jax.tree.map(lambda x: x[: sizes.texts], items.script)
    true = Made(items.joints, performed(first, sizes.times, spec.rows))
    words, truth = said(items.script), every.joints[sizes.clips :]
    read = lambda made, captions=words: humanml3d.encode(evaluator, captions, made.joints, truth, made.many)
    near = solved.nearest(spec, config.seed, items.text)
    found: dict[str, Any] = {
        humanml3d.TRUTH: read(true),
        OTHERS: read(true, words[1:] + words[:1]),
        solved.FROZEN: read(Made(*map(still, true))),
        solved.NEAREST: read(split_up(tail(near), sizes)),
    }
    for branch in branches:
        draw = lambda seed, branch=branch: read(split_up(solved.generate(model, posed, asked, branch, seed), sizes))
        found[branch] = draw if anew else draw(0)

    pairs, many = min(humanml3d.PAIRS, sizes.clips), min(humanml3d.MANY, sizes.times)
    how = {"repeats": sizes.repeats, "pairs": pairs, "many": many}
    scores = {name: humanml3d.evaluate(row, draws.key(SEED), **how) for name, row in found.items()}
    return humanml3d.summary(scores)


def table(lines: Sequence[Mapping[str, Any]], by: str) -> str:
    """The lines as Markdown."""
    head, body = humanml3d.cells(lines, by)
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body))


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m experiments.vimogen.humanml", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    ways, sizes = Asked(), Sizes()
    parser.add_argument("model", type=pathlib.Path, help="a folder that vrjax train has exported")
    parser.add_argument("--clips", type=positive, default=sizes.clips, help="motions, a caption each (%(default)s)")
    parser.add_argument("--real", type=positive, default=sizes.real, help="further real motions (%(default)s)")
    parser.add_argument("--texts", type=positive, default=sizes.texts, help="captions of several motions (%(default)s)")
    parser.add_argument("--times", type=positive, default=sizes.times, help="motions of each of them (%(default)s)")
    parser.add_argument("--repeats", type=positive, default=sizes.repeats, help="replications (%(default)s)")
    parser.add_argument("--anew", action="store_true", help="sample the model for each replication")
    parser.add_argument("--steps", type=positive, default=ways.steps, help="denoising steps (%(default)s)")
    parser.add_argument("--guidance", type=float, default=ways.guidance, help="of the text (%(default)s)")
    parser.add_argument("--path", choices=solved.PATHS, default=ways.path, help="to joints (%(default)s)")
    parser.add_argument("--sets", nargs="+", choices=program.SETS, default=("S",), help="(S)")
    parser.add_argument("--evaluator", type=pathlib.Path, default=matcher.FOLDER, help="(the package's own)")
    parser.add_argument(
        "--json", type=pathlib.Path, help="where the numbers go (humanml.json beside the model's folder)"
    )
    args = parser.parse_args(argv)
    asked = Asked(args.steps, args.guidance, args.path)
    sizes = Sizes(args.clips, args.real, args.texts, args.times, args.repeats)
    found: dict[str, Any] = {}
    try:
        judge = humanml3d.program_matcher(args.evaluator)
        for split in args.sets:
            found[split] = measured(args.model, judge, split=split, asked=asked, sizes=sizes, anew=args.anew)
            print(TITLE.format(split=split, by=judge.name), table(found[split], judge.name), sep="\n\n", end="\n\n")
        weights = kept.fingerprint(args.evaluator / matcher.FILE)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    how = {"asked": asked._asdict() | sizes._asdict() | {"anew": args.anew}}
    by = {"evaluator": {"name": judge.name, "fingerprint": weights}}
    writing.json(args.json or args.model.parent / "humanml.json", by | how | {"sets": found})


if __name__ == "__main__":
    main()
