"""The search on the validation split: its own bases, real clips and conditions; what it finds is written into `Tuned`.

Every method has a grid of its own, fixed here; a setting is judged by the share of valid samples of one disc at equal
compute. The whole table is published, not the best rows.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.realdpo import arms, scoring, training
from experiments.realdpo.arms import Regime
from experiments.realdpo.config import RealDPO, Tuned
from experiments.realdpo.suite import Suite
from vrjax.files import writing
from vrjax.report import tables
from vrjax.study.tables import Tables

HEAD = ("method", "learning rate", "beta", "anchor", "noise levels up to", "valid", "per base", "win gap", "lose gap")
HEAD = (*HEAD, "reference moved", "updates")
MOTIONS = ((0.1, 10), (0.05, 10), (0.3, 20))  # of references: how much of the way, every so many updates


def study(**changes) -> RealDPO:
    """The validation split: two bases whose seeds no test base has."""
    unused = Tuned(**{field.name: 1.0 for field in dataclasses.fields(Tuned)})  # the grid brings its own numbers
    fixed: dict[str, Any] = dict(name="realdpo_tune", split="val", first=1000, bases=2, conditions=100, noises=2)
    return RealDPO(**{**fixed, "held_noises": 1, "tuned": unused, **changes})


def grid(study: RealDPO) -> tuple[Regime, ...]:
    """The settings of the search, by method."""
    found: list[Regime] = []

    def add(method: str, name: str, *settings: tuple[float, ...], **changes: Any) -> None:
        more = "".join(f" {key} {value}" for key, value in changes.items())
        slow = {"rate": 0.0 if method in ("sft", "grpo", "reference_free") else arms.RELEASED_RATE, "every": 100}
        for lr, beta, anchor, high in settings:
            found.append(
                Regime(
                    name=f"{name} lr {lr:g} beta {beta:g} anchor {anchor:g} to {high:g}{more}",
                    method=method,
                    group=name + more,
                    lr=lr,
                    beta=beta,
                    anchor=anchor,
                    high=high,
                    **{**slow, **changes},
                )
            )

    anchored, dpop = "RealDPO + SFT anchor", "RealDPO + DPOP anchor"
    add("sft", "SFT", *((lr, 1, 0, 1) for lr in (1e-4, 3e-4, 1e-3)))
    add("reg_dpo", anchored, *((3e-4, b, 5, 1) for b in (3, 10, 30)), (3e-4, 3, 1, 1), (1e-4, 10, 5, 1))
    add("reg_dpo", "RealDPO", (1e-4, 100, 0, 1), *((3e-5, b, 0, 1) for b in (10, 30, 100, 1000)), (1e-5, 100, 0, 1))
    add("kto", "KTO", *((1e-4, b, 0, 1) for b in (3, 10, 30)), (3e-5, 10, 0, 1), (3e-4, 3, 0, 1))
    add("dpop", dpop, *((lr, 100, 30, 1) for lr in (1e-4, 3e-4)), (3e-4, 10, 30, 1), (1e-4, 10, 3, 1))
    free = "reference-free"
    add("reference_free", free, *((lr, b, 0, 1) for lr in (3e-6, 1e-5) for b in (10, 100)), (3e-5, 100, 0, 1))
    # In which regime does a loser help at all? Cleaner levels, chosen losers, more of them, few real clips.
    add("reg_dpo", anchored, (3e-4, 3, 1, 0.5))
    add("reg_dpo", "RealDPO", (3e-5, 100, 0, 0.5))
    add("reg_dpo", anchored, (3e-4, 3, 1, 1), data="invalid")
    add("reg_dpo", "RealDPO", (3e-5, 100, 0, 1), data="invalid")
    add("sft", "SFT", (3e-4, 1, 0, 1), reals=16)
    add("reg_dpo", anchored, (3e-4, 3, 1, 1), reals=16)
    add("reg_dpo", anchored, (3e-4, 3, 1, 1), losers=3)
    # A reference that is some half of the policy's way from the start.
    for rate, every in MOTIONS:
        add("reg_dpo", "RealDPO", (3e-5, 100, 0, 1), rate=rate, every=every)
        add("reg_dpo", anchored, (3e-4, 3, 1, 1), rate=rate, every=every)
    recipe = arms.released(study)
    for lr in (1e-6, 1e-5, 3e-5, 1e-4):
        found.append(dataclasses.replace(recipe, name=f"{recipe.name} lr {lr:g}", group=recipe.name, lr=lr))
    add("grpo", "GRPO", *((lr, 1, 0, 1) for lr in (3e-5, 1e-4, 2e-4)), steps=study.grpo_steps)
    return tuple(found)


def measure(suite: Suite, arm: Regime) -> Tables:
    """Scores of a setting after its equal-compute updates, on one disc only; kept in the run folder."""

    def make() -> Tables:
        params, log = None, []
        for _, params, logged in suite.train(arm, arms.updates(arm, suite.study)):  # noqa: B007
            log.append(logged)
        exam = scoring.exam(suite.study)
        one = dataclasses.replace(exam, clips={"bounce": exam.clips["bounce"]})
        found = scoring.score(suite.study, suite.sampler, params, one)
        return found | {f"log|{k}": v for k, v in training.stacked(log).items()}

    return suite.bench.part(f"tune-{writing.slug(arm.name)}", make)


def run(suite: Suite, say: Callable[[str], None]) -> str:
    """Measures every setting of the grid; returns the table in markdown."""
    rate = scoring.valid
    all_of = lambda: scoring.score(suite.study, suite.sampler, suite.params, scoring.exam(suite.study))
    base = suite.bench.part("tune-base", all_of)
    say(f"base: {rate(base).mean():.3f} valid of one disc, {scoring.valid(base, 'collide').mean():.3f} of two")
    rows = [["base", "", "", "", "", f"{rate(base).mean():.3f}", _each(rate(base)), "", "", "", "0"]]
    for arm in grid(suite.study):
        found = measure(suite, arm)
        last = lambda name, found=found: f"{np.mean(found[f'log|{name}'][-50:]):+.3g}" if f"log|{name}" in found else ""
        numbers = [f"{x:g}" for x in (arm.lr, arm.beta, arm.anchor, arm.high)]
        rows.append(
            [
                *(
                    arm.group,
                    *numbers,
                    f"{rate(found).mean():.3f}",
                    _each(rate(found)),
                    last("win_gap"),
                    last("lose_gap"),
                ),
                f"{found['log|followed'][-1].mean():.3f}" if "log|followed" in found else "",
                str(arms.updates(arm, suite.study)),
            ]
        )
        say(f"{rows[-1][5]} {arm.name} ({' '.join(rows[-1][6:])})")
    return tables.markdown(HEAD, rows)


def _each(valid: np.ndarray) -> str:
    return " ".join(f"{x:.2f}" for x in valid.mean((1, 2)))
