"""The curves, maps and forests of the page, each beside its null; one function a picture.

A picture whose part was not measured is None, and is then left out.
"""

import functools
import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from experiments.chain_of_steps import agreement, disturbed, doses, memory
from experiments.chain_of_steps.config import ChainOfSteps
from experiments.chain_of_steps.verdicts import BESIDE, Measured, Unmeasured, gather, stack
from vrjax.report import parts, seeds
from vrjax.study import page as common
from vrjax.study.tables import Tables

Read = Callable[[Tables], np.ndarray]  # a table -> [instance, ..., point]
DRAWS = 2000  # of a band, at most: it has many points
SHARE = (0.0, 1.0)


def picture(study: ChainOfSteps, kept: Mapping[str, Tables]) -> list[Sequence[parts.Curve | parts.Forest]]:
    """The README's picture, from kept tables: rows of two curves, and the ensemble's doses."""
    measured, few = gather(study, kept), (forced_choice, redrawn, renoised, swapped, ensemble)
    drawn = [part for make in few if (part := make(measured, min(study.resamples, DRAWS))) is not None]
    return [drawn[i : i + 2] for i in range(0, len(drawn), 2)]


def curves(measured: Measured, resamples: int) -> list[parts.Curve]:
    """All that can be drawn, in the order of the claims."""
    makers = (forced_choice, off_path, both_doors, redrawn, renoised, swapped, superposed)
    return [part for make in makers if (part := make(measured, min(resamples, DRAWS))) is not None]


def forests(measured: Measured, resamples: int) -> list[parts.Forest]:
    """All that can be drawn."""
    return [part for make in (ensemble,) if (part := make(measured, resamples)) is not None]


def _tables(of: Mapping[str, Sequence[Tables]], part: str, *fields: str) -> Sequence[Tables]:
    """The tables of a part, where all of them have these fields; else none."""
    found = of.get(part, ())
    return found if all(field in table for table in found for field in fields) else ()


def _beside(measured: Measured, who: str, part: str, *fields: str) -> Sequence[Tables]:
    return _tables(measured.others.get(who, {}), part, *fields)


def _band(
    name: str, tables: Sequence[Tables], read: Read, draws: int, role: parts.Role = "model", *, share: bool = True
) -> list[parts.Series]:
    """A line with its band; none where there are no tables, or one defines it on no instance. `share`: entries are
    between 0 and 1."""
    rows = [read(table) for table in tables]
    if not rows or not all(np.isfinite(row).reshape(len(row), -1).all(1).any() for row in rows):
        return []
    return [common.band(name, rows, draws, role, bounds=SHARE if share else None)]


# -------------------------------------------------------------------------------------------------------------- curves


def forced_choice(measured: Measured, draws: int) -> parts.Curve | None:
    """Right by forced choice over the steps, beside the calibrated believer."""
    mine = _tables(measured.models, "maze/paths", "right", "believer_right")
    if not mine:
        return None
    lines = _band("model", mine, lambda t: t["right"], draws)
    lines += _band("calibrated believer", mine, lambda t: t["believer_right"], draws, "null")
    exact = _tables(measured.models, "maze/trajectories", "solved")
    if exact and exact[0]["solved"].shape[-1] == mine[0]["right"].shape[-1]:
        lines += _band("model, read exactly", exact, lambda t: t["solved"], draws, "control")
    return parts.Curve(
        "The right path, by forced choice: maze",
        lines,
        "Share of runs whose clean estimate is nearest to the right one of all paths. The believer holds what the "
        "network held at its first step and follows Bayes' rule from there: it changes its mind, and gains nothing by "
        "it. Read exactly (dotted), a blurred estimate counts as wrong, so that what becomes readable looks like a "
        "correction.",
        y_range=SHARE,
    )


def off_path(measured: Measured, draws: int) -> parts.Curve | None:
    """Ink on wrong branches over the steps, beside the placebo region."""
    mine = _tables(measured.models, "maze/paths", "branch_ink", "placebo_ink")
    if not mine:
        return None
    ink = functools.partial(_band, draws=draws, share=False)
    lines = ink("wrong branches", mine, lambda t: t["branch_ink"])
    if not lines:
        return None
    lines += ink("behind a wall, as near", mine, lambda t: t["placebo_ink"], role="null")
    doubt = _tables(measured.models, "maze/paths", "doubt_branch_ink")
    lines += ink("an exact posterior in doubt", doubt, lambda t: t["doubt_branch_ink"], role="control")
    return parts.Curve(
        "Ink on wrong branches: maze",
        lines,
        "Path colour in the last frame of the estimate, per cell. Branches of three cells and more that leave the "
        "right path, beside floor that is as near to it on the grid but behind a wall: blur reaches both.",
    )


def both_doors(measured: Measured, draws: int) -> parts.Curve | None:
    """Agreement of both doors over the steps, beside the chance that other clips give."""
    mine = _tables(measured.models, "entrant/memory", "soft_entrance", "soft_exit", "colours")
    if not mine:
        return None
    lines = _band("both doors have one colour", mine, lambda t: memory.same_colour(t, "soft")[0], draws)
    lines += _band("with the entries of other clips", mine, lambda t: memory.same_colour(t, "soft")[1], draws, "null")
    exact = _beside(measured, "null", "entrant/memory", "soft_entrance", "soft_exit", "colours")
    lines += _band("exact posterior", exact, lambda t: memory.same_colour(t, "soft")[0], draws, "control")
    return parts.Curve(
        "Both doors agree: entrant",
        lines,
        "Share of runs whose estimate shows one colour where the object comes in and where it goes out (the nearest "
        "look at each door), which no condition states. Whoever learnt the joint law agrees, an exact posterior too: "
        "the claim of memory is about what is drawn after the entry was taken away.",
        y_range=SHARE,
    )


def redrawn(measured: Measured, draws: int) -> parts.Curve | None:
    """What is drawn at both doors after the entry was emptied, over the step of it."""
    mine = _tables(measured.models, "entrant/memory", "emptied_entrance", "emptied_exit", "at")
    order = np.argsort(mine[0]["at"]) if mine else []
    if len(order) < 2:  # a single step is a claim, and no curve
        return None
    x = mine[0]["at"][order].astype(float)

    def line(name: str, read: Callable[[Tables, int], np.ndarray]) -> parts.Series:
        each = [seeds.interval(stack([read(t, int(i)) for t in mine]), resamples=draws) for i in order]
        low, high = (np.array([e.interval[k] for e in each], float) for k in (0, 1))
        hold = lambda end: np.where(np.isfinite(end), end, np.nan)
        return parts.Series(name, np.array([e.value for e in each], float), x, hold(low), hold(high))

    try:
        lines = [
            line("both doors agree, minus chance", lambda t, i: memory.agreement(t, "emptied", i)),
            line("the colour that was there is lost", lambda t, i: memory.lost(t, "emptied", i)),
        ]
    except Unmeasured:  # at some step no run can be read
        return None
    return parts.Curve(
        "What is drawn again at the entry: entrant",
        lines,
        "The frames in which the object stands at the entrance are emptied at one step. Where both doors agree "
        "afterwards, the rest of the video knew the colour; where it is another colour, they chose anew together.",
        x_label="step at which the entry is emptied",
        y_range=SHARE,
        sync=False,
    )


def renoised(measured: Measured, draws: int) -> parts.Curve | None:
    """Answers that re-noising changes, over its step, beside the null model."""
    part, fields = "maze_goals/disturbed", ("renoise", "clean")
    mine = _tables(measured.models, part, *fields)
    if not mine:
        return None
    lines = _band("model", mine, disturbed.turned, draws)
    if not lines:  # no undisturbed run shows an answer: nothing stands beside the null
        return None
    lines += _band("null model", _beside(measured, "null", part, *fields), disturbed.turned, draws, "null")
    lines += _band("frame-causal", _beside(measured, "causal", part, *fields), disturbed.turned, draws, "control")
    return parts.Curve(
        "Answers turned by noise at a step: several goals",
        lines,
        "All frames re-noised to the level of one step: share of runs that end at another readable answer than "
        "undisturbed.",
        x_label="step of re-noising",
        y_range=SHARE,
        sync=False,
    )


def swapped(measured: Measured, draws: int) -> parts.Curve | None:
    """Answers flipped by swapping the two goals' tokens after one block."""
    mine = [t for t in _tables(measured.models, "maze/goals", "flip", "usable") if t["usable"].any()]
    if not mine:
        return None
    one = lambda t: t["flip"][t["usable"]].astype(float)
    blocks = mine[0]["flip"].shape[1] - 2
    level = lambda which: lambda t: one(t)[:, which : which + 1].repeat(blocks, axis=1)
    pairs = sum(int(t["usable"].sum()) for t in mine)
    lines = _band("after this block alone", mine, lambda t: one(t)[:, 2:], draws)
    lines += _band("everywhere", mine, level(1), draws, "control")
    lines += _band("nowhere", mine, level(0), draws, "null")
    return parts.Curve(
        "Answers flipped by a swap: maze",
        lines,
        "Two runs on one maze with different goals: share whose answer becomes the other's path when the tokens of "
        f"both goals' cells are taken from the other run, at all steps; {pairs} pairs.",
        x_label="block",
        y_range=SHARE,
        sync=False,
    )


def superposed(measured: Measured, draws: int) -> parts.Curve | None:
    """How mixed the estimate is, beside the null model, which mixes by itself."""
    part = "maze_goals/trajectories"
    mine = _tables(measured.models, part, "superposition")
    if not mine:
        return None
    mixed = functools.partial(_band, read=lambda t: t["superposition"], draws=draws, share=False)
    lines = mixed("model", mine)
    if not lines:
        return None
    for who, name in BESIDE.items():
        role: parts.Role = "null" if who == "null" else "control"
        lines += mixed(name, _beside(measured, who, part, "superposition"), role=role)
    return parts.Curve(
        "Superposition: several goals",
        lines,
        "How far the estimate is from every single answer towards a mixture. The null model mixes by itself; only the "
        "excess over it is the network's.",
    )


# ------------------------------------------------------------------------------------------------------ maps, forests


def maps(measured: Measured) -> list[parts.HeatMap]:
    """Propagation of noise at a step, of the model and of the null model; where a run is decided, of the same."""
    out, part = [], "maze_goals/perturbations"
    for name, of in (("model", measured.models), ("null model", measured.others.get("null", {}))):
        tables = _tables(of, part, "cka", "steps")
        if not tables:
            continue
        far, inject = np.nanmean(np.concatenate([t["cka"] for t in tables]), 0), tables[0]["steps"]
        hollow = np.arange(far.shape[1])[None] < inject[:, None]
        out.append(
            parts.HeatMap(
                f"Propagation of noise at a step: {name}",
                np.where(hollow, np.nan, far),
                "1 - CKA of later states to the undisturbed run (0 untouched, 1 destroyed), by the step at which all "
                "frames were replaced by noise.",
                x_label="later state",
                y_label="injected at step",
                rows=[int(s) for s in inject],
                columns=list(range(far.shape[1])),
                value_range=SHARE,
            )
        )
    for world in agreement.WORLDS:
        for name, of in (("model", measured.models), ("null model", measured.others.get("null", {}))):
            tables = [table for table in _tables(of, f"{world}/attribution", "profile") if table["profile"].any()]
            out += [agreement.profile(tables, f"Where a run is decided: {world}, {name}")] if tables else []
    return out


def films(measured: Measured) -> list[parts.Picture]:
    """A run of the first training seed in each world, and which of its tokens decided."""
    out = []
    for world in agreement.WORLDS:
        if tables := _tables(measured.models, f"{world}/attribution", "whole", "final"):
            title = f"Which tokens decided: {world}"
            caption = (
                "Above: the film at which a run of the first training seed ends, its frames from left to right. Below: "
                "|d margin / d dose| of each token, summed over steps and blocks (white: nothing)."
            )
            agreement.film(tables[0]).savefig(picture := io.BytesIO(), format="png", metadata={"Software": None})
            out.append(parts.Picture(title, picture.getvalue(), alt=title, caption=caption))
    return out


def ensemble(measured: Measured, resamples: int) -> parts.Forest | None:
    """Every dose of the ensemble as its difference to the single run."""
    tables = _tables(measured.models, "maze/ensembles", "solved", "arms")
    if not tables:
        return None
    each = [doses.solved(table) for table in tables]
    solved = {name: np.stack([one[name] for one in each]) for name in each[0]}
    single, rows = solved[doses.SINGLE], []
    for name, values in solved.items():
        if name == doses.SINGLE:
            continue
        difference = values - single
        found = seeds.interval(difference, bounds=(-1, 1), resamples=resamples)
        role: parts.Role = "control" if name in (doses.COOL, doses.ESTIMATES) else "model"
        chosen = " (best on validation)" if name == measured.dose else ""
        mean, low, high = (float(end) for end in (found.value, found.low, found.high))
        note = f"solved {values.mean():.3f}"
        rows.append(parts.Effect(name + chosen, mean, low, high, difference.size, role, note))
    return parts.Forest(
        "Doses of the training-free ensemble",
        rows,
        f"Difference in solved mazes to a single run ({single.mean():.3f}) of the same noise: hidden states averaged "
        "over three seeds, in thirds of the blocks and in the first steps, beside a low temperature and the mean of "
        "the clean estimates. 95 % intervals with training seeds as the unit; every seed is continued once.",
        x_label="solved, minus single run",
        reference=0.0,
        reference_label="single run",
    )
