"""The arms of a training seed: their motions, and the tables of them; and the clips that a student learns from.

    one = arms.Seed(study, here, video, judges, seed)
    one.measure(names.T2M)                                        # the table of an arm, what is missing trained first
    one.told(), one.clips(), one.shown(names.ARMS)                # what the gate sees; the clips; what the page shows
    arms.clips(study, here, seed, teacher, video, judges)         # (512, 60, 276) from the gated teacher, for a student

Every motion of an arm starts from the noise of its item: arms differ in weights and conditions alone. Of each kind,
from text and from a reference, there is one compiled program for all models and seeds.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx, traverse_util
from jaxtyping import Array, Bool, Float, Float16

from experiments.vimogen import films, gates, lifter, measuring, names, solved, training
from experiments.vimogen.config import SETS, ViMoGen
from vrjax.data.motions import Motions
from vrjax.files import kept
from vrjax.flow import draws
from vrjax.models.embedded import shipped
from vrjax.motion import rep276
from vrjax.study.tables import Bench, Tables

SHIFT = training.TOLD.shift  # of the grid
PATH = solved.ROTATIONS  # by which joints come from rows
TEACHER = "teacher"
TOLD = {names.T2M: TEACHER} | {name: name for name in (names.UNTRAINED, names.CONTROL, names.STUDENT)}
TOLD |= {name: name for name in (names.LIFTED, names.SYNTHETIC)}
"""Arm -> weights, of those that are told by text."""
LED = (names.M2M, names.TRUE)
"""Arms in which the teacher is led by a reference."""
FILMED = (names.VIDEO, names.M2M)
"""Arms that need films of the video model."""
OF_ITEMS, OF_CLIPS = 0, 1  # streams of noises
KEPT = 6  # motions of each set whose joints the page may show


class Made(NamedTuple):
    """Motions of a model: normalised rows and joints."""

    rows: Float[np.ndarray, "n t 276"]
    joints: Float[np.ndarray, "n t 22 3"]


class Clips(NamedTuple):
    """What the gated teacher makes for its student, see `gates.learnable`.

    Attributes:
        latent: normalised rows.
        text: what they were asked for.
        chosen: whether they were led by the film, and not told by the text.
    """

    latent: Float16[np.ndarray, "n t 276"]
    text: Float[np.ndarray, "n l d"]
    chosen: Bool[np.ndarray, " n"]


# ----------------------------------------------------------------------------------------------------------- sampling


def noises(study: ViMoGen, seed: int, stream: int, count: int) -> Float[np.ndarray, "n t 276"]:
    """Initial noises of a training seed's motions; an item's does not depend on how many there are."""
    root = jax.random.fold_in(jax.random.fold_in(draws.key(study.seed), stream), seed)
    one = lambda number: jax.random.normal(jax.random.fold_in(root, number), (films.ROWS, rep276.WIDTH))
    with draws.settled(True):
        return np.asarray(jax.jit(jax.vmap(one))(jnp.arange(count)))


def drawn(
    study: ViMoGen,
    here: Bench,
    model: Any,
    branch: str,
    noise: Float[Any, "n t 276"],
    given: Float[Any, "n _ _"],
    label: str,
) -> Made:
    """Motions of a model, from texts (`solved.TEXT`) or from references (`solved.MOTION`)."""
    asked = solved.Asked(study.steps, study.guidance, PATH, SHIFT)

    def one(model: Any, row: Any) -> tuple[Array, Array]:
        rows = solved.sampled(model, row["noise"], asked, branch, row["given"])
        return rows, solved.joints_of(rows, asked.path)

    return Made(*here.over(one, model, {"noise": noise, "given": np.asarray(given, np.float32)}, label))


def bodies(here: Bench, bank: films.Bank, label: str) -> Float[np.ndarray, "n t 22 3"]:
    """The video baseline: the lifted bodies themselves, on their feet."""
    one = lambda _, row: lifter.placed(lifter.Lifted(**{name: x.astype(jnp.float32) for name, x in row.items()}))
    return here.over(one, None, bank._asdict(), label)


def learnable(here: Bench, found: films.Bank | films.Wild, label: str) -> Float[np.ndarray, "n t 276"]:
    """Normalised rows of lifted bodies; of these only the joints' own rotations should be learned."""
    one = lambda _, row: lifter.rows(lifter.Lifted(**{name: x.astype(jnp.float32) for name, x in row.items()}))
    return here.over(one, None, {"reference": found.reference, "height": found.height}, label)


def trust(told: Tables) -> tuple[np.ndarray, np.ndarray]:
    """What the gate sees of lifted bodies, in the order of `gates.adaptive`: jitter, and cosine with the text."""
    return told["metrics"][:, names.METRICS.index("Jitter_Degree")], told["match"]


# -------------------------------------------------------------------------------------------------------------- clips


def clips(study: ViMoGen, here: Bench, seed: int, teacher: Any, video: films.Video, judges: measuring.Judges) -> Clips:
    """What a student learns from: for each prompt of distillation the motion of the branch that the gate chooses, but
    none of a verb that mocap lacks where the film is not to be trusted (`gates.learnable`).

    They are the teacher's own rows as they leave the sampler, smoothed, in half precision, and no judge looks at them
    before the student does.
    """
    asked = films.prompts(study)
    found = _clips(study, here, seed, teacher, video, judges)
    index = gates.learnable(found["script"], found["chosen"])
    return Clips(found["latent"][index], asked.text[index], found["chosen"][index])


def _clips(
    study: ViMoGen, here: Bench, seed: int, teacher: Any, video: films.Video, judges: measuring.Judges
) -> Tables:
    """The clips of all prompts, and what judges say of them."""

    def make() -> Tables:
        asked, bank = films.distillation(study, here, video, seed)
        read = functools.partial(measuring.table, here, judges, asked.script, asked.text)
        chosen = gates.adaptive(*trust(read(bodies(here, bank, "bodies of prompts"), "gate of prompts")), study.gate)
        noise = noises(study, seed, OF_CLIPS, len(chosen))
        made = Made(np.empty_like(noise), np.empty((*noise.shape[:2], 22, 3), np.float32))
        for where, branch, given in ((~chosen, solved.TEXT, asked.text), (chosen, solved.MOTION, bank.reference)):
            if where.any():
                label = f"seed {seed}: clips {branch}"
                few = drawn(study, here, teacher, branch, noise[where], given[where], label)
                made.rows[where], made.joints[where] = few
        said = read(made.joints, f"seed {seed}: judging clips")
        script = np.stack(asked.script, 1).astype(np.int8)
        whole = {"latent": made.rows.astype(np.float16), "chosen": chosen, "script": script}
        return whole | {name: said[name] for name in ("rules", "recogniser")}

    of = {"weights": fingerprint(teacher), "video": video.of, "judges": judges.of}
    return here.part(f"clips-seed{seed}", make, of=of, packed=False)


def fingerprint(model: Any) -> str:
    """A hash of all weights of a model."""
    found = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(model):
        value = np.asarray(leaf)
        found.update(f"{jax.tree_util.keystr(path)} {value.dtype} {value.shape}".encode())
        found.update(value.tobytes())
    return found.hexdigest()


def _part(bank: training.Bank, some: slice) -> training.Bank:
    return training.Bank(*(x[some] for x in bank))


# ------------------------------------------------------------------------------------------------------------ a seed


@dataclasses.dataclass
class Seed:
    """One training seed under measurement.

    Attributes:
        study: sizes.
        here: keeps its tables.
        video: makes the films, of all seeds.
        judges: of all arms.
        number: of the seed.
    """

    study: ViMoGen
    here: Bench
    video: films.Video
    judges: measuring.Judges
    number: int
    _joints: dict[str, np.ndarray] = dataclasses.field(default_factory=dict, init=False, repr=False)
    _trained: dict[str, Tables] = dataclasses.field(default_factory=dict, init=False, repr=False)

    @functools.cached_property
    def items(self) -> solved.Items:
        """What is asked for."""
        return films.items(self.study, self.number)

    @functools.cached_property
    def bank(self) -> films.Bank:
        """Films of the items, lifted."""
        return films.bank(self.study, self.here, self.video, self.number, self.items.text)

    def weights(self, name: str) -> Any:
        """The model of a training, by the names in `TOLD`; what is missing is trained and kept."""
        if name == names.UNTRAINED:
            return training.model(training.fresh(self.number))
        return training.model(training.weights(self.trained(name)))

    def trained(self, name: str) -> Tables:
        """What a training left: weights by name, and curves of its errors."""
        if name not in self._trained:
            given = self.study, self.here, self.number
            if name != TEACHER:
                made = training.further(*given, name, self.trained(TEACHER), self.material(name))
            elif self.study.shipped:
                state = nnx.split(shipped.load(shipped.of_motions()))[1]
                flat = traverse_util.flatten_dict(nnx.to_pure_dict(state), sep=".")
                made = {key: np.asarray(value) for key, value in flat.items()}
            else:
                made = training.teacher(*given)
            self._trained[name] = made
        return self._trained[name]

    def material(self, name: str) -> training.Bank:
        """What a further training is shown beside S, as much for each of them, so that all are one program.

        Raises:
            ValueError: no such training.
        """
        study, here = self.study, self.here
        if name == names.CONTROL:
            return training.more_mocap(self.number, study.clips)
        if name == names.STUDENT:
            found = clips(study, here, self.number, self.weights(TEACHER), self.video, self.judges)
            return training.bank(found.latent.astype(np.float32), found.text, estimated=False)
        if name not in (names.LIFTED, names.SYNTHETIC):
            further = (names.CONTROL, names.STUDENT, names.LIFTED, names.SYNTHETIC)
            raise ValueError(f"unknown training {name!r}, expected one of {', '.join((TEACHER, *further))}")
        true = films.wild(study, here, self.video)
        bank = training.bank(learnable(here, true, "true films as rows"), true.text, estimated=True)
        if name == names.SYNTHETIC:  # every second one of either kind: prompts are of C first, and then of V
            asked, made = films.distillation(study, here, self.video, self.number)
            other = training.bank(learnable(here, made, "films of prompts as rows"), asked.text, estimated=True)
            half = study.clips // 2
            bank = training.joined(_part(bank, slice(study.clips - half)), _part(other, slice(1, None, 2)))
        return bank

    def joints(self, arm: str) -> Float[np.ndarray, "n t 22 3"]:
        """The motions of an arm, in the order of `items`; made once.

        Raises:
            ValueError: no such arm.
        """
        if arm not in names.ARMS:
            raise ValueError(f"unknown arm {arm!r}, expected one of {', '.join(names.ARMS)}")
        if arm not in self._joints:
            self._joints[arm] = np.asarray(self._make(arm), np.float32)
        return self._joints[arm]

    def _make(self, arm: str) -> Any:
        true, label = self.items.joints, f"seed {self.number}: {arm}"
        if arm == names.TRUTH:
            return true
        if arm == names.FROZEN:
            return np.broadcast_to(true[:, :1], true.shape)
        if arm == names.NEAREST:
            return solved.nearest(Motions(rows=films.ROWS), self.number, self.items.text)
        if arm == names.VIDEO:
            return bodies(self.here, self.bank, label)
        noise = noises(self.study, self.number, OF_ITEMS, len(true))
        if arm in LED:
            name, branch = TEACHER, solved.MOTION
            given = self.bank.reference if arm == names.M2M else self.items.reference
        else:
            name, branch, given = TOLD[arm], solved.TEXT, self.items.text
        return drawn(self.study, self.here, self.weights(name), branch, noise, given, label).joints

    def measure(self, arm: str) -> Tables:
        """The table of an arm, see `measuring.table`."""
        say = functools.partial(measuring.table, self.here, self.judges, self.items.script, self.items.text)
        make = lambda: say(self.joints(arm), f"seed {self.number}: judging {arm}")
        return self.here.part(names.part(self.number, arm), make, of=self._of(arm))

    def told(self, arms: Sequence[str] = names.ARMS) -> Tables:
        """Of the items: `script` (n, 6), and what the gate sees of their films: `jitter` and `cosine` (n,); `text
        features` (n, 32); and where both are among the arms how far the student's joints are from the control's, `far
        student control` (n,), mean over frames and joints, metres."""
        pair = (names.STUDENT, names.CONTROL)
        pair = pair if {*pair} <= {*arms} else ()

        def make() -> Tables:
            asked, label = self.items, f"seed {self.number}: what the gate sees"
            seen = measuring.read(self.here, self.judges, asked.script, asked.text, self.joints(names.VIDEO), label)
            jitter, cosine = trust(seen)
            told = {"script": np.stack(asked.script, 1).astype(np.int8), "jitter": jitter, "cosine": cosine}
            told["text features"] = seen["text features"]
            if pair:
                one, other = map(self.joints, pair)
                told["far student control"] = np.linalg.norm(one - other, axis=-1).mean((1, 2)).astype(np.float32)
            return told

        of = [self._of(arm) for arm in (names.VIDEO, *pair)]
        return self.here.part(names.part(self.number, names.ITEMS), make, of=of)

    def clips(self) -> Tables:
        """Of the clips of all prompts for the student: `rules`, `recogniser`, `chosen` (n,), and `script` (n, 6)."""
        make = lambda: _clips(self.study, self.here, self.number, self.weights(TEACHER), self.video, self.judges)
        slim = lambda: {name: value for name, value in make().items() if name != "latent"}
        of = self._of(names.M2M)
        return self.here.part(names.part(self.number, names.CLIPS), slim, of=of)

    def curves(self, trainings: Sequence[str]) -> Tables:
        """Mean errors of every `training.BLOCK` updates: "control text" (blocks,) and so on, of these trainings."""
        make = lambda: {
            f"{name} {key.removeprefix('curve.')}": value
            for name in trainings
            for key, value in self.trained(name).items()
            if key.startswith("curve.")
        }
        of = {name: self.mark(name) for name in trainings}
        return self.here.part(names.part(self.number, names.TRAINING), make, of=of)

    def shown(self, arms: Sequence[str]) -> Tables:
        """Joints of the first `KEPT` items of each set, of each of these arms, and `items`, which these are."""
        n = self.study.items
        which = np.concatenate([np.arange(i * n, i * n + min(KEPT, n)) for i in range(len(SETS))])
        make = lambda: {"items": which} | {arm: self.joints(arm)[which] for arm in arms}
        of = {arm: self._of(arm) for arm in arms}
        return self.here.part(names.part(self.number, names.SHOWN), make, of=of, packed=False)

    def _of(self, arm: str) -> dict[str, Any]:
        """What the motions of an arm are made of beside the study's sizes, and who judges them."""
        of: dict[str, Any] = {"judges": self.judges.of}
        if arm in FILMED:
            of["video"] = self.video.of
        if arm in TOLD or arm in LED:
            of["weights"] = self.mark(TOLD.get(arm, TEACHER))
        return of

    def mark(self, name: str) -> str:
        """Fingerprint of the weights of a training, which is kept with the tables: whoever has those of a seed, from
        another machine or from an archive, judges and goes on without its weights."""
        of = {"video": self.video.of, "judges": self.judges.of}
        if self.study.shipped:
            of["shipped"] = kept.fingerprint(shipped.path(shipped.of_motions()))
        make = lambda: {"sha256": np.frombuffer(bytes.fromhex(fingerprint(self.weights(name))), np.uint8)}
        return self.here.part(names.part(self.number, f"weights of {name}"), make, of=of)["sha256"].tobytes().hex()
