"""The report page of the study: bodies of all arms beside each other, arms by kind of prompt, tables, claims."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.vimogen import listings, names, reading
from experiments.vimogen.config import ViMoGen
from experiments.vimogen.names import ADAPTIVE, CONTROL, LIFTED, M2M, STUDENT, SYNTHETIC, T2M, VIDEO
from experiments.vimogen.reading import DISTILLED, OTHERS, Seed
from vrjax.motion import program
from vrjax.report import html, parts
from vrjax.report.claims import Claim
from vrjax.study import page as common
from vrjax.study.tables import Tables

INTRO = """A body is to do what a sentence says. The small model of motions here learned it from procedural motion, its
mocap, in which some verbs never occur: asked in words it cannot do them. A video model has seen all verbs. ViMoGen lets
it make a film, estimates the body in it, and leads the model of motions by that reference (M2M) instead of the text
(T2M); a gate chooses for each prompt. What the gated teacher makes then teaches a student that needs no film.

Three sets of prompts: S, scripts as in training; C, known actions in compositions that training lacks; V, verbs that it
lacks. Choose a prompt above and watch what every arm makes of it."""

NOTES = (
    "Intervals (95 %) have training seeds as their unit, each with prompts of its own: at either end the outer one of "
    "a bootstrap over seeds and prompts and of Student's t on the seeds' means.",
    "One film model and one lifter serve all seeds: no interval holds what another film model would do.",
    "Words are hashed, so a verb that no training had cannot be understood: on V T2M is a floor by construction.",
    "A pass is one evaluation of a network on one motion or film; a film has half as many tokens as a motion.",
    "Rules are exact and sharp; the recogniser is a small network that has seen no model's motion.",
)
LOOK = """Every panel is one arm's motion for the same prompt and from the same noise; the truth is another performance
of the script, drawn as a ghost. Drag to look around, play the frames."""
LEDES = {
    "forests": "Share of prompts that the recogniser calls solved, with intervals; what either judge says stands in "
    "the tables. Orange: bounds and controls.",
    "curves": "Losses of the trainings, mean of the seeds.",
}
SHOWN = (VIDEO, T2M, M2M, CONTROL, STUDENT, LIFTED, SYNTHETIC)
"""Arms whose bodies are shown."""
MODELS = (VIDEO, T2M, M2M, ADAPTIVE, STUDENT, LIFTED, SYNTHETIC)
FORESTS = {
    "S": "S: seen scripts",
    "C": "C: unseen compositions",
    DISTILLED: "V: unseen verbs, distilled",
    OTHERS: "V: unseen verbs, not distilled",
}


def drawn(study: ViMoGen, tables: Mapping[str, Tables]) -> list[list[parts.Forest]]:
    """The README's picture, from kept tables: the arms on four kinds of prompts, two beside each other."""
    return paired(forests(study, reading.gathered(study, tables)))


def paired(found: Sequence[parts.Forest]) -> list[list[parts.Forest]]:
    """Two in a row."""
    return [list(found[i : i + 2]) for i in range(0, len(found), 2)]


def forests(study: ViMoGen, seeds: Sequence[Seed]) -> list[parts.Forest]:
    """Per kind of prompt the arms that every seed has, by the recogniser."""
    out = []
    for items, title in FORESTS.items():
        arms = [arm for arm in listings.ORDER if reading.there(seeds, arm, items=items)]
        effects = [_effect(study, seeds, arm, items) for arm in arms]
        if effects:
            out.append(parts.Forest(title, effects, x_label="share solved, by the recogniser"))
    return out


def _effect(study: ViMoGen, seeds: Sequence[Seed], arm: str, items: str) -> parts.Effect:
    found = listings.shown(study, seeds, arm, "recogniser", items)
    rules = float(reading.values(seeds, arm, "rules", items).mean())
    role = "model" if arm in MODELS else "control"
    ends = min(found["low"], found["share"]), max(found["high"], found["share"])
    return parts.Effect(arm, found["share"], *ends, role=role, note=f"by the rules {rules:.3f}")


def losses(seeds: Sequence[Seed]) -> list[parts.Curve]:
    """The losses of the trainings, one line each, over the share of its updates that is done."""
    tables = [seed.kept[names.part(seed.number, names.TRAINING)] for seed in seeds if seed.has(names.TRAINING)]
    lines = []
    for name in sorted({name for table in tables for name in table if not name.endswith("seconds")}):
        runs = [table[name] for table in tables if name in table]
        if len({len(run) for run in runs}) == 1 and len(runs[0]) > 1:
            x = np.linspace(0, 1, len(runs[0]) + 1)[1:]
            lines.append(parts.Series(name, np.mean(runs, 0, dtype=np.float64), x))
    return [parts.Curve("Trainings", lines, x_label="share of updates", y_label="loss", sync=False)] if lines else []


def chosen(seed: Seed, items: np.ndarray) -> list[int]:
    """Which of the items whose bodies are kept are shown, by a rule and not by taste: the first two of S and of C, the
    first distilled and the first other one of V."""
    of = lambda kind, n: [i for i in items.tolist() if seed.where(kind)[i]][:n]
    return [*of("S", 2), *of("C", 2), *of(DISTILLED, 1), *of(OTHERS, 1)]


def bodies(seed: Seed, kept: Tables) -> list[parts.Body]:
    """Motions of a seed for the viewer, an arm in the place of a noise.

    Args:
        seed: whose prompts they are.
        kept: joints (item, frame, 22, 3) by arm, and `items`, their numbers.
    """
    arms = [arm for arm in SHOWN if arm in kept and seed.has(arm)]
    trusted = seed.choices.get(ADAPTIVE)
    return [_body(seed, kept, arms, i, trusted) for i in chosen(seed, kept["items"])] if arms else []


def _body(seed: Seed, kept: Tables, arms: Sequence[str], item: int, trusted: np.ndarray | None) -> parts.Body:
    at = int(np.flatnonzero(kept["items"] == item)[0])
    script = program.Script(*(column[item] for column in seed.script))
    judged = [(bool(seed.table(arm)["rules"][item]), bool(seed.table(arm)["recogniser"][item])) for arm in arms]
    words = {(True, True): "solved", (False, False): "not solved"}
    words |= {(True, False): "solved by the rules alone", (False, True): "solved for the recogniser alone"}
    note = "" if trusted is None else f"The gate takes {'M2M' if trusted[item] else 'T2M'}."
    return parts.Body(
        name=f"{program.set_of(script)}: prompt {item}",
        prompt=program.caption(script, paraphrase=item % seed.study.items % program.HELD_OUT),  # see `solved.items`
        joints=np.stack([grounded(kept[arm][at]) for arm in arms])[:, None],
        truth=grounded(kept[names.TRUTH][at]) if names.TRUTH in kept else None,
        seeds=arms,
        solved=[all(both) for both in judged],
        outcomes=[words[both] for both in judged],
        world="procedural motion",
        note=note,
        truth_label="Another performance of the script",
    )


def grounded(joints: np.ndarray) -> np.ndarray:
    """A motion with its lowest joint on the floor and its first pelvis over the origin: rows of a model have that
    pelvis at height 0, lifted bodies have a floor."""
    first = joints[0, 0] * [1, 1, 0] + joints[..., 2].min() * np.array([0, 0, 1])
    return (joints - first).astype(np.float32)


TITLES = {
    "arms": ("All arms", "Rules and recogniser; MBench's metrics, R@1 and the distance to the truth over all prompts."),
    "gate": (
        "What the gate does",
        "Shares solved: by the rules / by the recogniser; how often it is right: by the rules.",
    ),
    "data": ("What trainings saw", "Shares solved: by the rules / by the recogniser. Differences: by the recogniser."),
    "judges": ("Two judges", "Over all prompts of all seeds."),
}


def write(
    folder: pathlib.Path,
    study: ViMoGen,
    seeds: Sequence[Seed],
    shown: Tables,
    found: Sequence[Claim],
    listed: Mapping[str, tuple[dict[str, listings.Cell], listings.Rows]],
) -> None:
    """`report.html` and `vimogen.png`.

    Args:
        folder: of the run.
        study: its sizes.
        seeds: all of them.
        shown: bodies of the first, see `bodies`.
        found: the claims.
        listed: from `listings.listed`.
    """
    moving, arms = bodies(seeds[0], shown), forests(study, seeds)
    seen = (
        parts.Scrubber(moving, "What the arms do", LOOK, "The arms, for one prompt and from one noise")
        if moving
        else None
    )
    page = parts.Page(
        title="ViMoGen on procedural motion",
        subtitle="Can films lead a model of motions to what its mocap lacks, and who should choose?",
        intro=INTRO,
        scrubbers=[seen] if seen else [],
        ledes=LEDES,
        claims=list(found),
        curves=losses(seeds),
        forests=arms,
        tables=[
            parts.Table(TITLES[name][0], list(columns), listings.cells(columns, rows), TITLES[name][1])
            for name, (columns, rows) in listed.items()
        ],
        notes=list(NOTES),
        config=dataclasses.asdict(study),
    )
    html.write(folder / "report.html", page)
    common.draw(folder / "vimogen.png", *paired(arms))
