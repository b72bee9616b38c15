"""From tables to claims. Every statistic here was fixed before the test split was looked at; see `claims`.

Arrays are stacked as [training seed, instance, noise seed]. Instances differ between training seeds (nested); seeds are
the unit (`vrjax.report.seeds`). Where a claim has a null model, the statistic is the paired difference to the null
model on the same instances and noises, and its null is 0. The claims stand in `claims.json`.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.chain_of_steps.config import ChainOfSteps
from vrjax.reasoning.instruments import cka, counts, readout
from vrjax.reasoning.instruments.arms import thirds
from vrjax.report import seeds
from vrjax.report.claims import Claim
from vrjax.study import claims as study_claims
from vrjax.study.claims import Finding, settle
from vrjax.study.registration import Registration
from vrjax.study.tables import Tables

Parts = Mapping[str, Sequence[Tables]]  # part -> one table per training seed


class Measured(NamedTuple):
    """All tables: of the models and of the null model, one per training seed and on the same instances; and of each
    control network by name."""

    models: Parts
    nulls: Parts
    controls: Mapping[str, Parts]


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


def middle_flips(mode: str) -> Callable[[Tables], np.ndarray]:
    """Answers flipped by swapping middle blocks minus those flipped by swapping the others."""

    def read(table: Tables) -> np.ndarray:
        flips = table[f"{mode}_flip"]
        middle = _middle(flips.shape[1])
        return flips[:, middle].mean(1) - flips[:, ~middle].mean(1)

    return read


def ablation(table: Tables) -> np.ndarray:
    """Solved with one outer block skipped minus solved with one middle block skipped."""
    middle = _middle(table["solved"].shape[1])
    return table["solved"][:, ~middle].mean(1) - table["solved"][:, middle].mean(1)


def _middle(blocks: int) -> np.ndarray:
    return np.isin(np.arange(blocks), thirds(blocks)[1])


MEASURES: dict[str, Callable[[Tables], np.ndarray]] = {
    "correction": correction,
    "superposition": lambda t: t["superposition"][..., thirds(t["superposition"].shape[-1])[0]].mean(-1),
    "faded_ink": lambda t: t["ink_off"][..., 0] - t["ink_off"][..., -1],
    "ghost": lambda t: t["ghost"].mean(-1),
    "lead": lead,
    "dose_difference": dose_difference,
    "dose_shuffled": dose_shuffled,
    "mid_sensitivity": mid_sensitivity,
    "mid_renoise": mid_renoise,
    "flips_increment": middle_flips("increment"),
    "flips_tokens": middle_flips("tokens"),
    "ablation": ablation,
    "order": lambda t: t["order"],
}


def claims(study: ChainOfSteps, asked: Registration, measured: Measured) -> tuple[list[Claim], list[str]]:
    """The registered claims of the paper (and three of this library's own), in the order of its sections.

    Returns:
        The claims, and a sentence for each that could not be measured.
    """
    found: dict[str, Finding] = {}
    solved = arms(measured.models["maze/ensembles"])
    hidden = next(name for name in solved if name.startswith("hidden mean, middle blocks, first"))
    fill = {"hidden": hidden, "members": study.seeds}
    gates = {
        f"{part.removesuffix('/trajectories')}: solved at the end": [t["solved"][..., -1].mean() for t in tables]
        for part, tables in measured.models.items()
        if part.endswith("/trajectories")
    }
    for claim in asked.claims:
        how = claim["how"]
        names = [name.format(**fill) for name in how.get("arms", ())]
        try:
            values = solved[names[0]] - solved[names[1]] if names else _values(how, measured)
        except Unmeasured:
            continue
        found[claim["id"]] = Finding(values, measured=gates, beside=_beside(how, measured), fill=fill, arms=names)
    rows = settle(asked, found, quick=study.quick, resamples=study.resamples)
    return rows, [
        f"{lost.id} was not measured: its statistic is defined on no instance of some model."
        for lost in study_claims.missing(asked, rows)
    ]


def _values(how: Mapping[str, Any], measured: Measured) -> np.ndarray:
    """What a claim is about, for each training seed, instance and noise; minus the null model's where it has one."""
    read, part = MEASURES[how["measure"]], how["part"]
    if "minus" not in how:
        return stack(measured.models[part], read)
    paired = zip(measured.models[part], measured.nulls[part], strict=True)
    return stack([{"both": read(a) - read(b)} for a, b in paired], lambda t: t["both"])


def _beside(how: Mapping[str, Any], measured: Measured) -> dict[str, float]:
    """The same statistic of the null model and of the control networks, where they were measured."""
    if "arms" in how:
        return {}
    out = {}
    for name, parts in (("null model", measured.nulls), *measured.controls.items()):
        if how["part"] in parts:
            with contextlib.suppress(Unmeasured):
                out[name] = float(stack(parts[how["part"]], MEASURES[how["measure"]]).mean())
    return out


def arms(tables: Sequence[Tables]) -> dict[str, np.ndarray]:
    """Solved by each arm of the ensemble table, [training seed, instance, noise]."""
    return {str(name): np.stack([t["solved"][i] for t in tables]) for i, name in enumerate(tables[0]["arms"])}


def ensemble_table(tables: Sequence[Tables], resamples: int) -> list[dict]:
    """One row per arm: name, NFE, solved, difference to the single run with interval, discordant share, and the
    two-sided p-value of flipping whole training seeds, Holm-corrected over all arms."""
    solved, rows, ps = arms(tables), {}, {}
    for (name, values), nfe in zip(solved.items(), tables[0]["nfe"], strict=True):
        difference = values - solved["single"]
        estimate = seeds.interval(difference, bounds=(-1, 1), resamples=resamples)
        rows[name] = {
            "arm": name,
            "nfe": int(nfe),
            "solved": float(values.mean()),
            "per_seed": values.mean((1, 2)).tolist(),
            "difference": float(estimate.value),
            "low": float(estimate.low),
            "high": float(estimate.high),
            "pairs": int(difference.size),
            "discordant": float((difference != 0).mean()),
        }
        if name != "single":
            ps[name] = float(seeds.p_value(difference, side="either", resamples=resamples))
    study_claims.add_holm(rows, ps)
    return list(rows.values())


def world_table(measured: Measured, resamples: int) -> list[dict[str, str]]:
    """Per task: solved and scored at the end, solved at step 0, both directions of change, commitment; and the
    others."""
    study, rows = measured.models, []
    for part in study:
        if not part.endswith("/trajectories"):
            continue
        solved = stack(study[part], lambda t: t["solved"][..., -1])
        rate = seeds.interval(solved, bounds=(0, 1), resamples=resamples)
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
