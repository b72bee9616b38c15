"""Claims of a study: registered before the run, judged from its tables, told at its end.

    asked = registration.read(__file__)                     # claims.json beside the module
    found = {"cos.memory": Finding(values, measured={"entrant solved": rates}, beside={"untrained": 0.02})}
    rows = claims.settle(asked, found, quick=study.quick, resamples=study.resamples)

What a paper adds is how a claim's values are read from its tables, as [training seed, instance, noise]. The statistics
are those of `vrjax.report.seeds`, the records and verdicts those of `vrjax.report.record`.
"""

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from rich.console import Console

from vrjax.report import claims as files
from vrjax.report import seeds, statistics
from vrjax.report.claims import Claim, Contrast, Missing, Published
from vrjax.report.record import KINDS
from vrjax.report.statistics import RESAMPLES, Estimate
from vrjax.study.registration import Registration, checks, fingerprint, read, stated


@dataclass(frozen=True)
class Finding:
    """What a study found about one claim.

    Attributes:
        values: [training seed, instance, noise] of what the claim is about; several arrays by name for a claim of
            several contrasts that must all hold, the names being those of the registered ones.
        design: "nested" where each seed has its own instances, "crossed" where all seeds share them.
        measured: name of a gate, positive control or dose -> its number for each seed.
        beside: the same statistic of others by name: the null model, an untrained network, a placebo.
        fill: names in braces that the registered texts hold, such as `{tries}`, and their values.
        arms: names of the arms compared.
        notes: what a reader must know beside the registered notes.
    """

    values: np.ndarray | Mapping[str, np.ndarray]
    design: str = "nested"
    measured: Mapping[str, ArrayLike] = field(default_factory=dict)
    beside: Mapping[str, float] = field(default_factory=dict)
    fill: Mapping[str, Any] = field(default_factory=dict)
    arms: Sequence[str] = ()
    notes: str = ""


def settle(
    asked: Registration, found: Mapping[str, Finding], *, quick: bool, resamples: int = RESAMPLES
) -> list[Claim]:
    """The registered claims with what was found about them, in order; those without a finding are left out.

    Holm's correction is over all registered primaries: one that was not measured, or not tested, counts with a p-value
    of 1.

    Args:
        asked: what was registered.
        found: by the claims' ids.
        quick: print numbers only: every verdict is None, and beside each stands what the committed full run found
            (`published`). Without, it is None where there are fewer training seeds than registered, or only one.
        resamples: bootstrap draws, and random flips where there are too many to enumerate.

    Raises:
        ValueError: something was found about a claim that was not registered, or there are too few seeds for so many
            primaries.
    """
    known = {claim["id"]: claim for claim in asked.claims}
    if foreign := sorted(set(found) - set(known)):
        raise ValueError(f"{asked.path}: claim {foreign[0]!r} was not registered")
    rows = {name: _measured(known[name], found[name], resamples) for name in known if name in found}
    full = published(asked) if quick else {}
    for name, row in rows.items():
        many = known[name].get("seeds") or asked.seeds or 2
        quiet = quick or row["seeds"] < many
        if quiet and not quick and many > 2:
            row["notes"] = f"{row['notes']} {row['seeds']} of the {many} registered seeds: no verdict.".strip()
        row["verdict"], row["full"] = None if quiet else "", full.get(name)
        if row["role"] == "primary" and not quiet:
            asked.enough(row["seeds"])
    ps = [rows[name]["p"] if name in rows and _tested(rows[name]) else 1.0 for name in asked.primaries]
    for name, value in zip(asked.primaries, statistics.holm(np.array(ps)).adjusted if ps else (), strict=True):
        if name in rows:
            rows[name]["holm"] = float(value)
    return [Claim(**row) for row in rows.values()]


def _tested(row: Mapping[str, Any]) -> bool:
    """Whether all checks passed and everything varies."""
    varies = row["interval"] is not None and all(one.interval is not None for one in row["contrasts"])
    return varies and all(check.passed for check in row["checks"])


def _measured(claim: Mapping[str, Any], finding: Finding, resamples: int) -> dict[str, Any]:
    """The fields of a claim, but for Holm's p-value and the verdict."""
    several, least = _contrasts(claim, finding)
    how: dict[str, Any] = {"design": finding.design, "resamples": resamples}
    contrasts: list[Contrast] = []
    for name, values in several.items():
        estimate = seeds.interval(values, bounds=claim["bounds"] and tuple(claim["bounds"]), **how)
        p = float(seeds.p_value(values, side=claim["direction"], smallest=least[name], **how))
        per_seed = tuple(np.asarray(values, np.float64).mean((1, 2)).tolist())
        contrasts.append(Contrast(name, float(estimate.value), ends(estimate), p, least[name], per_seed))
    # All must hold: the weakest one, measured by its smallest effect, speaks for the claim; of those that should be
    # equal to the null it is the farthest from it.
    strength = {"greater": lambda value: value, "less": lambda value: -value, "equal": lambda value: -abs(value)}
    weakest = min(contrasts, key=lambda one: strength[claim["direction"]](one.estimate) / least[one.name])
    values = np.asarray(several[weakest.name], np.float64)
    filled = lambda name: claim[name].format(**finding.fill) if finding.fill else claim[name]
    return {
        **{name: filled(name) for name in ("id", "paper", "statement", "statistic", "unit")},
        **{name: claim[name] for name in ("direction", "role")},
        **{name: getattr(weakest, name) for name in ("estimate", "interval", "smallest", "per_seed")},
        "seeds": values.shape[0],
        "instances": seeds.instances(values, finding.design),
        "null": 0.0,
        "p": max(one.p for one in contrasts),
        "share": seeds.components(values, finding.design).share,
        "checks": tuple(check for kind in KINDS for check in checks(claim, kind, finding.measured)),
        "beside": dict(finding.beside),
        "contrasts": tuple(contrasts) if len(contrasts) > 1 else (),
        "arms": tuple(finding.arms),
        "notes": " ".join(filter(None, (filled("notes"), finding.notes))),
    }


def _contrasts(claim: Mapping[str, Any], finding: Finding) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The values of each contrast and its smallest effect, by name, in the registered order; of a claim that is no more
    than one the name is the claim's."""
    named = {one["name"]: one["smallest"] for one in claim.get("contrasts", ())}
    values = finding.values
    if not isinstance(values, Mapping):
        values = {next(iter(named)) if len(named) == 1 else claim["id"]: values}
    if named and set(values) != set(named):
        raise ValueError(f"{claim['id']}: expected values of the contrasts {list(named)}, found {list(values)}")
    least = named or dict.fromkeys(values, claim["smallest"])
    return {name: values[name] for name in least}, least


def ends(estimate: Estimate) -> tuple[float, float] | None:
    """The interval of an estimate; None where it does not end."""
    low, high = estimate.interval
    return (low, high) if np.isfinite((low, high)).all() else None


def publish(path: pathlib.Path, asked: Registration, rows: Iterable[Claim], **details: Any) -> pathlib.Path:
    """Writes the `results.json` of a full run that is committed beside a paper's module, see `published`."""
    as_now = {claim["id"]: fingerprint(stated(claim)) for claim in asked.claims}
    return files.write(path, rows, details={"registered_as": as_now, **details}, registered=asked.claims)


def published(paper: str | pathlib.Path | Registration) -> dict[str, Published]:
    """What the committed full run of a paper found, by the claims' ids; nothing where none is committed.

    A claim that was registered otherwise than it is now is marked so in its notes.

    Args:
        paper: a module's file, whose folder holds `claims.json` and `results.json`, or what was registered.

    Raises:
        ValueError: the file is no results file of a full run.
    """
    asked = paper if isinstance(paper, Registration) else read(paper)
    file = asked.path.with_name(files.FILE)
    if not file.exists():
        return {}
    then, now = files.read_details(file).get("registered_as"), {one["id"]: stated(one) for one in asked.claims}
    if not isinstance(then, dict):
        raise ValueError(f"{file}: no results of a full run (it does not say what was registered)")
    same = lambda name: name in now and then.get(name) == fingerprint(now[name])
    return {
        row.id: Published(
            row.estimate, row.interval, row.seeds, row.verdict, "" if same(row.id) else "registered otherwise then"
        )
        for row in files.read(file)
    }


def missing(asked: Registration, rows: Iterable[Claim]) -> list[Missing]:
    """The registered claims that are not among the rows."""
    there = {row.id for row in rows}
    return [Missing(c["id"], c["statement"], c["role"]) for c in asked.claims if c["id"] not in there]


def between(value: float, interval: Sequence[float] | None, form: str = "+.3f") -> str:
    """A number with its interval; a dash for that of a statistic that does not vary."""
    return f"{value:{form}} [" + (" - " if interval is None else ", ".join(f"{e:{form}}" for e in interval)) + "]"


def tell(console: Console, found: Iterable[Claim | Missing]) -> None:
    """One line a claim: estimate, interval, seeds and instances, verdict; why it was not tested, and what the full run
    found. Of a run that gives no verdicts, one line for all that it left out."""
    rows, say = list(found), lambda line: console.print(line, highlight=False, soft_wrap=True)
    look = not any(isinstance(row, Claim) and row.verdict for row in rows)
    for row in rows:
        if isinstance(row, Claim):
            many = f"{row.seeds} seed{'s' * (row.seeds > 1)}, n={row.instances}"
            line = f"  {row.id:<32} {between(row.estimate, row.interval):<28} {many:<17} "
            line += "; ".join((files.verdict(row), *(row.failed if row.verdict == "not tested" else ())))
            say(line + ("" if row.full is None else f"; full run: {row.full}"))
        elif not look:
            say(f"  {row.id:<32} missing: registered, but not measured in this run")
    if look and (left := [row.id for row in rows if isinstance(row, Missing)]):
        say(f"  registered, but not measured in this run: {', '.join(left)}")
