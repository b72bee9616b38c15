"""Tables of the exploratory list: every arm and dose, of the models and of everyone beside them.

Numbers are means over training seeds of each seed's mean; where there are several seeds, with the smallest and the
largest of them in brackets. Verdicts are on the claims' lines only.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.chain_of_steps import readings as read
from experiments.chain_of_steps.swaps import MODES
from vrjax.reasoning.instruments import arms
from vrjax.study.tables import Tables

Lines = list[dict[str, Any]]
PEOPLE = {"null": "null model", "untrained": "untrained", "causal": "frame-causal"}
SHORT = (5, 7, 9, 11, 13, 15, 17, 20, 25)  # steps of a path at which a row of the length law begins


def whom(measured: Any, part: str) -> Iterator[tuple[str, Sequence[Tables]]]:
    """Everyone who was measured by a part, the models first."""
    if measured.models.get(part):
        yield "model", measured.models[part]
    for who, name in PEOPLE.items():
        if found := measured.others.get(who, {}).get(part):
            yield name, found


def told(values: Sequence[Any], form: str = ".3f") -> str:
    """Mean over seeds of each seed's mean, and the range of the seeds."""
    means = [float(np.nanmean(v)) for v in values if np.size(v) and np.isfinite(v).any()]
    if not means:
        return "-"
    ends = f" [{min(means):{form}}, {max(means):{form}}]" if len(means) > 1 else ""
    return f"{np.mean(means):{form}}{ends}"


def perception(measured: Any) -> Lines:
    """When the looks at both doors, and the place at the exit, are decided."""
    rows = []
    for name, tables in whom(measured, "entrant/trajectories"):
        each = lambda fn, tables=tables: [fn(t) for t in tables]
        one = [{"entrant/trajectories": t} for t in tables]
        look, place = [read.perception(t) for t in one], [read.perception_of_place(t) for t in one]
        row: dict[str, Any] = {"who": name, "solved": told(each(lambda t: t["solved"][..., -1]))}
        for what in ("colour", "shape", "look"):
            row[f"{what} at the entrance, from step"] = told(
                each(lambda t, w=what: read.decided(t, "entrance", w)), ".1f"
            )
        row["look at the exit, from step"] = told(each(lambda t: read.decided(t, "exit")), ".1f")
        row["something at the exit, from step"] = told(each(read.placed), ".1f")
        for what, lead in (("look", look), ("place", place)):
            row[f"exit's {what} minus entrance's look"] = told(lead, ".2f")
            row[f"exactly 0 ({what})"] = told([v == 0 for v in lead], ".2f")
        rows.append(row)
    return rows


def prevalence(measured: Any) -> Lines:
    """Runs of which an early estimate holds two paths or more."""
    rows = []
    for name, tables in whom(measured, "maze/paths"):
        for who, key in ((name, "second"), ("calibrated believer", "believer_second")):
            early = [t[key][..., list(arms.thirds(t[key].shape[-1])[0])] for t in tables if key in t]
            if early and (who == name or name == "model"):
                row = {"who": who} | {
                    f"second path at least {w}": told([(e >= w).any(-1) for e in early]) for w in (0.1, 0.2, 0.3)
                }
                rows.append(row | {"at the first step, .2": told([e[..., 0] >= read.HELD for e in early])})
    return rows


def settling(measured: Any) -> Lines:
    """Spread, in steps, of when frames are final: within a run, between runs, and among frames of different runs."""
    rows = []
    for part in ("maze/trajectories", "maze_goals/trajectories", "entrant/trajectories"):
        for name, tables in whom(measured, part):
            row = {"world": part.partition("/")[0], "who": name}
            row["final from step (mean)"] = told([t["settled"][..., 1:] for t in tables], ".1f")
            row["within a run"] = told([read.within(t) for t in tables], ".2f")
            row["frames of different runs"] = told([read.mixed(t) for t in tables], ".2f")
            row["between runs"] = told([t["settled"][..., 1:].mean(-1).std() for t in tables], ".2f")
            row["all final at the first step"] = told([(t["settled"] == 0).all(-1) for t in tables])
            rows.append(row)
    return rows


def energy(measured: Any) -> Lines:
    """Foreground's energy beside the rest after each block, own path minus another clip's, in logs."""
    found = dict(whom(measured, "maze/energy"))
    blocks = next(iter(found.values()))[0]["own"].shape[-1] if found else 0
    one = lambda t, b: (t["own"] - t["other"])[..., b]
    return [
        {"block": b} | {who: told([one(t, b) for t in tables]) for who, tables in found.items()} for b in range(blocks)
    ]


def frames(measured: Any) -> Lines:
    """Solved with fewer frames given to the sampler."""
    found = dict(whom(measured, "maze/frames"))
    kept = next(iter(found.values()))[0] if found else {"films": [], "frames": []}
    rows = []
    for i, (film, count) in enumerate(zip(kept["films"], kept["frames"], strict=True)):
        solved = {f"solved, {who}": told([t["solved"][..., i] for t in tables]) for who, tables in found.items()}
        rows.append({"frames": f"{film} ({count})"} | solved)
    return rows


def length(measured: Any) -> Lines:
    """Solved by length of the path and number of sampler steps, in and out of distribution."""
    rows = []
    for part, where in (("maze/lengths", "as trained"), ("maze/long", "longer"), ("maze/large", "one row more")):
        for name, tables in whom(measured, part):
            for low, high in zip(SHORT, SHORT[1:], strict=False):
                here = [(t["length"] >= low) & (t["length"] < high) for t in tables]
                if not (count := sum(int(h.sum()) for h in here)):
                    continue
                row = {"mazes": where, "who": name, "path": f"{low} to {high - 1}", "mazes measured": count}
                for i, steps in enumerate(tables[0]["steps"]):
                    row[f"{steps} steps"] = told([t["solved"][h, :, i] for t, h in zip(tables, here, strict=True)])
                rows.append(row)
    return rows


def swapped(measured: Any) -> Lines:
    """Answers flipped by swaps: every mode, number of first steps, and block."""
    rows = []
    for name, tables in whom(measured, "maze/swaps"):
        for mode in MODES:
            for i, first in enumerate(tables[0]["first"]):
                row = {"who": name, "swapped": mode, "first steps": int(first)}
                count = tables[0][f"{mode}_flip"].shape[-1]
                for k, where in enumerate(("none", "all", *(f"block {b}" for b in range(count - 2)))):
                    row[where] = told([t[f"{mode}_flip"][t["usable"], i, k] for t in tables], ".2f")
                rows.append(row)
    return rows


def depth(measured: Any) -> Lines:
    """What each block knows, by linear probes, and whether a run does without it."""
    probes, skipped = measured.models.get("maze/probes", ()), dict(whom(measured, "maze/ablation"))
    count = next((t["answer"].shape[1] for t in probes), 0)
    rows = []
    for b in range(count):
        row: dict[str, Any] = {"block": b}
        row |= {f"solved without it, {who}": told([t["solved"][:, b] for t in ts]) for who, ts in skipped.items()}
        for target in ("walls", "agent", "goal", "next", "answer"):
            for what in ("", "_untrained", "_control"):
                words = {"": "", "_untrained": ", untrained", "_control": ", exchanged labels"}[what]
                row[f"{target}{words}"] = told([t[f"{target}{what}"][:, b] for t in probes], ".2f")
        rows.append(row)
    return rows


def reach(measured: Any) -> Lines:
    """Noise in all frames at one step, by thirds of the run: how far it reaches, and how many answers it changes."""
    rows = []
    for name, tables in whom(measured, "maze_goals/perturbations"):
        for k, part in enumerate(("first", "middle", "last")):
            steps = list(arms.thirds(tables[0]["far"].shape[1])[k])
            changed = [t["step"][:, steps] != t["clean"][:, None] for t in tables]
            row: dict[str, Any] = {"who": name, "third of the steps": part}
            row["1 - CKA of later states"] = told([t["far"][:, steps] for t in tables])
            rows.append(row | {"answers changed": told(changed)})
    return rows


def transplanted(measured: Any) -> Lines:
    """Solved after a state of another run was put in at a step."""
    tables = [t for t in measured.models.get("maze/transplants", ()) if len(t["instance"])]
    rows = []
    for i in range(tables[0]["solved"].shape[2] if tables else 0):
        row: dict[str, Any] = {"step": i}
        for k, what in enumerate(("all frames", "last half", "last frame")):
            row[f"failing run given {what}"] = told([t["solved"][:, k, i] for t in tables])
            row[f"succeeding run given {what}"] = told([t["reverse_solved"][:, k, i] for t in tables])
        rows.append(row)
    return rows


def rivals(measured: Any) -> Lines:
    """Solved by every rival of the hidden mean, minus single on the same noises."""
    tables = measured.models.get("maze/rivals", ())
    rows = []
    for i, name in enumerate(tables[0]["arms"] if tables else ()):
        away = [t["solved"][i].astype(float) - t["solved"][0] for t in tables]
        row = {
            "arm": str(name),
            "evaluations": int(tables[0]["nfe"][i]),
            "solved": told([t["solved"][i] for t in tables]),
        }
        rows.append(row | {"minus single": told(away, "+.3f")})
    return rows


TITLES: Mapping[str, Callable[[Any], Lines]] = {
    "Entrant: look and place": perception,
    "Estimates that hold several paths": prevalence,
    "Frames that settle": settling,
    "Longer paths, larger mazes, fewer steps": length,
    "Fewer frames": frames,
    "Noise at a step": reach,
    "State transplants": transplanted,
    "Energy of the path's tokens": energy,
    "Swaps by dose": swapped,
    "Blocks": depth,
    "Rivals of the ensemble": rivals,
}
