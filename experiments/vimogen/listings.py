"""Tables of the README and of the page, from what was kept: arms, gates, data, judges.

Rows are dicts of numbers, so that a picture can be drawn of them; `told` makes text of them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.vimogen import names, reading
from experiments.vimogen.config import SETS, ViMoGen
from experiments.vimogen.reading import DISTILLED, OTHERS, PARTS, Seed
from vrjax.bench import humanml3d
from vrjax.report import seeds as statistics
from vrjax.report.tables import markdown
from vrjax.study import claims
from vrjax.study.claims import ends

Rows = list[dict[Any, Any]]
ORDER = (*names.ARMS[: names.ARMS.index(names.TRUE)], *names.GATES, *names.ARMS[names.ARMS.index(names.TRUE) :])
JUDGES = ("rules", "recogniser")
TAUGHT = {
    names.UNTRAINED: "nothing",
    names.T2M: "mocap: the teacher, asked by text",
    names.CONTROL: "teacher, and more mocap",
    names.STUDENT: "teacher, half mocap and half motions of the gated teacher",
    names.LIFTED: "teacher, half mocap and half lifted true films of S and C",
    names.SYNTHETIC: "teacher, half mocap, a quarter lifted true films, a quarter lifted films of the video model",
}
"""What each training saw; the last four are equally long and start at the teacher."""


# ----------------------------------------------------------------------------------------------------------------- rows


def passes(study: ViMoGen, seeds: Sequence[Seed], arm: str) -> tuple[float, float]:
    """What one motion costs, in passes of the film model and of the model of motions; of a gate the mean. Films are
    made in as many steps as motions are from text, each guided."""
    text = float(study.steps * (1 if study.guidance == 1 else 2))
    if arm in (names.TRUTH, names.FROZEN, names.NEAREST):
        return 0.0, 0.0
    if arm == names.VIDEO:
        return text, 0.0
    if arm == names.M2M:
        return text, float(study.steps)
    if arm == names.TRUE:
        return 0.0, float(study.steps)
    if arm == names.ORACLE:  # it has seen both
        return text, text + study.steps
    if arm in names.GATES:
        sent = float(np.mean([seed.choices[names.ADAPTIVE] for seed in seeds]))
        films = text * (sent if arm == names.RANDOM else 1.0)  # which need not look at what it does not send
        return films, sent * study.steps + (1 - sent) * text
    return 0.0, text


def arm_rows(study: ViMoGen, seeds: Sequence[Seed]) -> Rows:
    """A row per arm that every seed has, in `ORDER`: shares of S, C and V by both judges with intervals, MBench's
    metrics over all items, and, but for the random gate, R@1 and the Fréchet distance to the truth."""
    rows: Rows = []
    for arm in (arm for arm in ORDER if reading.there(seeds, arm)):
        film_passes, motion_passes = passes(study, seeds, arm)
        row: dict[Any, Any] = {"arm": arm, "film passes": film_passes, "motion passes": motion_passes}
        row |= {(split, judge): shown(study, seeds, arm, judge, split) for split in SETS for judge in JUDGES}
        row |= {metric: float(reading.values(seeds, arm, metric).mean()) for metric in names.METRICS}
        if arm != names.RANDOM:
            row["R@1"] = float(np.mean([seed.found(arm) for seed in seeds]))
            if reading.there(seeds, names.TRUTH):
                far = [humanml3d.fid(seed.features(arm), seed.features(names.TRUTH)) for seed in seeds]
                row["FID"] = float(np.mean(far))
        rows.append(row)
    return rows


def shown(study: ViMoGen, seeds: Sequence[Seed], arm: str, judge: str, items: str) -> dict[str, Any]:
    """A share, its interval, and the share of each seed."""
    found = reading.share(study, seeds, arm, judge, items)
    low, high = max(0.0, float(found.low)), min(1.0, float(found.high))
    each = [seed.mean(arm, judge, items) for seed in seeds]
    return {"share": float(found.value), "low": low, "high": high, "per seed": each}


def gate_rows(study: ViMoGen, seeds: Sequence[Seed]) -> Rows:
    """A row per set, and per kind of V: how much the gate sends to M2M, what each choice solves by either judge, and
    how often it is right by the rules. Where M2M alone solves an item the gate ought to send it, where T2M alone does
    it ought not."""
    if not reading.there(seeds, *names.GATES):
        return []
    rows: Rows = []
    for items in (*SETS, DISTILLED, OTHERS, "all"):
        if not reading.there(seeds, items=items):
            continue
        pooled = lambda of, items=items: np.concatenate([of(seed)[seed.where(items)] for seed in seeds])
        sent = pooled(lambda seed: seed.choices[names.ADAPTIVE])
        text, motion = (pooled(lambda seed, arm=arm: seed.table(arm)["rules"]) for arm in (names.T2M, names.M2M))
        of = lambda what, where: float(what[where].mean()) if where.any() else None
        row: dict[Any, Any] = {"prompts": items, "sent": float(sent.mean()), "n": len(sent)}
        for arm in (names.T2M, names.M2M, *names.GATES):
            row |= {(arm, judge): float(reading.values(seeds, arm, judge, items).mean()) for judge in JUDGES}
        row |= {"M2M solves what is sent": of(motion, sent), "M2M alone solves: sent": of(sent, motion & ~text)}
        rows.append(row | {"T2M alone solves: sent": of(sent, text & ~motion)})
    return rows


def data_rows(study: ViMoGen, seeds: Sequence[Seed]) -> Rows:
    """A row per training: what it saw, its core seconds, what it solves, and how much more than the control."""
    rows: Rows = []
    for arm in (arm for arm in TAUGHT if reading.there(seeds, arm)):
        row: dict[Any, Any] = {"arm": arm, "taught": TAUGHT[arm], "seconds": _seconds(seeds, arm)}
        for items in ("S", "C", DISTILLED, OTHERS):
            if reading.there(seeds, items=items):
                row |= {(items, judge): float(reading.values(seeds, arm, judge, items).mean()) for judge in JUDGES}
                if arm in (names.STUDENT, names.LIFTED, names.SYNTHETIC) and reading.there(seeds, names.CONTROL):
                    both = reading.difference(seeds, arm, names.CONTROL, "recogniser", items)
                    found = statistics.interval(both, bounds=(-1, 1), resamples=study.resamples)
                    row[items, "more"] = float(found.value), ends(found)
        rows.append(row)
    return rows


def _seconds(seeds: Sequence[Seed], arm: str) -> float | None:
    """Core seconds of an arm's training, mean over seeds; None where it was read and not trained."""
    name = f"{'teacher' if arm == names.T2M else arm} seconds"
    known = [seed.has(names.TRAINING) and name in seed.kept[names.part(seed.number, names.TRAINING)] for seed in seeds]
    if not all(known):
        return None
    return float(np.mean([seed.kept[names.part(seed.number, names.TRAINING)][name] for seed in seeds]))


def judge_rows(seeds: Sequence[Seed]) -> Rows:
    """A row per arm: what either judge solves of all items, how often they agree, by chance and beyond, which parts of
    the script the recogniser sees, and how near the matcher puts text and motion."""
    rows: Rows = []
    for arm in (arm for arm in names.ARMS if reading.there(seeds, arm)):
        both = [np.concatenate([seed.table(arm)[judge] for seed in seeds]) for judge in JUDGES]
        row: dict[Any, Any] = {"arm": arm, "n": len(both[0]), **reading.agreement(*both)._asdict()}
        row |= {name: float(reading.values(seeds, arm, name).mean()) for name in (*JUDGES, *PARTS, "match")}
        rows.append(row)
    return rows


# ----------------------------------------------------------------------------------------------------------------- text

Cell = Callable[[Mapping[Any, Any]], str]


def _number(name: Any, form: str = ".3f") -> Cell:
    return lambda row: "" if row.get(name) is None else format(row[name], form)


def _between(name: Any) -> Cell:
    return lambda row: claims.between(row[name]["share"], (row[name]["low"], row[name]["high"]), ".3f")


def _pair(name: Any) -> Cell:
    """Rules and recogniser."""
    return lambda row: f"{row[name, 'rules']:.3f} / {row[name, 'recogniser']:.3f}" if (name, "rules") in row else ""


def _more(items: str) -> Cell:
    return lambda row: claims.between(*row[items, "more"]) if (items, "more") in row else ""


def _cost(row: Mapping[Any, Any]) -> str:
    films = f"film {row['film passes']:.0f}" if row["film passes"] else ""
    motions = f"{row['motion passes']:.0f}" if row["motion passes"] else ""
    return " + ".join(filter(None, (films, motions))) or "0"


ARMS: dict[str, Cell] = {
    "arm": lambda row: row["arm"],
    "passes": _cost,
    **{f"{split}, rules [95 %]": _between((split, "rules")) for split in SETS},
    **{f"{split}, recogniser [95 %]": _between((split, "recogniser")) for split in SETS},
    **{name.replace("_", " "): _number(name, ".4f") for name in names.METRICS},
    "R@1": _number("R@1"),
    "FID": _number("FID"),
}
GATE: dict[str, Cell] = {
    "prompts": lambda row: row["prompts"],
    "n": _number("n", "d"),
    "sent to M2M": _number("sent"),
    **{arm: _pair(arm) for arm in (names.T2M, names.M2M, *names.GATES)},
    "of what is sent, M2M solves": _number("M2M solves what is sent"),
    "of what M2M alone solves, sent": _number("M2M alone solves: sent"),
    "of what T2M alone solves, sent": _number("T2M alone solves: sent"),
}
DATA: dict[str, Cell] = {
    "training": lambda row: "teacher" if row["arm"] == names.T2M else row["arm"],
    "has seen": lambda row: row["taught"],
    "core seconds": _number("seconds", ".0f"),
    **{items: _pair(items) for items in ("S", "C")},
    **{f"V, {items}": _pair(items) for items in (DISTILLED, OTHERS)},
    **{f"{items}, minus control [95 %]": _more(items) for items in ("S", "C")},
    **{f"V, {items}, minus control [95 %]": _more(items) for items in (DISTILLED, OTHERS)},
}
JUDGED: dict[str, Cell] = {
    "arm": lambda row: row["arm"],
    "n": _number("n", "d"),
    **{name: _number(name) for name in JUDGES},
    "agree": _number("agree"),
    "by chance": _number("chance"),
    "kappa": _number("kappa"),
    **{name: _number(name) for name in PARTS},
    "cosine of text and motion": _number("match"),
}


def plain(rows: Rows) -> list[dict[str, Any]]:
    """Rows as JSON holds them: names of several words in one."""
    words = lambda name: name if isinstance(name, str) else ", ".join(name)
    return [{words(name): value for name, value in row.items()} for row in rows]


def cells(columns: Mapping[str, Cell], rows: Rows) -> list[list[str]]:
    """Rows as text, columns in their order."""
    return [[cell(row) for cell in columns.values()] for row in rows]


def listed(study: ViMoGen, seeds: Sequence[Seed]) -> dict[str, tuple[dict[str, Cell], Rows]]:
    """All tables that hold something, by the names of the README's blocks: columns and rows."""
    every = {
        "arms": (ARMS, arm_rows(study, seeds)),
        "gate": (GATE, gate_rows(study, seeds)),
        "data": (DATA, data_rows(study, seeds)),
        "judges": (JUDGED, judge_rows(seeds)),
    }
    return {name: one for name, one in every.items() if one[1]}


def told(found: Mapping[str, tuple[dict[str, Cell], Rows]]) -> dict[str, str]:
    """The tables as markdown."""
    return {name: markdown(list(columns), cells(columns, rows)) for name, (columns, rows) in found.items()}
