"""Chain-of-Steps on motions: when along the denoising steps a motion is decided, and what seeds say together.

    python -m experiments.vimogen.instruments runs/vimogen-small/model --out runs/vimogen-instruments

Every guess x0 of every step is read by two judges: the recogniser says which verb of the legs and of the arms it shows
(`recogniser.py`), and toes say where feet stand. Something is decided at the first step from which its reading never
changes again. What the text says and what it leaves open are told apart by the finished motions of other noises of the
same text: verbs agree there too, footfalls do not.

Then seeds that are averaged at one site in every step (`lax.pmean` over the axis "seed") beside seeds on their own.
Prompts are the first test scripts of set S. Intervals are of prompts, of one model: another training may differ.
Writes results.json and report.html.
"""

import argparse
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from experiments.vimogen import recogniser, solved
from vrjax.files import writing
from vrjax.flow import draws, grids, sample
from vrjax.motion import program, smoothing
from vrjax.motion.program import predicates, verbs
from vrjax.reasoning.instruments import counts
from vrjax.report import html, parts, statistics
from vrjax.study.sizes import positive

ALIKE = 0.95  # share of frames and feet that stand as at the end: footfalls are decided
LOW, SLOW, FPS = 0.05, 0.2, 20.0  # m over the lowest toe, m/s: a foot that stands
TOES = (10, 11)
PAGE = 4  # prompts in the page's viewer
WALKS = np.array([row.lift > 0 for row in verbs.LOWER])


class Reading(NamedTuple):
    """What guesses show, by prompt, noise and step.

    Attributes:
        verb, arms (n, k, s): rows of verbs.LOWER and verbs.UPPER.
        right (n, k, s): whether the recogniser agrees with the whole script.
        rules (n, k, s): whether the exact predicates do.
        stands (n, k, s, t, 2): where each foot stands.
        last (n, k, t, 22, 3): joints at the end.
    """

    verb: Int[Array, "n k s"]
    arms: Int[Array, "n k s"]
    right: Bool[Array, "n k s"]
    rules: Bool[Array, "n k s"]
    stands: Bool[Array, "n k s t 2"]
    last: Float[Array, "n k t 22 3"]


def stands(joints: Float[Array, "t 22 3"]) -> Bool[Array, "t 2"]:
    """Whether a foot is low over the lowest toe of all frames, and slow to the next frame."""
    toes = joints[:, TOES, :]
    way = jnp.concatenate([toes[1:] - toes[:-1], toes[-1:] - toes[-2:-1]])
    return (toes[..., 2] < toes[..., 2].min() + LOW) & (jnp.linalg.norm(way, axis=-1) * FPS < SLOW)


def sites(model: Any) -> tuple[str, ...]:
    """Where noises are averaged."""
    return ("embed", *(f"block.{i}" for i in range(model.cfg.layers)))


@functools.partial(jax.jit, static_argnames=("asked", "noises"))
def watch(
    model: Any,
    judge: recogniser.Recogniser,
    items: solved.Items,
    asked: solved.Asked,
    noises: int,
    mixed: Float[Array | np.ndarray, " sites"],
    seed: int = 0,
) -> Reading:
    """Motions of each text from the same noises, all steps read in one program.

    Args:
        model, judge: of motions.
        items: their scripts and texts.
        asked: how they are sampled.
        noises: how many.
        mixed: at each of `sites` how much of the noises' mean goes in the place of each: 0, they do not meet, to 1.
        seed: of the noises.
    """
    grid = grids.vimogen(asked.steps, asked.shift or 1.0)
    shape = (noises, items.reference.shape[1], model.cfg.channels)
    noise = jax.random.normal(draws.key(seed), shape)
    mean = lambda h, share: h + share * (jax.lax.pmean(h, "seed") - h)
    edits = {site: functools.partial(mean, share=mixed[i]) for i, site in enumerate(sites(model))}

    def of_text(each: tuple) -> Reading:
        script, text = each
        velocity = model.guided(text, jnp.zeros_like(text), asked.guidance, mode="text", edits=edits)

        def of_noise(noise: Array) -> Reading:
            guesses = sample(velocity, noise, grid).x0
            joints = jax.vmap(lambda rows: solved.joints_of(smoothing.smooth(rows), asked.path))(guesses)
            seen = jax.vmap(recogniser.recognise, (None, 0))(judge, joints)
            told = jax.tree.map(lambda x: jnp.broadcast_to(x, (asked.steps,)), script)
            rules = jax.vmap(predicates.agrees)(told, joints)
            right = recogniser.agrees(told, seen).all
            return Reading(
                jnp.asarray(seen.lower), jnp.asarray(seen.upper), right, rules, jax.vmap(stands)(joints), joints[-1]
            )

        return jax.vmap(of_noise, axis_name="seed")(noise)

    return jax.lax.map(of_text, (items.script, items.text))


def alike(stands: np.ndarray) -> np.ndarray:
    """(n, k, s): the share of frames and feet that stand as they do at the end."""
    return (stands == stands[:, :, -1:]).mean((-2, -1))


def others(last: np.ndarray, same: Any = np.equal) -> np.ndarray:
    """(n,): how alike what two different noises of one text end in are, over all pairs."""
    k = last.shape[1]
    pairs = [(a, b) for a in range(k) for b in range(k) if a < b]
    each = [np.asarray(same(last[:, a], last[:, b]), float) for a, b in pairs]
    return np.mean([x.reshape(len(x), -1).mean(1) for x in each], 0)


class Decided(NamedTuple):
    """Of one reading: how alike the end each step is, when it is decided, and how alike the ends of other noises are.

    Attributes:
        curve (n, s): share of noises whose reading is that of the end.
        step (n,): mean over noises of the first step from which it never changes.
        text (n,): agreement of the ends of two noises: what the text alone decides.
    """

    curve: np.ndarray
    step: np.ndarray
    text: np.ndarray


def decided(found: Reading) -> dict[str, Decided]:
    """When the verb of the legs, that of the arms, and the footfalls of walks are decided."""
    out = {}
    for name in ("verb", "arms"):
        value = np.asarray(getattr(found, name))
        same = value == value[:, :, -1:]
        out[name] = Decided(same.mean(1), counts.commitment(value).mean(1), others(value[:, :, -1]))
    said = np.asarray(found.verb)[:, 0, -1]
    walks = WALKS[said]
    if walks.any():
        feet = np.asarray(found.stands)[walks]
        share = alike(feet)
        step = counts.commitment(share >= ALIKE).mean(1)
        out["footfalls"] = Decided(share.mean(1), step, others(feet[:, :, -1]))
    return out


def spread(last: Float[np.ndarray, "n k t 22 3"]) -> np.ndarray:
    """(n,): mean distance of joints of two noises of one text, in metres, each under its own pelvis' way."""
    own = last - last[:, :, :, :1] * np.array([1.0, 1.0, 0.0])
    k = last.shape[1]
    pairs = [(a, b) for a in range(k) for b in range(k) if a < b]
    return np.mean([np.linalg.norm(own[:, a] - own[:, b], axis=-1).mean((1, 2)) for a, b in pairs], 0)


def told(values: np.ndarray) -> dict[str, float]:
    """A mean over prompts and its interval."""
    found = statistics.cluster_bootstrap(np.asarray(values, float))
    return {"mean": float(found.value), "low": float(found.low), "high": float(found.high), "n": found.n}


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.vimogen.instruments",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = solved.Asked(path="position")
    parser.add_argument("model", type=pathlib.Path, help="a folder that vrjax train has exported")
    parser.add_argument("--prompts", type=positive, default=100, help="test scripts of set S (100)")
    parser.add_argument("--noises", type=positive, default=8, help="of each prompt (8)")
    parser.add_argument("--coupled", type=positive, default=32, help="prompts of the ensembles (32)")
    parser.add_argument("--steps", type=positive, default=default.steps, help="denoising steps (%(default)s)")
    parser.add_argument("--guidance", type=float, default=default.guidance, help="of the text (%(default)s)")
    parser.add_argument("--path", choices=solved.PATHS, default=default.path, help="to joints (%(default)s)")
    parser.add_argument(
        "--judge", type=pathlib.Path, default=pathlib.Path("runs/vimogen"), help="where the recogniser is"
    )
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("runs/vimogen-instruments"), help="(%(default)s)"
    )
    args = parser.parse_args(argv)
    if args.noises < 2:
        parser.exit(2, f"{parser.prog}: --noises {args.noises}, expected at least 2: seeds are compared\n")
    try:
        results = measure(args)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    writing.json(args.out / "results.json", results)
    print(args.out / "report.html")


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Everything, and the page."""
    model, spec, config = solved.opened(args.model)
    judge = recogniser.trained(args.judge)
    shift = config.objective.shift
    asked = solved.Asked(args.steps, args.guidance, args.path, shift)
    text = (model.cfg.text_len, model.cfg.text_dim)
    items = solved.items("S", args.prompts, spec.rows, text)
    names = sites(model)
    found = jax.tree.map(np.asarray, watch(model, judge, items, asked, args.noises, np.zeros(len(names), np.float32)))
    when = decided(found)
    few = jax.tree.map(lambda x: x[: args.coupled], items)
    where = {"on their own": np.zeros(len(names), np.float32)}
    where |= {name: np.eye(len(names), dtype=np.float32)[i] for i, name in enumerate(names)}
    arms = {name: watch(model, judge, few, asked, args.noises, mixed) for name, mixed in where.items()}
    together = {
        name: {
            "recogniser": told(np.asarray(arm.right)[..., -1].mean(1)),
            "predicates": told(np.asarray(arm.rules)[..., -1].mean(1)),
            "spread": told(spread(np.asarray(arm.last))),
        }
        for name, arm in arms.items()
    }
    results = {
        "asked": {"prompts": args.prompts, "noises": args.noises, **asked._asdict()},
        "decided": {
            name: {"step": told(one.step), "text": told(one.text), "curve": one.curve.mean(0).tolist()}
            for name, one in when.items()
        },
        "right": {"recogniser": found.right.mean((0, 1)).tolist(), "predicates": found.rules.mean((0, 1)).tolist()},
        "together": together,
    }
    html.write(args.out / "report.html", page(found, items, results, asked))
    for name, row in results["decided"].items():
        print(f"{name:10} decided at step {line(row['step'])} of {asked.steps}; other noises agree {line(row['text'])}")
    for name, row in together.items():
        print(f"{name:13}" + "  ".join(f"{what} {line(value)}" for what, value in row.items()))
    return results


def line(row: Mapping[str, float]) -> str:
    """A mean with its interval."""
    return f"{row['mean']:.3g} [{row['low']:.3g}, {row['high']:.3g}]"


def page(found: Reading, items: solved.Items, results: Mapping[str, Any], asked: solved.Asked) -> html.Page:
    """The page: when each reading is that of the end, and ensembles."""
    curves = [
        parts.Curve(
            "How much of the end each guess shows",
            [parts.Series(name, np.array(row["curve"])) for name, row in results["decided"].items()]
            + [
                parts.Series(f"{name}, another noise's end", np.full(asked.steps, row["text"]["mean"]), role="null")
                for name, row in results["decided"].items()
            ],
            caption="Dashed: how far the ends of two noises of one text agree, which is what the text decides alone.",
            y_label="share",
            sync=False,  # the viewer above has ends alone
        ),
        parts.Curve(
            "Guesses that do what the text says",
            [parts.Series(name, np.array(row)) for name, row in results["right"].items()],
            y_label="share",
            sync=False,
        ),
    ]
    effects = lambda what: [
        parts.Effect(name, *(row[what][k] for k in ("mean", "low", "high")), n=row[what]["n"])
        for name, row in results["together"].items()
    ]
    forests = [
        parts.Forest("Noises averaged at one site: solved", effects("recogniser"), x_label="share by the recogniser"),
        parts.Forest("Noises averaged at one site: how far apart", effects("spread"), x_label="metres"),
    ]
    table = parts.Table(
        "Decided",
        ("what", "step", "ends of two noises agree", "prompts"),
        [(name, line(row["step"]), line(row["text"]), row["step"]["n"]) for name, row in results["decided"].items()],
        caption="Means over prompts with 95 % intervals of prompts.",
    )
    scripts = [jax.tree.map(lambda x, i=i: np.asarray(x[i]), items.script) for i in range(PAGE)]
    bodies = [
        parts.Body(f"prompt {i}", program.caption(script, i % program.HELD_OUT), found.last[i][:, None],
                   truth=np.asarray(items.joints[i]), truth_label="Another performance",
                   solved=[bool(x) for x in found.right[i, :, -1]])
        for i, script in enumerate(scripts[: len(found.last)])
    ]  # fmt: skip
    return html.Page(
        "Motions along the denoising steps",
        subtitle=f"{results['asked']['prompts']} prompts, {results['asked']['noises']} noises, {asked.steps} steps",
        scrubbers=[parts.Scrubber(bodies, title="Ends", text="The finished motions of all noises of some prompts.")],
        curves=curves,
        forests=forests,
        tables=[table],
        config=dict(results["asked"]),
        ledes={
            "curves": "The verb is in the text and there from the first steps; where feet stand is not in it.",
            "forests": "What an average over noises at one site, in every step, does to them.",
        },
    )


if __name__ == "__main__":
    main()
