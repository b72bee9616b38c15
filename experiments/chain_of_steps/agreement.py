"""What attribution says of measured ablations: the statistics that are registered, their rivals, and what is drawn.

Two things could make a map look good that says nothing about where an answer is decided. Effects differ from step to
step and from block to block, so a map with the right *profile* agrees whatever its tokens: `beyond` takes the profile
away, `over_profile` sets the profile of other clips' measured effects against the map. And what is large changes much
when it is taken away: `size` and `over_size` set the sizes of activations against it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from experiments.chain_of_steps import attribution
from experiments.chain_of_steps.config import ChainOfSteps
from experiments.chain_of_steps.measuring import One, Part
from vrjax.reasoning.instruments.attribution import Sizes
from vrjax.report import figures
from vrjax.report import parts as shown
from vrjax.study.tables import Tables

SIZES = Sizes._fields
WORLDS = {"maze": "reasoner", "entrant": "entrant"}
TIMES = 6.0  # samplings of the clip that a map may cost


def parts(study: ChainOfSteps) -> tuple[Part, ...]:
    """The maps of both worlds, and what one of the maze costs; nothing, where no clips are attributed."""
    if not study.attributed:
        return ()
    grid: dict[str, Any] = {"steps": study.few_steps, "shift": study.shift}
    sizes: dict[str, Any] = {"instances": study.attributed, "measure": attribution.measure, "also": ("null",)}
    maps = [
        Part(name=f"{world}/attribution", specialist=who, given=grid | {"per_cell": study.ablated}, **sizes)
        for world, who in WORLDS.items()
    ]
    pairs = grid | {"pairs": study.timed}
    clips = min(study.attributed, study.group)
    cost = Part(name="maze/cost", specialist="reasoner", instances=clips, measure=attribution.cost, given=pairs)
    return *maps, cost


# ---------------------------------------------------------------------------------------------------------- statistics


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks along the last axis, centred; equal values share their mean rank."""
    # Kept tables are float16, and newer SciPy ranks in the dtype it is given.
    found = stats.rankdata(np.asarray(values, np.float64), axis=-1)
    return found - found.mean(-1, keepdims=True)


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's along the last axis; 0 where one of the two does not vary at all."""
    both = np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return np.where(both > 0, (a * b).sum(-1) / np.where(both > 0, both, 1.0), 0.0)


def spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation along the last axis, within each clip."""
    return correlation(ranks(a), ranks(b))


def within(a: np.ndarray, b: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Spearman's after the mean rank of each group is taken away: what is left beyond what the group alone says."""

    def left(values: np.ndarray) -> np.ndarray:
        found = ranks(values)
        for g in np.unique(group):
            found[..., group == g] -= found[..., group == g].mean(-1, keepdims=True)
        return found

    return correlation(left(a), left(b))


def _inside(table: Tables) -> np.ndarray:
    """The sites of blocks, bool [n]: all but those of the row behind them."""
    return table["row"] < table["profile"].shape[-1] - 1


def agreement(table: Tables) -> np.ndarray:
    """Rank correlation of |attribution| with |effect| over the sites of blocks: [clip]."""
    here = _inside(table)
    return spearman(abs(table["attribution"][:, here]), abs(table["effect"][:, here]))


def signed(table: Tables) -> np.ndarray:
    """The same of both with their signs."""
    here = _inside(table)
    return spearman(table["attribution"][:, here], table["effect"][:, here])


def beyond(table: Tables, name: str = "attribution") -> np.ndarray:
    """`agreement` of what each step and block leaves: mean ranks of the sites of one step and block are taken away, so
    that only which *tokens* matter is compared."""
    here = _inside(table)
    cell = table["step"][here].astype(int) * table["profile"].shape[-1] + table["row"][here]
    return within(abs(table[name][:, here]), abs(table["effect"][:, here]), cell)


def within_step(table: Tables) -> np.ndarray:
    """`agreement` after the mean rank of each step is taken away."""
    here = _inside(table)
    return within(abs(table["attribution"][:, here]), abs(table["effect"][:, here]), table["step"][here])


def size(table: Tables, name: str = "increment") -> np.ndarray:
    """What a size of activations says of |effect|: rank correlation, [clip]. See `attribution.Sizes` for the names."""
    here = _inside(table)
    return spearman(table[name][:, here], abs(table["effect"][:, here]))


def over_size(table: Tables) -> np.ndarray:
    """`agreement` minus that of the size which does best on the clip, in either direction."""
    return agreement(table) - np.max([abs(size(table, name)) for name in SIZES], axis=0)


def over_profile(table: Tables) -> np.ndarray:
    """`agreement` minus that of what the *other* clips' effects say of each step and block, whatever the token."""
    here = _inside(table)
    effect = abs(table["effect"][:, here])
    found, cell = np.unique(np.stack([table["step"], table["row"]])[:, here], axis=1, return_inverse=True)
    means = np.stack([effect[:, cell == k].mean(1) for k in range(found.shape[1])], axis=1)
    others = (means.sum(0) - means) / max(len(means) - 1, 1)
    return agreement(table) - spearman(others[:, cell], effect)


def top(table: Tables, name: str = "attribution", share: float = 0.1) -> np.ndarray:
    """Of the sites with the largest effects (this share of all), the part that is among as many with the largest
    attribution, or size: [clip]. At random: the share."""
    here = _inside(table)
    many = max(1, round(share * here.sum()))
    largest = lambda values: np.argsort(-abs(values), axis=1, kind="stable")[:, :many]
    pairs = zip(largest(table["effect"][:, here]), largest(table[name][:, here]), strict=True)
    return np.array([np.isin(a, b).mean() for a, b in pairs])


def of_estimate(table: Tables) -> np.ndarray:
    """`agreement` in the row behind the blocks: the one that the null model has as well."""
    here = ~_inside(table)
    return spearman(abs(table["attribution"][:, here]), abs(table["effect"][:, here]))


def within_budget(table: Tables, times: float = TIMES) -> np.ndarray:
    """`times` minus what the map costs, in samplings of the clip: [1, pair] of a table of `cost`."""
    return times - table["map"] / table["sampling"]


# ------------------------------------------------------------------------------------------------- measures and tables


def _of(world: str, read: Callable[[Tables], np.ndarray]) -> Callable[[One], np.ndarray]:
    """A measure of the sites of blocks; NaN for the null model, which has none."""

    def measure(one: One) -> np.ndarray:
        table = one[f"{world}/attribution"]
        return read(table) if _inside(table).any() else np.full(len(table["profile"]), np.nan)

    return measure


MEASURES: Mapping[str, Callable[[One], np.ndarray]] = {
    "attribution": _of("maze", agreement),
    "attribution_tokens": _of("maze", beyond),
    "attribution_over_size": _of("maze", over_size),
    "attribution_over_profile": _of("maze", over_profile),
    "attribution_budget": lambda one: within_budget(one["maze/cost"]),
    "activation_size": _of("maze", size),
    "activation_size_entrant": _of("entrant", size),
    "attribution_entrant": _of("entrant", agreement),
    "attribution_entrant_tokens": _of("entrant", beyond),
    "attribution_entrant_over_size": _of("entrant", over_size),
    "attribution_entrant_over_profile": _of("entrant", over_profile),
    "decided_along": lambda one: before_last(one["maze/attribution"]),
    "decided_along_entrant": lambda one: before_last(one["entrant/attribution"]),
}
"""As `primaries.MEASURES`."""

CONTROLS: Mapping[str, tuple[str, Callable[[One], float]]] = {
    f"{world}: rank correlation in the row of the estimate": (
        "model",
        lambda one, world=world: float(of_estimate(one[f"{world}/attribution"]).mean()),
    )
    for world in WORLDS
}
"""As `primaries.CONTROLS`."""

ESTIMATE = "rank correlation, row of the estimate"
ROWS: Mapping[str, Callable[[Tables], np.ndarray]] = {
    "rank correlation": agreement,
    "rank correlation, signed": signed,
    "rank correlation, within a step": within_step,
    "rank correlation, within a step and block": beyond,
    ESTIMATE: of_estimate,
    "rank correlation of the profile of other clips' effects": lambda table: agreement(table) - over_profile(table),
    **{f"rank correlation of size: {name}": lambda table, name=name: size(table, name) for name in SIZES},
    **{
        f"rank correlation of size: {name}, within a step and block": lambda table, name=name: beyond(table, name)
        for name in SIZES
    },
    "of the largest tenth of effects, found": top,
    **{
        f"of the largest tenth of effects, found by size: {name}": lambda table, name=name: top(table, name)
        for name in SIZES
    },
}


def tables(study: ChainOfSteps, measured: Any) -> dict[str, list[dict[str, Any]]]:
    """What goes with the measured effects, mean over clips, of each training seed; and when it is decided."""
    agree, when = [], []
    for world in WORLDS:
        for who, found in (("model", measured.models), ("null model", measured.others.get("null", {}))):
            each = found.get(f"{world}/attribution", ())
            for name, read in ROWS.items() if each else ():
                if who == "model" or name == ESTIMATE:  # the null model has no blocks
                    numbers = [float(read(table).mean()) for table in each]
                    row = {"world": world, "of": who, "what": name}
                    agree.append(row | {"mean": float(np.mean(numbers)), "per_seed": numbers})
            for rows, where in ((slice(None, -1), "blocks"), (slice(-1, None), "estimate")):
                steps = [by_step(table["profile"][..., rows]) for table in each if table["profile"][..., rows].any()]
                if steps:
                    shares = {f"step {s}": round(float(x), 3) for s, x in enumerate(np.mean(steps, axis=0))}
                    when.append({"world": world, "of": who, "where": where, **shares})
    return {"Attribution: agreement with ablations": agree, "Attribution: share of each step": when}


def before_last(table: Tables) -> np.ndarray:
    """Share of the attribution to the clean estimates that lies before the last step: [clip]. What is said last is what
    is read; a run whose answer was decided by its noise has nothing but that. NaN where there is none at all."""
    amount = table["profile"][..., -1]
    amount = np.where(amount.any(1, keepdims=True), amount, np.nan)
    return amount[:, :-1].sum(1) / amount.sum(1)


def by_step(profile: np.ndarray) -> np.ndarray:
    """Share of the attribution in each step, mean over clips that have any: [S] of [clip, S, row]."""
    amount = profile.sum(-1)
    amount = amount[amount.any(1)]
    return (amount / amount.sum(1, keepdims=True)).mean(0)


# ------------------------------------------------------------------------------------------------------------- figures


def profile(tables: Sequence[Tables], title: str) -> shown.HeatMap:
    """Where a run is decided: share of the absolute attribution in each step and block, mean over clips that have any;
    `tables` of all training seeds."""
    share = np.concatenate([table["profile"] for table in tables])
    share = share[share.any((1, 2))]
    share = share / share.sum((1, 2), keepdims=True)
    blocks = share.shape[-1] - 1
    caption = (
        "Share of |d margin / d dose| in each step and block, mean over clips. Dose: of the ablation of what one block "
        "says to one token, or of that token's clean estimate (last row)."
    )
    names = [*(f"block {k}" for k in range(blocks)), "estimate"]
    labels: dict[str, Any] = {"rows": names, "columns": list(range(share.shape[1])), "x_label": "denoising step"}
    return shown.HeatMap(title, share.mean(0).T, caption, unit="share", **labels)


def film(table: Tables, patch: Sequence[int] = attribution.PATCH) -> Figure:
    """The first clip's film as the run ends, and below it how much each token had to do with that, over all steps and
    blocks (white: nothing; full colour: the most of all tokens)."""
    final = np.clip(table["final"][0], -1, 1)
    t, h, w = (n // p for n, p in zip(final.shape, patch, strict=False))
    amount = abs(table["whole"][0, :, :-1].astype(np.float32)).sum((0, 1)).reshape(t, h, w)
    amount = np.sqrt(amount / amount.max())[..., None]
    amount = amount.repeat(patch[0], 0).repeat(patch[1], 1).repeat(patch[2], 2)
    white, full = np.ones(3), np.array([0.67, -0.26, -1.0])
    sheet = np.stack([final, white + amount * (full - white)])
    sheet = sheet.repeat(4, 2).repeat(4, 3)
    return figures.film_strip(sheet, labels=["the run's film", "attribution"], title="Which tokens decided", width=8)
