"""The arms of the study, what they cost, and how many updates each gets.

Compute is counted in forward equivalents (F): one forward pass on one clip is 1, a backward pass 2, and sampling a clip
one per sampler step (`vrjax.study.bills`). The budget of every arm is the whole bill of DPO with one loser and a live
reference over `study.steps` updates, the sampling of its losers included. An arm with another price gets the number of
updates that the budget buys ("equal compute") and, where that differs by more than a tenth, its state after
`study.steps` updates as a second row. Two arms have a bill of their own, which no comparison calls equal: the released
recipe and GRPO.
"""

from dataclasses import dataclass, replace
from typing import Any

from experiments.realdpo.config import RealDPO
from vrjax.study import bills
from vrjax.study.bills import Bill

HALF = 0.5  # the released code trains on the cleaner half of the noise levels only
OTHER_RANGE = "cleaner half"
RELEASED_RATE, RELEASED_EVERY = 0.001, 100  # of the way to the policy, every so many updates


@dataclass(frozen=True, kw_only=True)
class Regime:
    """One way to post-train a base.

    Attributes:
        name: unique, as in the tables.
        method: the compiled program: a loss of `vrjax.align`, or "grpo".
        group: where it stands in the tables: "baseline", "method", "ablation", "null" or "upper".
        data: "real" (real winners, base samples lose), "invalid" (losers that the verifier calls valid are left out),
            "flipped" (a fair coin swaps the sides of each pair), "other" (losers are the real continuations of other
            clips), "own" (winners are base samples that the verifier calls valid), "same" (the real clips of exactly
            the conditions of "own", as often as there).
        losers, shared: of a pair; one noise for both sides or one each.
        lr, beta, anchor: learning rate, inverse temperature, weight of the anchor.
        high: largest noise level trained on.
        rate, every: the reference goes `rate` of the way to the policy every `every` updates; 0 is frozen.
        reals: real clips used; None for `study.reals`.
        steps: updates, at a bill of its own; None for as many as equal compute buys.
        warmup: updates of warm-up; None for `study.warmup`.
        accumulate: micro-batches of an update.
        summed: the gradient is the sum over losers, as in the released code, not their mean.
        note: what a reader must know.
    """

    name: str
    method: str
    group: str
    data: str = "real"
    losers: int = 1
    shared: bool = True
    lr: float
    beta: float = 1.0
    anchor: float = 0.0
    high: float = 1.0
    rate: float = 0.0
    every: int = 1
    reals: int | None = None
    steps: int | None = None
    warmup: int | None = None
    accumulate: int = 1
    summed: bool = False
    note: str = ""


def bill(arm: Regime, study: RealDPO) -> Bill:
    """Price of an arm."""
    reals = arm.reals or study.reals
    sampled = lambda per_clip: float(bills.sampling(study.sampler_steps, clips=reals * per_clip))
    if arm.method == "sft":
        own = study.losers if arm.data in ("own", "same") else 0
        return Bill(float(bills.sft(study.batch)), sampled(own), reals * own)
    if arm.method == "grpo":
        trajectory = bills.policy_gradient(study.sampler_steps, study.sampler_steps - 1)
        trajectories = study.prompts * study.group
        return Bill(float(trajectories * trajectory), 0.0, trajectories)
    reference = "none" if arm.method == "reference_free" else "frozen"
    each = study.batch * bills.preference(arm.losers, reference)
    # Only an invalid sample is wanted: all candidates are made and judged.
    made = {"other": 0, "invalid": study.losers}.get(arm.data, arm.losers)
    return Bill(float(each), sampled(made), reals * made if arm.data == "invalid" else 0)


def budget(study: RealDPO) -> float:
    """The bill that equal compute refers to, in forward equivalents for one base."""
    return bill(Regime(name="", method="dpo", group="", lr=1.0), study).total(study.steps)


def updates(arm: Regime, study: RealDPO) -> int:
    """Updates of an arm: its own number, or what the budget buys, at least 1.

    Raises:
        ValueError: the budget does not pay for the samples the arm needs.
    """
    if arm.steps is not None:
        return arm.steps
    try:
        return bill(arm, study).updates(budget(study))
    except ValueError as error:
        raise ValueError(f"arm {arm.name!r}: {error}") from None


def rows(arm: Regime, study: RealDPO) -> dict[str, int]:
    """Snapshots of an arm that are scored: row name to number of updates.

    The best points of SFT and GRPO on validation conditions are found while they run and are not among them.
    """
    last = updates(arm, study)
    out = {arm.name: last}
    if abs(last - study.steps) > 0.1 * study.steps and arm.method != "grpo":
        out[f"{arm.name}, equal steps"] = study.steps
    return out


def looks(study: RealDPO) -> list[int]:
    """Numbers of updates at which SFT is looked at on validation conditions: evenly up to twice its equal compute."""
    last = 2 * updates(Regime(name="", method="sft", group="", lr=1.0), study)
    return [round(last * (k + 1) / study.looks) for k in range(study.looks)]


def catalogue(study: RealDPO) -> tuple[Regime, ...]:
    """Every arm, in the order in which they are measured and stand in the tables: where time runs out, the last ones
    fall away first."""
    t = study.tuned
    sft = Regime(name="SFT", method="sft", group="baseline", lr=t.sft_lr)
    plain = Regime(name="RealDPO", method="reg_dpo", group="method", lr=t.dpo_lr, beta=t.beta)
    plain = replace(plain, rate=RELEASED_RATE, every=RELEASED_EVERY, high=t.high)
    anchored = replace(plain, name="RealDPO + SFT anchor", lr=t.anchored_lr, beta=t.anchored_beta, anchor=t.anchor)
    dpop = replace(plain, name="RealDPO + DPOP anchor", method="dpop", lr=t.dpop_lr, beta=t.dpop_beta, anchor=t.penalty)
    vary = lambda base, name, **changes: replace(base, name=f"{base.name}, {name}", group="ablation", **changes)
    moving: dict[str, Any] = {"rate": t.follow, "every": round(t.follow_every)}
    chosen = "the verifier chooses its clips"
    found = (
        sft,
        plain,
        replace(plain, name="null: RealDPO, coin-flipped pairs", group="null", data="flipped"),
        replace(plain, name="null: RealDPO, other real clips lose", group="null", data="other"),
        replace(sft, name="SFT on valid base samples", data="own", note=chosen),
        replace(sft, name="SFT, real clips of the same conditions", data="same", note=chosen),
        anchored,
        released(study),
        vary(plain, "frozen reference", rate=0.0, every=1),
        vary(plain, "moving reference", **moving),
        Regime(
            name="GRPO with the verifier",
            method="grpo",
            group="upper",
            lr=t.grpo_lr,
            steps=study.grpo_steps,
            note="its reward is the test's verifier; a bill of its own",
        ),
        replace(anchored, name="null: anchored, other real clips lose", group="null", data="other"),
        replace(anchored, name="null: anchored, coin-flipped pairs", group="null", data="flipped"),
        replace(plain, name="KTO", method="kto", lr=t.kto_lr, beta=t.kto_beta),
        dpop,
        replace(plain, name="reference-free", method="reference_free", lr=t.free_lr, beta=t.free_beta, rate=0.0),
        vary(plain, "3 losers", losers=3),
        vary(anchored, "3 losers", losers=3),
        vary(plain, OTHER_RANGE, high=HALF),
        vary(anchored, OTHER_RANGE, high=HALF),
        vary(anchored, "independent noise", shared=False),
        vary(anchored, "moving reference", **moving),
        vary(plain, "invalid losers only", data="invalid", note="the verifier chooses its losers"),
        vary(anchored, "invalid losers only", data="invalid", note="the verifier chooses its losers"),
        replace(sft, name="SFT, 16 real clips", group="ablation", reals=16),
        replace(anchored, name="RealDPO + SFT anchor, 16 real clips", group="ablation", reals=16),
    )
    wanted = set(study.arms)
    if unknown := sorted(wanted - {arm.name for arm in found}):
        raise ValueError(f"realdpo: unknown arms {unknown}, expected some of {[arm.name for arm in found]}")
    return tuple(arm for arm in found if not wanted or arm.name in wanted)


def released(study: RealDPO) -> Regime:
    """The released recipe as a whole: all that its code does at once, and not what this study tuned.

    Three losers; one noise and one level for winner and losers; the cleaner half of the levels; the sum of the losers'
    gradients; beta 5000; AdamW with betas (0.9, 0.95), weight decay 1e-4, clip 1, constant after 100 updates of
    warm-up; gradients accumulated over four micro-batches (its four GPUs and four steps make 16 pairs an update: so do
    ours); a reference that goes a thousandth of the way every 100 updates.

    Not as released, because it cannot be: the learning rate (1e-6 is for 5 billion weights; ours is chosen on
    validation bases), the number of updates (nowhere stated), float32 instead of bfloat16, losers without guidance and
    a condition without noise (this base was trained without an empty caption and with exact first frames). Its defects
    are left out too: losers are scaled like winners, and nothing is skipped silently.
    """
    return Regime(
        name="RealDPO, released recipe",
        method="reg_dpo",
        group="method",
        losers=3,
        lr=study.tuned.released_lr,
        beta=5000.0,
        high=HALF,
        rate=RELEASED_RATE,
        every=RELEASED_EVERY,
        steps=study.released_steps,
        warmup=100,
        accumulate=4,
        summed=True,
        note="a bill of its own",
    )
