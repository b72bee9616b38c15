"""Tables, the figure and the report page of a run."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.realdpo import arms, scoring, suite, training, verdicts
from experiments.realdpo.config import RealDPO
from experiments.realdpo.suite import BASE, BEST, CURVE, EXTRA
from experiments.realdpo.verdicts import Row
from vrjax.files import writing
from vrjax.report import claims as claim_files
from vrjax.report import html, parts
from vrjax.study import page as common
from vrjax.study.registration import Registration
from vrjax.study.tables import Tables
from vrjax.tasks.discs import physics, pictures

INTRO = """A base model has watched discs move in a box. Half of what it saw was true, the other half broke physics in
one of four ways: weak gravity, bounces that gain energy, a floor that lets through, bodies that freeze in mid-air. Its
samples are such a mixture. Post-training has a few true clips to take the wrong ways out again.

RealDPO prefers each true clip to the base's own samples of the same first frames. Supervised fine-tuning (SFT) learns
from the true clips alone and is cheaper per update, so it gets more updates for the same compute. The null models keep
all of RealDPO but the preference (a coin decides which side wins) or the base's samples (other real clips lose)."""

NOTES = (
    "Valid: the largest position error over all frames is below one disc radius, 0.06 of the box. The one true future "
    "is known, because frames 0 and 1 give position and velocity. Two discs, a family without real clips, are judged "
    "with twice the tolerance.",
    "Intervals (95 %) have bases as their unit, each with its own conditions: see vrjax.report.seeds. There are no "
    "p-values of arms: over so many rows the smallest that eight bases can have would not survive a correction.",
    "Compute is in forward equivalents (forward 1, backward 2) and bills the sampling of losers. Learning rates, betas "
    "and anchors were chosen on a validation split with bases, real clips and conditions of its own.",
    "Gaps are means over the last 50 updates: error of the policy minus error of the reference, on winners and on "
    "losers. Loser-dominant: pairs that are won only because the loser's error rose more than the winner's.",
    "GRPO is given the verifier that also scores the test; it is no rival but an upper reference. It and the released "
    "recipe have bills of their own: nothing about them is at equal compute.",
    "Reference moved: its distance from the start as a share of the policy's, at the end of the run.",
)
FRONT = (
    BASE,
    verdicts.SFT,
    "SFT, real clips of the same conditions",
    verdicts.OWN,
    "RealDPO",
    "null: RealDPO, coin-flipped pairs",
    "null: RealDPO, other real clips lose",
    "RealDPO, released recipe",
    "RealDPO + SFT anchor",
    "null: anchored, coin-flipped pairs",
    "null: anchored, other real clips lose",
    "RealDPO + DPOP anchor",
    "KTO",
    BEST[verdicts.GRPO],
)
LEDES = {
    "curves": "What each arm gains over compute, on validation conditions: SFT (dotted) is the rival at equal compute. "
    "Then what GRPO's reward does, and how far moving references went.",
    "forests": "Orange: the base, SFT and GRPO. Hollow grey squares: nulls that keep all of RealDPO but its preference "
    "or the base's samples. Only what lies right of the dotted line beats SFT at equal compute.",
}
LOOK = "Arms as they were trained on the first base; the conditions are chosen by rule, by what the arms do on them."
BAND = "Bands: plus and minus 1.96 standard errors over bases."
GRPO = "Mean reward of its own samples on training conditions, 0 to 2."
MOVED = "The reference's distance from the start, as a share of the policy's."
REFERENCES = (
    "RealDPO",
    "RealDPO, released recipe",
    "RealDPO, moving reference",
    "RealDPO + SFT anchor, moving reference",
)
ROLES: dict[str, parts.Role] = {"null": "null", "baseline": "control", "base": "control", "upper": "control"}


def drawn(study: RealDPO, tables: Mapping[str, Tables]) -> list[parts.Forest | parts.Curve]:
    """The README's picture, from kept tables: the arms of the primary claims and their kin, and some over compute."""
    measured = suite.gather(study, tables)
    rows = verdicts.gather(study, measured)
    few = {name: rows[name] for name in FRONT if name in rows}
    return [forest(few, verdicts.comparisons(study, rows), "The arms of the claims"), curve(study, measured)]


def forest(rows: Mapping[str, Row], found: verdicts.Comparisons, title: str = "Every arm") -> parts.Forest:
    """These rows with their intervals."""
    return parts.Forest(
        f"{title}: share of valid samples, one disc",
        [
            parts.Effect(
                f"{name}  ({row.cost / 1000:.0f} kF)",
                found[name]["valid"],
                found[name]["valid_low"],
                found[name]["valid_high"],
                role=ROLES.get(row.group, "model"),
                note=row.note,
            )
            for name, row in rows.items()
        ],
        "95 % intervals over bases, conditions and noises; the reference line is SFT at equal compute.",
        x_label="share of valid samples",
        reference=found[verdicts.SFT]["valid"],
        reference_label="SFT, equal compute",
    )


def curve(study: RealDPO, measured: Mapping[str, Tables]) -> parts.Curve:
    """Valid share on validation conditions over compute, for the arms that were looked at on the way."""
    series = []
    start = measured[BASE]["look_rates"]
    for arm in arms.catalogue(study):
        table = measured.get(arm.name, {})
        if arm.name not in CURVE or "looks" not in table:
            continue
        price = arms.bill(arm, study)
        x = np.array([0.0, *(price.total(int(s)) for s in table["looks"][0])]) / 1000
        series.append(_band(arm.name, np.concatenate([start, table["look_rates"]], 1), x))
    return parts.Curve(
        "Valid samples over compute",
        series,
        f"Validation conditions, from the bases on. {BAND}",
        x_label="compute, 1000 forward equivalents per base (losers included)",
        y_label="share valid",
        sync=False,
    )


def learning(measured: Mapping[str, Tables]) -> list[parts.Curve]:
    """What GRPO's reward does, and how far the references have moved, over updates."""
    of = lambda name: {arm: table[f"log|{name}"] for arm, table in measured.items() if f"log|{name}" in table}
    x = lambda rates: training.BLOCK * (np.arange(rates.shape[1]) + 0.5)
    moved = {arm: rates for arm, rates in of("followed").items() if arm in REFERENCES}
    asked = (
        ("GRPO learns: reward over updates", of("reward"), "reward", GRPO),
        ("How far references move", moved, "share", MOVED),
    )
    return [
        parts.Curve(
            title,
            [_band(arm, rates, x(rates)) for arm, rates in found.items()],
            f"{why} {BAND}",
            x_label="updates",
            y_label=label,
            sync=False,
        )
        for title, found, label, why in asked
        if found
    ]


def _band(name: str, rates: np.ndarray, x: np.ndarray) -> parts.Series:
    """A mean over bases, the first axis, with its standard error."""
    bases, mean = len(rates), rates.mean(0)
    half = 1.96 * rates.std(0, ddof=1) / np.sqrt(bases) if bases > 1 else np.zeros(len(mean))
    return parts.Series(name, mean, x, mean - half, mean + half, role="control" if name == "SFT" else "model")


def scrubbers(study: RealDPO, rows: Mapping[str, Row]) -> list[parts.Scrubber]:
    """The arms on the same test conditions under the same noise, where their samples were kept."""
    shown = {name: rows[name].scores for name in suite.SHOWN if name in rows and "paths" in rows[name].scores}
    if not shown:
        return []
    right = {name: table["bounce/error"][0, :, 0] < verdicts.verifier.TOLERANCE for name, table in shown.items()}
    cases = [
        case(study, shown, right, i, name) for i, name in telling(right, len(next(iter(shown.values()))["paths"][0]))
    ]
    compare = "One first frame, one noise, and what each model makes of it"
    return [parts.Scrubber(cases, title="The arms on one condition", text=LOOK, compare=compare)]


def telling(right: Mapping[str, np.ndarray], n: int) -> list[tuple[int, str]]:
    """Which of the first `n` conditions are shown, by a rule and not by taste, each with its name.

    The first that RealDPO repairs, the first that SFT repairs and RealDPO does not, the first that nobody does; else
    the first of all.
    """
    of = lambda name: right.get(name, np.zeros(n, bool))[:n]
    sft, dpo, base = of(verdicts.SFT), of("RealDPO"), of(BASE)
    asked = (
        ("RealDPO repairs what the base does wrongly", ~base & dpo),
        ("SFT repairs it, RealDPO does not", ~base & sft & ~dpo),
        ("Nobody gets it right", ~np.any([of(name) for name in right], 0)),
        ("The first condition", np.arange(n) == 0),
    )
    found: dict[int, str] = {}
    for name, mask in asked:
        if mask.any():
            found.setdefault(int(mask.argmax()), name)
    return list(found.items())


def case(study: RealDPO, shown: Mapping[str, Tables], right: Mapping[str, np.ndarray], i: int, name: str) -> parts.Case:
    """One test condition of the first base, every arm's sample of the first noise beside the true film."""
    clips = scoring.exam(study.of(study.first)).clips["bounce"][0].take(np.arange(i, i + 1))
    video = lambda path: pictures.render(np.asarray(path, np.float32), physics.RADIUS["bounce"], size=48)
    errors = [float(table["bounce/error"][0, i, 0]) for table in shown.values()]
    return parts.Case(
        name=name,
        prompt=f"gravity {clips.gravity[0]:.2f}, restitution {clips.restitution[0]:.2f}, one disc",
        x0=np.stack([video(table["paths"][0, i]) for table in shown.values()])[:, None],
        truth=video(clips.truth)[0],
        seeds=list(shown),
        solved=[bool(right[arm][i]) for arm in shown],
        outcomes=[f"largest error {error:.3f}" for error in errors],
        world="moving bodies",
        note=f"Test condition {i} of the first base. Valid: no position is off by more than one disc radius, 0.06.",
        truth_label="True film",
    )


def write(
    folder: pathlib.Path,
    study: RealDPO,
    asked: Registration,
    measured: Mapping[str, Tables],
    rows: Mapping[str, Row],
    found: Sequence[claim_files.Claim],
    missing: Sequence[str],
) -> None:
    """`results.json`, `arms.md`, `claims.md`, `realdpo.png` and `report.html`."""
    losers = measured[BASE]["valid_losers"]
    more = measured[EXTRA]
    extra = {
        "valid_losers": float(losers.mean()),
        "false_positives": {family: float(more[f"false_positives/{family}"].mean()) for family in physics.FAMILIES},
        "separable": [str(note) for note in more["separable"]],
        "missing": list(missing),
    }
    one, two = verdicts.comparisons(study, rows), verdicts.comparisons(study, rows, "collide")
    claim_files.write(folder, found, details=verdicts.details(study, rows, one, two, extra), registered=asked.claims)
    notes = [
        *NOTES,
        f"{losers.mean():.0%} of the base's samples of the real clips' first frames are valid: false losers.",
    ]
    writing.text(folder / "arms.md", verdicts.arms_markdown(rows, one, " ".join(notes)))
    writing.text(folder / "claims.md", verdicts.short(found))
    above, below = forest(rows, one), curve(study, measured)
    common.draw(folder / "realdpo.png", above, below, size=(8.4, 3.6))
    html.write(
        folder / "report.html",
        parts.Page(
            title="RealDPO among moving bodies",
            subtitle="Post-training a model that has learned wrong physics, judged by the exact simulator.",
            intro=INTRO,
            scrubbers=scrubbers(study, rows),
            ledes=LEDES,
            claims=list(found),
            curves=[below, *learning(measured)],
            forests=[above],
            tables=[parts.Table("Arms", list(verdicts.HEAD), verdicts.arm_cells(rows, one), "All arms that were run.")],
            notes=[*notes, *missing],
            config=dataclasses.asdict(study),
        ),
    )
