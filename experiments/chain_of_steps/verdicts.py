"""From tables to claims. Every statistic here was fixed before the test split was looked at; see `claims`.

Arrays are stacked as [training seed, instance, noise seed]. Instances differ between training seeds (nested). Intervals
are hierarchical bootstraps over all three levels that vary; where a claim has a null model, the statistic is the paired
difference to the null model on the same instances and noises, and its null is 0.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.reasoning.instruments import cka, counts, readout
from vrjax.reasoning.instruments.arms import thirds
from vrjax.report import statistics
from vrjax.report.claims import Claim, claim
from vrjax.study.tables import Tables

PAPER = "2603.16870"
Parts = Mapping[str, Sequence[Tables]]  # part -> one table per training seed
Values = Callable[[], np.ndarray]


class Measured(NamedTuple):
    """All tables: of the models and of the null model, one per training seed and on the same instances; and of each
    control network by name."""

    models: Parts
    nulls: Parts
    controls: Mapping[str, Parts]


def bootstrap(values: np.ndarray, resamples: int) -> statistics.Estimate:
    """Mean of [training seeds, instances, noises] with its interval; levels of length 1 are not resampled.

    Where all values are equal, resampling sees no variation and would claim certainty. The rule of three takes its
    place there: with n instances and no exception among them, an exception of size 1 may still have probability 3 / n.
    """
    values = np.asarray(values, np.float64)
    if np.ptp(values) == 0:
        value, slack = float(values.flat[0]), 3.0 / (values.shape[0] * values.shape[1])
        return statistics.Estimate(value, value - slack, value + slack, values.size)
    levels = tuple(axis for axis in range(3) if values.shape[axis] > 1)
    return statistics.hierarchical_bootstrap(values, resample=levels, instances="nested", resamples=resamples)


class Unmeasured(Exception):
    """A statistic is defined on no instance of some training seed."""


def stack(tables: Sequence[Tables], read: Callable[[Tables], np.ndarray]) -> np.ndarray:
    """[training, instance, noise] of a per-run number `read(table)` ([instance] or [instance, noise]).

    Instances on which the number is not defined (NaN) are left out; then every training seed keeps its first k, k being
    the fewest that one of them has.

    Raises:
        Unmeasured: k is 0.
    """
    rows = [np.asarray(read(t), np.float64) for t in tables]
    rows = [r[:, None] if r.ndim == 1 else r for r in rows]
    rows = [r[np.isfinite(r).all(1)] for r in rows]
    least = min(len(r) for r in rows)
    if least == 0:
        raise Unmeasured
    return np.stack([r[:least] for r in rows])


def correction(table: Tables) -> np.ndarray:
    """+1 where the answer was not right at step 0 and is at the end, -1 the other way round."""
    solved = table["solved"].astype(float)
    return solved[..., -1] - solved[..., 0]


def lead(table: Tables) -> np.ndarray:
    """Steps by which the still content (half of it, for good) comes before the moving content."""
    arrival = lambda field: np.asarray(readout.first_reach(jnp.moveaxis(table[field], -1, 0), 0.5))
    return (arrival("moving") - arrival("still")).astype(float)


def changed(table: Tables, name: str) -> np.ndarray:
    """Share of a disturbance's sites that changed the answer, per instance."""
    return (table[f"{name}_answer"] != table["clean_answer"][:, None]).mean(1)


def dose_difference(table: Tables) -> np.ndarray:
    """Answers changed by noise at one step minus those changed by noise at one frame, same number of cells."""
    return changed(table, "step_equal") - changed(table, "frame_minus")


def dose_shuffled(table: Tables) -> np.ndarray:
    """Answers changed by noise at one step minus by as many cells at the same spread steps on random frames."""
    return changed(table, "step_equal") - changed(table, "shuffled")


def mid_sensitivity(table: Tables) -> np.ndarray:
    """CKA dissimilarity after noise at a step, mean over later states: middle third of injection steps minus first."""
    far, inject = np.nan_to_num(table["cka"]), jnp.asarray(table["steps"])
    curve = np.asarray(jax.vmap(lambda one: cka.sensitivity(one, inject))(far))
    first, middle, _ = thirds(far.shape[2] - 1)
    group = lambda steps: curve[:, np.isin(table["steps"], steps)].mean(1)
    return group(middle) - group(first)


def mid_renoise(table: Tables) -> np.ndarray:
    """Solved after level-matched re-noising in the middle third of steps, minus solved undisturbed."""
    steps = int(table["cka"].shape[2]) - 1
    group = np.isin(table["steps"], thirds(steps)[1])
    return table["renoise_solved"][:, group].mean(1) - table["clean_solved"]


def claims(measured: Measured, *, members: int, resamples: int, blocks: int) -> tuple[list[Claim], list[str]]:
    """The claims of the paper (and three of this library's own), in the order of its sections.

    Args:
        measured: all tables.
        members: seeds of an ensemble.
        resamples: bootstrap draws.
        blocks: of the model.

    Returns:
        The claims, and a sentence for each that could not be measured.
    """
    study, nulls = measured.models, measured.nulls
    out: list[Claim] = []
    missing: list[str] = []

    def add(name: str, values: Values, *, statement: str, statistic: str, paper: str = PAPER, **how) -> None:
        try:
            estimate = bootstrap(values(), resamples)
        except Unmeasured:
            missing.append(f"cos.{name} was not measured: its statistic is defined on no instance of some model.")
            return
        how = {"direction": "greater", "margin": 0.02, "null": 0.0, "notes": "", "arms": ()} | how
        out.append(
            claim(
                f"cos.{name}",
                paper=paper,
                statement=statement,
                statistic=statistic,
                estimate=float(estimate.value),
                interval=estimate.interval,
                n=estimate.n,
                **how,
            )
        )

    def mean(part: str, read: Callable[[Tables], np.ndarray]) -> Values:
        return lambda: stack(study[part], read)

    def excess(part: str, read: Callable[[Tables], np.ndarray]) -> Values:
        paired = list(zip(study[part], nulls[part], strict=True))
        return lambda: stack([{"both": read(a) - read(b)} for a, b in paired], lambda t: t["both"])

    first = lambda field: lambda t: t[field][..., thirds(t[field].shape[-1])[0]].mean(-1)
    add(
        "correction",
        mean("maze/trajectories", correction),
        statement="Along the denoising steps wrong answers become right (self-correction).",
        statistic="unique maze: share wrong at step 0 and right at the end, minus right at step 0 and wrong at the end",
        notes="The null model is right from step 0 on: its value is exactly 0.",
    )
    add(
        "exploration",
        excess("maze_goals/trajectories", first("superposition")),
        statement="Early steps hold several candidate answers at once (multi-path exploration, superposition).",
        statistic="several equal goals: superposition of candidates in x0_hat, mean over the first third of steps, "
        "model minus null model",
        notes="The null model superposes candidates by itself; only the excess is the network's.",
    )
    add(
        "off_path",
        mean("maze/trajectories", lambda t: t["ink_off"][..., 0] - t["ink_off"][..., -1]),
        statement="Wrong paths appear early and fade.",
        statistic="unique maze, last frame: path ink off the solution at step 0 minus at the end, in cells",
        margin=0.1,
        notes="The null model draws none at any step: its value is exactly 0.",
    )
    add(
        "memory",
        mean("occluder/trajectories", lambda t: t["ghost"].mean(-1)),
        statement="The estimate keeps hidden objects in a working memory.",
        statistic="occluder: trace of the hidden object in x0_hat while it is out of sight, mean over steps "
        "(1: fully drawn, 0: none)",
        notes="The null model draws no ghost: its value is exactly 0. A memory may live elsewhere than in pixels: "
        "see the solved rates and probes.",
    )
    add(
        "perception_first",
        excess("maze/trajectories", lead),
        statement="Perception comes before action: the scene settles before the motion.",
        statistic="unique maze: steps by which half of the still content precedes half of the moving content, model "
        "minus null model",
        margin=0.5,
    )
    for world in ("maze", "maze_goals"):
        add(
            f"step_over_frame.{world}",
            excess(f"{world}/perturbations", dose_difference),
            statement="Noise at a step hurts more than noise at a frame.",
            statistic=f"{world}: answers changed by noise at one step minus by noise at one frame, equal number of "
            "replaced cells, model minus null model",
        )
    add(
        "step_over_cells",
        excess("maze/perturbations", dose_shuffled),
        statement="Noise at a step hurts more than noise spread over random cells.",
        statistic="unique maze: answers changed by noise at one step minus by as many cells at random frames of spread "
        "steps, model minus null model",
        paper="vrjax",
    )
    add(
        "mid_peak",
        excess("maze_goals/perturbations", mid_sensitivity),
        statement="The middle steps are the most sensitive to injected noise.",
        statistic="several equal goals: CKA dissimilarity of later states, injection in the middle third minus the "
        "first third of steps, model minus null model",
    )
    add(
        "renoise_helps",
        mean("maze/perturbations", mid_renoise),
        statement="Re-noising to the same level at middle steps raises the solved rate (pilot finding).",
        statistic="unique maze: solved after re-noising in the middle third of steps minus solved undisturbed",
        paper="vrjax",
    )
    _layers(add, study, blocks)
    _ensembles(add, study["maze/ensembles"], members)
    return out, missing


def _layers(add: Callable, study: Parts, blocks: int) -> None:
    middle = np.isin(np.arange(blocks), thirds(blocks)[1])
    for mode, words in (("increment", "the block's increment"), ("tokens", "the stream on the objects' tokens")):
        add(
            f"swap.{mode}",
            lambda m=mode: stack(
                study["pick/swaps"],
                lambda t: t[f"{m}_flip"][:, middle].mean(1) - t[f"{m}_flip"][:, ~middle].mean(1),
            ),
            statement="Swapping a middle layer's activations at the first step flips the answer; other layers' do not.",
            statistic=f"pick: answers flipped to the other prompt's object by swapping {words} at the first step, "
            "middle third of blocks minus the others",
            notes="The whole-stream swap is in the table, not a claim: after it, all later blocks of that step see "
            "only the other run. Whether the answer keeps it depends on the later steps, which read the true prompt.",
        )
    add(
        "ablation",
        lambda: stack(
            study["maze/ablation"], lambda t: t["solved"][:, ~middle].mean(1) - t["solved"][:, middle].mean(1)
        ),
        statement="Middle layers do the reasoning.",
        statistic="unique maze: solved with one outer block skipped minus solved with one middle block skipped",
    )
    add(
        "probe_order",
        lambda: stack(study["maze/probes"], lambda t: t["order"]),
        statement="Early layers perceive, later ones decide: walls are readable in earlier blocks than the answer.",
        statistic="unique maze: gain of a linear probe for the answer from the first to the second half of the "
        "blocks, minus the same gain for the walls (balanced accuracy)",
    )


def _ensembles(add: Callable, tables: Sequence[Tables], members: int) -> None:
    names = [str(n) for n in tables[0]["arms"]]

    def solved(name: str) -> np.ndarray:
        return np.stack([t["solved"][names.index(name)] for t in tables])

    hidden = next(n for n in names if n.startswith("hidden mean, middle blocks, first"))
    against = {
        "single": "single",
        "low_temperature": "temperature 1/sqrt(M)",
        "majority": f"majority of {members}",
    }
    for key, rival in against.items():
        add(
            f"ensemble.{key}",
            lambda rival=rival: solved(hidden) - solved(rival),
            statement="Averaging middle-layer states over three seeds in early steps improves answers."
            if key == "single"
            else "The gain of the training-free ensemble is more than a cheaper or equally dear rival gives.",
            statistic=f"unique maze: solved with '{hidden}' minus solved with '{rival}'",
            arms=(hidden, rival),
        )
    add(
        "noise_free_start",
        lambda: solved("noise-free start") - solved("single"),
        statement="Starting without noise beats a sampled start (pilot finding).",
        statistic="unique maze: solved from a noise-free start minus solved with 'single'",
        paper="vrjax",
        arms=("noise-free start", "single"),
    )


def ensemble_table(tables: Sequence[Tables], resamples: int) -> list[dict]:
    """One row per arm: name, NFE, solved, difference to the single run with interval, discordant share, and the
    p-value of a sign-flip test over instances, Holm-corrected over all arms."""
    names = [str(n) for n in tables[0]["arms"]]
    solved = {n: np.stack([t["solved"][i] for t in tables]) for i, n in enumerate(names)}
    rows, ps = [], []
    for i, name in enumerate(names):
        difference = solved[name] - solved["single"]
        estimate = bootstrap(difference, resamples)
        instance = np.repeat(np.arange(difference.shape[0] * difference.shape[1]), difference.shape[2])
        rows.append(
            {
                "arm": name,
                "nfe": int(tables[0]["nfe"][i]),
                "solved": float(solved[name].mean()),
                "per_seed": solved[name].mean((1, 2)).tolist(),
                "difference": float(estimate.value),
                "low": float(estimate.low),
                "high": float(estimate.high),
                "pairs": int(difference.size),
                "discordant": float((difference != 0).mean()),
            }
        )
        ps.append(float(statistics.sign_flip(difference.ravel(), instance, resamples=resamples)))
    others = [i for i, n in enumerate(names) if n != "single"]
    adjusted = statistics.holm(np.array(ps)[others]).adjusted
    for i, p in zip(others, adjusted, strict=True):
        rows[i]["holm"] = float(p)
    return rows


def world_table(measured: Measured, resamples: int) -> list[dict[str, str]]:
    """Per task: solved and scored at the end, solved at step 0, both directions of change, commitment; and the
    others."""
    study, rows = measured.models, []
    for part in study:
        if not part.endswith("/trajectories"):
            continue
        solved = stack(study[part], lambda t: t["solved"][..., -1])
        rate = bootstrap(solved, resamples)
        low, high = max(0.0, float(rate.low)), min(1.0, float(rate.high))
        right = np.concatenate([t["solved"].reshape(-1, t["solved"].shape[-1]) for t in study[part]])
        moved = counts.corrections(right)
        answers = np.concatenate([t["answer"].reshape(-1, t["answer"].shape[-1]) for t in study[part]])
        commits = counts.commitment(answers)
        row = {
            "world": part.split("/")[0],
            "runs": str(moved.n),
            "solved": f"{rate.value:.3f} [{low:.3f}, {high:.3f}]",
            "every frame right": f"{np.mean([(t['score'] >= 1).mean() for t in study[part]]):.3f}",
            "right at step 0": f"{right[:, 0].mean():.3f}",
            "wrong to right": f"{moved.wrong_to_right / moved.n:.3f}",
            "right to wrong": f"{moved.right_to_wrong / moved.n:.3f}",
            "commits at step (median, 90 %)": f"{np.median(commits):.0f}, {np.quantile(commits, 0.9):.0f}",
        }
        for name, tables in (("null model", measured.nulls), *measured.controls.items()):
            if part in tables:
                row[f"solved, {name}"] = f"{np.mean([t['solved'][..., -1].mean() for t in tables[part]]):.3f}"
        rows.append(row)
    return rows


def layer_table(study: Parts, blocks: int) -> list[dict[str, str]]:
    """Per block: swaps, ablation, probes (mean over recorded steps and training seeds)."""
    swaps, skipped, probed = study["pick/swaps"], study["maze/ablation"], study["maze/probes"]
    rows = []
    for b in range(blocks):
        row = {"block": str(b)}
        for mode in ("stream", "tokens", "increment", "attention"):
            flips = np.concatenate([t[f"{mode}_flip"][:, b] for t in swaps])
            row[f"flips, {mode}"] = f"{np.nanmean(flips):.3f}" if np.isfinite(flips).any() else "no usable pair"
        row["solved without it"] = f"{np.mean([t['solved'][:, b].mean() for t in skipped]):.3f}"
        for target in ("walls", "agent", "goal", "next", "answer"):
            score, control = (np.mean([t[k][:, b].mean() for t in probed]) for k in (target, f"{target}_control"))
            row[f"probe: {target} (control)"] = f"{score:.3f} ({control:.3f})"
        rows.append(row)
    return rows
