"""What a preference run is: a training run whose loss compares clips. Readable wherever a `TrainConfig` is."""

import math
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from vrjax.align import losses, references
from vrjax.train.config import Ema, Objective, Optim, TrainConfig, Validate


@dataclass(frozen=True, kw_only=True)
class Preference:
    """The loss. Errors are means over elements, and beta is the beta of such errors (published: 100 to 5000)."""

    loss: str = "dpo"
    """A file of `vrjax.align.losses`."""
    beta: float = 500.0
    """Inverse temperature; logged with the run like every field."""
    weighting: Literal["constant", "squared"] = "constant"
    """Beta over noise levels: constant, or beta (1 - sigma)^2."""
    anchor: float = 0.0
    """Weight of the anchor of dpop (max(0, win gap)) and of reg_dpo and local_dpo (the winner's own error)."""
    flipped: float = 0.0
    """smoothed, robust: the share of labels taken to be wrong."""
    margin: float = 0.0
    """reference_free: the margin asked for, in logits."""
    utility: Literal["sigmoid", "loss_averse", "risk_seeking"] = "sigmoid"
    """kto: the utility of a gain."""
    boost: float = 0.0
    """local_dpo: beta of the region is beta (1 + boost (1 - its share of the clip))."""
    losers: int = 1
    """Losers per winner; the loss is their mean."""
    shared_noise: bool = True
    """One noise for the winner and all its losers; false draws one for each."""
    low: float = 0.0
    """Smallest noise level. The levels of `objective` are mapped linearly to [low, high]."""
    high: float = 1.0
    """Largest noise level; RealDPO's released code trains on the cleaner half only, 0.5."""
    bins: int = 5
    """Noise-level bins of the logged errors."""

    def __post_init__(self):
        where = "preference"
        if self.loss not in losses.METHODS:
            raise ValueError(f"unknown preference loss {self.loss!r}, expected one of {', '.join(losses.METHODS)}")
        own = {name for method in losses.METHODS.values() for name in method.reads}
        own -= set(losses.METHODS[self.loss].reads)
        for other in fields(self):
            value = getattr(self, other.name)
            if other.name in own and value != other.default:
                raise ValueError(f"{where}.{other.name}: {self.loss} has no use for it, found {value}")
        if not (math.isfinite(self.beta) and self.beta > 0):
            raise ValueError(f"{where}.beta must be positive and finite, found {self.beta}")
        if not 0.0 <= self.low < self.high <= 1.0:
            raise ValueError(f"{where}: levels need 0 <= low < high <= 1, found low {self.low}, high {self.high}")
        if self.losers < 1 or self.bins < 1:
            raise ValueError(f"{where}: losers and bins must be at least 1, found {self.losers} and {self.bins}")
        if not 0.0 <= self.flipped < 0.5:
            raise ValueError(f"{where}.flipped must lie in [0, 0.5), found {self.flipped}")
        if not (math.isfinite(self.anchor) and self.anchor >= 0):
            raise ValueError(f"{where}.anchor must be finite and not negative, found {self.anchor}")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What the policy is compared with; see `vrjax.align.references`."""

    kind: Literal["frozen", "lora_off", "ema", "sync", "precomputed", "none"] = "frozen"
    """Frozen copy, adapters off, slow average, TR-DPO sync, stored errors, or none."""
    decay: float = 0.999
    """ema: weight of the past at each move."""
    every: int = 100
    """ema, sync: updates between moves."""
    rate: float = 0.6
    """sync: how much of the way to the policy each move goes; 1 copies it."""
    draws: int = 0
    """Draws of the bank per pair; 0 draws noise and levels afresh in every update. precomputed needs at least 1."""

    def __post_init__(self):
        if self.kind not in references.KINDS:
            raise ValueError(f"unknown reference {self.kind!r}, expected one of {', '.join(references.KINDS)}")
        if not (0.0 <= self.decay <= 1.0 and 0.0 < self.rate <= 1.0 and self.every >= 1):
            found = f"found {self.decay}, {self.rate} and {self.every}"
            raise ValueError(f"reference: decay must lie in [0, 1], rate in (0, 1], every be at least 1; {found}")
        if self.draws < 0 or (self.kind == "precomputed" and not self.draws):
            raise ValueError(f"reference.draws: {self.kind} needs a bank of at least 1 draw, found {self.draws}")


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """Losers sampled inside the update, for the winners of its batch."""

    source: Literal["stored", "policy", "base"] = "stored"
    """stored: losers come with the data. policy: from the weights being trained. base: from the reference's weights."""
    steps: int = 20
    """Euler steps."""
    shift: float = 3.0
    """Shift of the sampling grid."""
    guidance: float = 1.0
    """Classifier-free guidance against the empty prompt; 1 is off (RealDPO samples with 6)."""
    candidates: int = 0
    """Sample so many and keep the `preference.losers` farthest from the winner; 0 samples only as many as needed."""
    closest: float = 0.0
    """Losers nearer to their winner than this (mean squared latent difference) count as no losers: the pair's weight
    is the share of its losers that are farther. 0 keeps all."""

    def __post_init__(self):
        if self.steps < 1 or self.candidates < 0:
            raise ValueError(f"rollout: steps {self.steps} must be at least 1, candidates {self.candidates} at least 0")


@dataclass(frozen=True, kw_only=True)
class AlignConfig(TrainConfig):
    """One preference run. Everything of `TrainConfig` holds; `start` names the model that is post-trained."""

    USUAL: ClassVar[dict[str, tuple[str, ...]]] = {
        **TrainConfig.USUAL,
        "data": ("pairs", *TrainConfig.USUAL["data"]),
        "loss": ("preference.loss", "preference.beta", "preference.anchor", "preference.losers", "reference.kind")
        + ("rollout.source", "rollout.steps"),
    }

    preference: Preference = Preference()
    """Loss."""
    reference: Reference = Reference()
    """Reference policy."""
    rollout: Rollout = Rollout()
    """Where losers come from."""
    pairs: str | None = None
    """Folder of encoded pairs (`vrjax.align.cache`). By default winners come from `data` and rollouts are needed."""
    allow_separable: bool = False
    """Train although winners and losers differ in a trivial statistic (`vrjax.align.separability`)."""
    objective: Objective = Objective(shift=1.0, drop=0.0)
    """Distribution of noise levels. Conditions are dropped for policy and reference alike."""
    optim: Optim = Optim(kind="adamw", lr=1e-5, b2=0.95, weight_decay=1e-4, warmup=100, final=1.0)
    """Optimiser: constant after the warm-up, as released."""
    ema: Ema = Ema(decay=0.0, ramp=False)
    """What is validated and exported: by default the policy itself, not an average of it."""
    validate: Validate = Validate(every=0, final_clips=0)
    """Solved-rate on procedural worlds; off by default, since pairs need not come from a world."""
    diverged: float = 1e6
    """The winner's error over that of predicting zero; losers may be driven up without bound, so it is off."""

    @property
    def clips(self) -> int:
        """Clips in one example: the winner and the losers that the loss looks at."""
        return 1 + self.preference.losers if losses.METHODS[self.preference.loss].needs_losers else 1

    def __post_init__(self):
        super().__post_init__()
        name, kind, loss = f"config {self.name!r}", self.reference.kind, self.preference.loss
        online, method = self.rollout.source != "stored", losses.METHODS[self.preference.loss]
        if self.objective.channel_weights or self.objective.weighting != "none":
            unused = "objective.channel_weights and objective.weighting"
            raise ValueError(f"{name}: preferences have no use for {unused}, expected none of them")
        motions = self.data.motions
        if motions is not None and (motions.padded or motions.told_by_text or motions.noisy or self.pairs is not None):
            unused = "data.motions.shortest, told_by_text and noisy, nor for pairs beside data.motions"
            raise ValueError(f"{name}: preferences on motions have no use for {unused}, expected none of them")
        if method.most_losers is not None and self.preference.losers > method.most_losers:
            found = self.preference.losers
            raise ValueError(f"{name}: {loss} takes at most {method.most_losers} losers, found {found}")
        if kind == "lora_off" and self.lora is None:
            raise ValueError(f"{name}: reference lora_off needs a LoRA run, found lora None")
        if kind == "none" and method.needs_reference:
            raise ValueError(f"{name}: {loss} needs a reference; reference none is for losses that compare with none")
        if kind != "none" and method.needs_losers and not method.needs_reference:
            raise ValueError(f"{name}: {loss} uses no reference, set reference.kind to none (found {kind})")
        if kind == "precomputed" and online:
            raise ValueError(
                f"{name}: stored reference errors are of stored losers, found rollout {self.rollout.source}"
            )
        if self.reference.draws and online:
            raise ValueError(f"{name}: a bank of draws belongs to stored pairs, found rollout {self.rollout.source}")
        if self.reference.draws and (self.objective.drop or self.objective.drop_others):
            raise ValueError(
                f"{name}: a bank of draws has no condition dropout, set objective.drop and drop_others to 0"
            )
        if self.reference.draws and not self.preference.shared_noise:
            raise ValueError(f"{name}: a bank of draws shares its noise, found preference.shared_noise false")
        if self.rollout.candidates and self.rollout.candidates < self.preference.losers:
            raise ValueError(
                f"{name}: {self.rollout.candidates} rollout candidates cannot give {self.preference.losers} losers"
            )
        if self.rollout.source == "base" and kind not in ("frozen", "lora_off", "ema", "sync"):
            raise ValueError(f"{name}: rollouts from the base need a reference model, found reference {kind}")
        if method.needs_masks and kind == "precomputed":
            raise ValueError(f"{name}: errors of parts are not stored, {loss} needs a live reference")
        if method.needs_masks and online:
            raise ValueError(f"{name}: {loss} needs the masks of stored pairs, found rollout {self.rollout.source}")
        if self.pairs is not None and online:
            raise ValueError(
                f"{name}: pairs holds losers, so rollout.source must be 'stored', found {self.rollout.source}"
            )
        if self.pairs is None and not online and method.needs_losers:
            raise ValueError(f"{name}: no losers: set pairs to a folder, or rollout.source to 'policy' or 'base'")
