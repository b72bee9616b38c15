"""What a training run is: frozen dataclasses, readable from `configs/*.py`, from JSON, and from command-line flags."""

import math
import pathlib
import runpy
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, ClassVar, Literal

from vrjax.data.motions import Motions
from vrjax.files import records, tensors
from vrjax.models import family


@dataclass(frozen=True, kw_only=True)
class Data:
    """Training clips: a mixture of procedural worlds, encoded clips, or procedural motions; one Grain pipeline."""

    mix: dict[str, float] = field(default_factory=lambda: {"maze": 1.0})
    """Task name to weight; weights are normalised."""
    batch: int = 32
    """Clips in one update, over all devices and hosts."""
    split: str = "train"
    """Which layouts to train on."""
    codec_factor: int = 4
    """Side of the pixel blocks the codec averages."""
    cache: str | None = None
    """Folder of encoded clips (`vrjax encode`); the fields of worlds (mix, split, codec_factor) are then not read."""
    motions: Motions | None = None
    """Procedural motions, made inside the update; the fields of worlds are then not read."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Flow matching: which noise levels are trained and how often a condition is withheld."""

    times: Literal["uniform", "logit_normal"] = "uniform"
    """Distribution of noise levels before the shift; stratified over the batch in both cases."""
    shift: float = 3.0
    """Moves training levels towards noise, as sampling does."""
    mean: float = 0.0
    """Mean of the logit (logit_normal only)."""
    std: float = 1.0
    """Standard deviation of the logit (logit_normal only)."""
    low: float = 0.0
    """Lowest level before the shift: an expert is trained on its own part of the levels."""
    high: float = 1.0
    """Highest level before the shift."""
    drop: float = 0.1
    """How often the conditions that guidance withholds (the prompt) are replaced by zeros; each example by itself."""
    drop_others: float = 0.0
    """How often each other condition (a first frame) is replaced by zeros."""
    channel_weights: tuple[tuple[int, float], ...] = ()
    """Pairs (channel, weight): from this channel on, errors count so much; 1 before the first. ViMoGen: (258, 3)."""
    weighting: Literal["none", "bsmntw", "clean"] = "none"
    """How errors count by noise level: those of the velocity all alike, in a bell around the middle (ViMoGen), or as
    those of the clean example (of networks that predict it); mean 1 over the levels."""


@dataclass(frozen=True, kw_only=True)
class Optim:
    """Optimiser and learning rate; see `vrjax.train.optim.make`."""

    kind: Literal["muon", "adamw"] = "muon"
    """Muon for block matrices with Adam for the rest, or AdamW for everything."""
    lr: float = 3e-3
    """Peak learning rate of Adam."""
    muon_scale: float = 4.0
    """Muon's learning rate over Adam's."""
    muon_patterns: tuple[str, ...] | None = None
    """Regular expressions on dotted parameter paths: what Muon updates. By default what the family says."""
    momentum: float = 0.95
    """Muon's momentum."""
    b1: float = 0.9
    """Adam's first decay."""
    b2: float = 0.98
    """Adam's second decay."""
    weight_decay: float = 0.01
    """Decoupled weight decay."""
    warmup: int = 50
    """Updates of linear warm-up."""
    final: float = 0.02
    """Last learning rate over the peak."""
    clip: float | None = 1.0
    """Global gradient norm is clipped to this."""


@dataclass(frozen=True, kw_only=True)
class Ema:
    """Moving average of the weights: what is validated and exported, if there is one."""

    decay: float = 0.995
    """Weight of the past; 0 keeps no average, and the weights themselves are validated and exported."""
    ramp: bool = True
    """Use min(decay, (1 + step) / (10 + step))."""


@dataclass(frozen=True, kw_only=True)
class Validate:
    """Periodic solved-rate of the moving average on held-out clips, by sampling videos and verifying them."""

    every: int = 200
    """Updates between validations; 0 never validates before the end."""
    clips: int = 16
    """Clips per world while training."""
    final_clips: int = 64
    """Clips per world at the end of the run (written to results.json); 0 skips it."""
    split: str = "val"
    """Which layouts."""
    steps: int = 8
    """Euler steps of the sampler."""
    shift: float = 3.0
    """Shift of the sampling grid."""
    group: int = 16
    """Clips sampled in one compiled call."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """When the whole state of the run is saved."""

    every: int = 100
    """Updates between checkpoints; the last update is always saved."""
    keep: int = 3
    """How many complete checkpoints stay on disk (at least 2: the older one is the way back from a torn one)."""


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Train low-rank adapters of a frozen base model instead of all weights; the export has them merged in."""

    rank: int = 8
    """Inner size."""
    alpha: float | None = None
    """Strength: the update is multiplied by alpha / rank. By default alpha is the rank."""
    patterns: tuple[str, ...] | None = None
    """Regular expressions on dotted parameter paths: which matrices are adapted. By default what the family says."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run. Equal configs on equal devices end in equal bits, however often a run is killed."""

    USUAL: ClassVar[dict[str, tuple[str, ...]]] = {
        "run": ("name", "steps", "seed", "start"),
        "data": ("data.cache", "data.batch", "accumulate"),
        "loss": ("objective.times", "objective.shift", "objective.drop"),
        "optimiser": ("optim.kind", "optim.lr", "optim.warmup", "optim.weight_decay", "ema.decay"),
        "adapters": ("lora.rank", "lora.alpha"),
        "network": ("model.dim", "model.layers", "model.remat"),
        "validation, checkpoints": ("validate.every", "validate.final_clips", "checkpoint.every"),
        "devices": ("mesh", "dtype"),
    }
    """Of the short help: title to fields."""

    name: str
    """The run folder is runs/<name>."""
    model: Annotated[Any, family.read]
    """The network: a config of any family of `vrjax.models`."""
    steps: int
    """Updates."""
    data: Data = Data()
    """Training clips."""
    objective: Objective = Objective()
    """Loss."""
    optim: Optim = Optim()
    """Optimiser."""
    ema: Ema = Ema()
    """Moving average."""
    start: str | None = None
    """A model folder or file to start from, as the family loads it; random weights by default."""
    lora: Lora | None = None
    """Adapters only; needs `start`."""
    accumulate: int = 1
    """Micro-batches per update; the batch is split, the gradient averaged."""
    validate: Validate = Validate()
    """Solved-rate while training."""
    checkpoint: Checkpoint = Checkpoint()
    """Saving."""
    mesh: dict[str, int] = field(default_factory=dict)
    """Devices per mesh axis (seed, data, fsdp, context, tensor); empty means one device."""
    rules: dict[str, Any] = field(default_factory=dict)
    """Logical axis to mesh axes; overrides single entries of the built-in rules."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Compute dtype; auto is bfloat16 on GPU and TPU, float32 on CPU. Weights, optimiser and loss stay float32."""
    seed: int = 0
    """Seeds initial weights, noise, levels, dropout and the order of the data."""
    log_every: int = 1
    """Updates between rows of metrics.jsonl."""
    diverged: float = 10.0
    """Stop when the loss exceeds this many times the loss of predicting zero."""

    @property
    def clips(self) -> int:
        """Clips that the network sees for one example of a batch."""
        return 1

    def __post_init__(self):
        if not hasattr(self.model, "family"):
            raise ValueError(f"config {self.name!r}: model {self.model!r:.80} is no family's config")
        if self.optim.muon_patterns is None:  # resolved here, so that a stored config says what was meant
            object.__setattr__(self, "optim", replace(self.optim, muon_patterns=tuple(self.model.MUON)))
        if self.lora is not None and self.lora.patterns is None:
            object.__setattr__(self, "lora", replace(self.lora, patterns=tuple(self.model.TARGETS)))
        if not 0.0 <= self.ema.decay <= 1.0:
            raise ValueError(f"config {self.name!r}: ema.decay must lie in [0, 1], found {self.ema.decay}")
        positive = {
            "steps": self.steps,
            "data.batch": self.data.batch,
            "accumulate": self.accumulate,
            "checkpoint.every": self.checkpoint.every,
            "log_every": self.log_every,
            "validate.group": self.validate.group,
            "validate.steps": self.validate.steps,
        }
        for name, value in positive.items():
            if value < 1:
                raise ValueError(f"config {self.name!r}: {name} must be at least 1, found {value}")
        if self.checkpoint.keep < 2:
            raise ValueError(f"config {self.name!r}: checkpoint.keep must be at least 2, found {self.checkpoint.keep}")
        spec = self.objective
        if not 0.0 <= spec.low < spec.high <= 1.0:
            raise ValueError(
                f"config {self.name!r}: objective needs 0 <= low < high <= 1, found {spec.low} and {spec.high}"
            )
        without = {"encoded clips": self.data.cache, "motions": self.data.motions}
        chosen = [what for what, data in without.items() if data is not None]
        if len(chosen) > 1:
            raise ValueError(f"config {self.name!r}: found data.cache and data.motions, expected one of them")
        if chosen and (self.validate.every or self.validate.final_clips):
            raise ValueError(
                f"config {self.name!r}: {chosen[0]} have no verifier: set validate.every, validate.final_clips to 0"
            )
        if self.data.batch % self.accumulate:
            raise ValueError(
                f"config {self.name!r}: data.batch {self.data.batch} is not divisible by accumulate {self.accumulate}"
            )
        if not self.data.mix or any(not math.isfinite(w) or w <= 0 for w in self.data.mix.values()):
            raise ValueError(f"config {self.name!r}: data.mix needs finite weights > 0, found {self.data.mix}")
        if self.lora is not None and self.start is None:
            raise ValueError(f"config {self.name!r}: lora adapts a trained model, set start to its folder")
        if not self.name or self.name != pathlib.PurePath(self.name).name or self.name in (".", ".."):
            raise ValueError(f"config name {self.name!r} must be a plain folder name")


def load(path: str | pathlib.Path, kind: Any = TrainConfig) -> Any:
    """The config of a Python file (its `config()` function) or of a run's `config.json`, of this kind and no other.

    Args:
        path: the file.
        kind: a class, or a tuple of several, each with fields that the others have not.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file does not define what is expected; the message says what.
    """
    path, kinds = pathlib.Path(path), kind if isinstance(kind, tuple) else (kind,)
    expected = " or ".join(one.__name__ for one in kinds)
    if path.suffix != ".json":
        config = defined(path)["config"]()
        if type(config) not in kinds:
            raise ValueError(f"{path}: config() returned {type(config).__name__}, expected {expected}")
        return config
    if not path.is_file():
        raise FileNotFoundError(f"no config file {path}")
    stored = tensors.read_json(path)
    if not isinstance(stored.get("config"), dict):
        raise ValueError(f"{path} is not a run's config.json: it has no 'config' object")
    owns = {one: {f.name for f in fields(one)} - {f.name for f in fields(TrainConfig)} for one in kinds}
    fitting = [one for one, own in owns.items() if not own or own & set(stored["config"])]
    if not fitting:
        names = ", ".join(sorted(set().union(*owns.values())))
        raise ValueError(f"{path}: holds none of {names}, expected a {expected}")
    chosen = max(fitting, key=lambda one: len(owns[one] & set(stored["config"])))
    if not owns[chosen] and "preference" in stored["config"]:
        raise ValueError(f"{path}: a run of preferences (vrjax align), expected a {expected}")
    return records.from_dict(chosen, stored["config"], str(path))


def defined(path: pathlib.Path) -> dict[str, Any]:
    """What a Python file of a config defines: `config`, a function, and perhaps more.

    Raises:
        FileNotFoundError: there is no such file. ValueError: it is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no config file {path}")
    if path.suffix != ".py":
        raise ValueError(f"{path}: a config is a .py file with a config() function, or a run's config.json")
    try:
        names = runpy.run_path(str(path))
    except SyntaxError as error:
        raise ValueError(f"{path}, line {error.lineno}: {error.msg}") from None
    if not callable(names.get("config")):
        raise ValueError(f"{path} has no config() function")
    return names
