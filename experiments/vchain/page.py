"""The report page of the study: scrub the arms' videos scene by scene, then arms, trade-off, claims."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.vchain import suite, verdicts
from experiments.vchain.config import VChain
from vrjax.files.pixels import to_uint8
from vrjax.report import figures, html, parts
from vrjax.report.claims import Claim
from vrjax.study import page as common
from vrjax.study.tables import Tables

INTRO = """Dominoes, taps, cups, lamps and scales stand in a row; each passes on what happens to it. The small video
models here have two flaws. With a short prompt they follow a wrong rule more often than not, and they have a wrong idea
of what a broken egg or a duck afloat looks like.

VChain asks a reasoner for a few keyframes of what will follow, tunes a low-rank adapter on these stills for this one
prompt, and samples with all captions in order. Choose an arm below and move through its frames. A clip counts when it
ends as it must and breaks no rule on the way."""

NOTES = (
    "Intervals (95 %) have bases as their unit: at either end the outer one of a bootstrap over bases and scenes and "
    "of Student's t on the bases' means; p-values of claims flip the signs of whole bases.",
    "F is one pass of the network over one whole video. An update of the adapters costs three passes over its stills.",
    "Familiar scenes are those in which text suffices; in novel ones an egg breaks or a duck floats. Shares of each "
    "base are in hundredths, in the order of the bases.",
    "The scenes shown are the first of the first base.",
)


FRONT = ("t2v", "augmented", "text", "vchain", "tuned_short", "placebo", "tries", "linear", "nearest", "pinned", "held")
LOOK = """Each panel is the whole film that one arm made; play the frames. The mark says whether it ends as it must and
breaks no rule on the way. In unseen scenes an egg breaks or a duck floats, which the base believes to look otherwise:
only the tuned adapter can have learned the look from the keyframes."""
ALL = "Every arm that was run, on the first scenes of the first base. Choose an arm to see its film large."
LEDES = {
    "curves": "What tuning costs and brings: the study's own measures, and the same told apart by scenes (dotted).",
    "forests": "Differences to the plain model (T2V) on the same scenes and noises, with 95 % intervals over bases. "
    "Orange arms are controls: what another scene's adapter, shuffled captions or a bare keyframe do.",
    "pictures": "The scene of the strips is the first in which something unseen happens.",
}
STRIPS = ("t2v", "augmented", "text", "nearest", "vchain", "placebo", "tuned_short")
SHOWN = 6  # scenes of which every arm is shown


def drawn(study: VChain, tables: Mapping[str, Tables]) -> list[common.Drawn]:
    """The README's picture, from kept tables: the arms on familiar and on novel scenes, and the trade-off."""
    found = verdicts.gathered(study, tables)
    novel = verdicts.novel_scenes(found)
    rows = {row["arm"]: row for row in verdicts.arm_rows(found, novel, study)}
    share = lambda arm, scenes: (rows[arm][scenes][key] for key in ("share", "low", "high"))
    effects = lambda scenes: [
        parts.Effect(name, *share(arm, scenes), role="model" if arm == "vchain" else "control")
        for arm, name in ((arm, suite.label(arm)) for arm in FRONT)
        if arm in rows and scenes in rows[arm]
    ]
    words = {"familiar": "Familiar scenes, where text suffices", "novel": "Novel scenes: an egg breaks, a duck floats"}
    out: list[common.Drawn] = [
        parts.Forest(title, effects(scenes), x_label="share of complete and lawful clips")
        for scenes, title in words.items()
        if effects(scenes)
    ]
    curve = verdicts.curve_rows(found, novel, study)
    return [*out, trade_off(curve, study)] if curve else out


def strips(one: suite.Base, tables: Mapping[str, Tables]) -> Figure:
    """Film strips of some arms on one scene, and whether each is complete and lawful.

    The scene is chosen by a rule: the first in which a novel kind changes, else the first.
    """
    i = int(one.on.novel[: suite.KEPT].argmax())
    arms = [arm for arm in STRIPS if arm in one.films]
    right = [bool(tables[arm]["primary"][i, 0]) for arm in arms]
    return figures.film_strip(
        np.stack([one.films[arm][i] for arm in arms]),
        labels=[f"{suite.label(a)}  [{'right' if r else 'wrong'}]" for a, r in zip(arms, right, strict=True)],
        truth=to_uint8(one.on.clips[i].video),
        title="The first test scene in which something unseen happens; first noise",
        width=9.6,
    )


def scrubbers(one: suite.Base, tables: Mapping[str, Tables]) -> list[parts.Scrubber]:
    """The main arms beside each other, and all arms."""
    every = [arm for arm in one.films if arm != "truth"]
    main = [arm for arm in STRIPS if arm in every]
    first = parts.Scrubber(
        [case(one, tables, main, i, name) for i, name in telling(one, tables)],
        title="The arms on one scene",
        text=LOOK,
        compare="The arms, from one first frame and one noise",
    )
    if len(every) == len(main):
        return [first]
    scenes = [case(one, tables, every, i, "") for i in range(min(SHOWN, len(one.on.clips)))]
    return [first, parts.Scrubber(scenes, title="All arms, scene by scene", text=ALL)]


def telling(one: suite.Base, tables: Mapping[str, Tables]) -> list[tuple[int, str]]:
    """Scenes to show and what they are, by a rule and not by taste: among those whose films are kept the first novel
    one that VChain solves and the first that it does not, then the first familiar one."""
    novel = np.asarray(one.on.novel[: suite.KEPT], bool)
    right = np.asarray(tables["vchain"]["primary"][: len(novel), 0], bool)
    rules = (
        ("Unseen, and VChain is right", novel & right),
        ("Unseen, and VChain is wrong", novel & ~right),
        ("Familiar", ~novel),
    )
    found = [(int(which.argmax()), name) for name, which in rules if which.any()]
    return found or [(0, "")]


def case(one: suite.Base, tables: Mapping[str, Tables], arms: Sequence[str], i: int, name: str) -> parts.Case:
    """Scene i, an arm in the place of a seed."""
    on = one.on
    films = np.stack([one.films[arm][i] for arm in arms])[:, None]
    right = [bool(tables[arm]["primary"][i, 0]) for arm in arms]
    said = name or ("something unseen happens" if on.novel[i] else "familiar")
    return parts.Case(
        name=f"Scene {on.seeds[i]}: {said[:1].lower()}{said[1:]}",
        prompt=on.clips[i].prompt,
        x0=common.enlarged(films),
        truth=common.enlarged(to_uint8(on.clips[i].video)),
        seeds=[suite.label(arm) for arm in arms],
        solved=right,
        outcomes=["complete and lawful" if r else "wrong" for r in right],
        world="chains",
        note=f"The story: {on.chains[i].story}",
        truth_label="True film",
    )


def trade_off(curve: Sequence[Mapping[str, Any]], study: VChain) -> parts.Curve:
    """The primary and the motion with their bands, and the novel look, over the updates of the adapters."""
    x = np.array([row["updates"] for row in curve], float)
    series = [
        parts.Series(
            name, [row[key] for row in curve], x, [r[f"{key}_low"] for r in curve], [r[f"{key}_high"] for r in curve]
        )
        for key, name in (("primary", "complete and lawful"), ("motion", "motion, 1: as the true film"))
    ]
    for key, name in (("familiar", "familiar scenes"), ("novel", "novel scenes"), ("appearance", "novel looks right")):
        if all(key in row for row in curve):
            series.append(parts.Series(name, [row[key] for row in curve], x, role="control"))
    caption = f"Over updates of the adapters; the study's: {study.tuning}."
    return parts.Curve("Tuning too short, too long", series, caption, x_label="updates of the adapters", sync=False)


def write(
    folder: pathlib.Path,
    one: suite.Base,
    tables: Mapping[str, Tables],
    rows: Sequence[Mapping[str, Any]],
    curve: Sequence[Mapping[str, Any]],
    found: Sequence[Claim],
    study: VChain,
) -> None:
    """`report.html` and `vchain.png`.

    Args:
        one: the base whose scenes are shown.
        tables: its tables.
        rows, curve: from `verdicts.arm_rows` and `verdicts.curve_rows`.
    """
    forest = parts.Forest(
        "All arms",
        [
            parts.Effect(
                f"{r['label']} ({r['cost']:.0f} F)",
                r["difference"],
                *r["difference_interval"],
                role="control" if r["label"].startswith("control") else "model",
                note=f"complete and lawful {r['all']['share']:.3f}",
            )
            for r in rows
            if r["arm"] not in ("t2v", "truth", "still")
        ],
        "Share of complete and lawful clips minus T2V's, on the same scenes and noises.",
        x_label="difference to T2V",
        reference=0.0,
        reference_label="T2V",
    )
    curves = [trade_off(curve, study)] if curve else []
    common.draw(folder / "vchain.png", strips(one, tables), forest, *curves)
    shown = [parts.Table("All arms", verdicts.HEAD, [verdicts.arm_cells(row) for row in rows])]
    if curve:
        head = list(verdicts.CURVE)
        shown.append(parts.Table("Tuning too short, too long", head, [verdicts.curve_cells(row) for row in curve]))
    bill = [[r["part"], r["bases"], f"{r['minutes']:.2f}"] for r in suite.bills(folder)]
    if bill:
        shown.append(parts.Table("The bill of this run", ["part", "bases", "CPU minutes a base"], bill))
    html.write(
        folder / "report.html",
        parts.Page(
            title="VChain in a world of causal chains",
            subtitle="Do visual thoughts make a video model follow cause and effect?",
            intro=INTRO,
            scrubbers=scrubbers(one, tables),
            ledes=LEDES,
            claims=list(found),
            curves=curves,
            forests=[forest],
            tables=shown,
            pictures=[parts.Picture("Film strips", folder / "vchain.png", "Frames of the arms and the outcome of all")],
            notes=list(NOTES),
            config=dataclasses.asdict(study),
        ),
    )
