"""A base's scenes and its arms, in parts that are kept as soon as they are measured.

What a part keeps is slim: every clip as read, state indices of its cells, and the metrics of these. The videos that the
page shows are parts of their own ("films-..."), of the first base alone.
"""

import dataclasses
import functools
import json
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.vchain import thoughts
from experiments.vchain.arms import (
    Programs,
    changed_kinds,
    encode,
    interpolated,
    matching,
    noises,
    strangers,
    tuning_set,
)
from experiments.vchain.config import VChain
from vrjax.files import writing
from vrjax.models.wan import WanDiT
from vrjax.reasoning.thoughts import pictures
from vrjax.reasoning.thoughts.keyframes import VisualThoughts
from vrjax.reasoning.thoughts.reasoners.learned import NextState
from vrjax.study.tables import Bench, Tables
from vrjax.tasks import Clip
from vrjax.tasks.chains import rules, score, words

KEPT = 24  # scenes whose videos are kept for looking at: VChain is right on few novel ones
SHARES = ("primary", "completion", "no_violation")
METRICS = (*SHARES, "order", "states", "appearance", "readable", "motion", "distinct")

LABELS = {
    "truth": "the true film",
    "still": "the first frame, standing still",
    "t2v": "T2V (short prompt)",
    "augmented": "T2V + prompt augmentation",
    "text": "w/o visual thought (ordered thoughts, no tuning)",
    "shuffled": "control: thoughts in shuffled order, no tuning",
    "linear": "w/o sparse tuning (keyframes, linear)",
    "nearest": "w/o sparse tuning (keyframes, nearest)",
    "pinned": "control: keyframes given at their true times (no tuning)",
    "held": "control: keyframes given at their true times, the last one held (no tuning)",
    "vchain": "VChain",
    "vchain_shuffled": "control: VChain, thoughts in shuffled order",
    "tuned_short": "control: tuned, short prompt",
    "placebo": "control: tuned on another scene, own thoughts",
    "stranger_short": "control: tuned on another scene, short prompt",
    "tries": "control: best of k, ordered thoughts, equal compute",
    "tries_short": "control: best of k, short prompt, equal compute",
    "text_learned": "learned reasoner: ordered thoughts, no tuning",
    "nearest_learned": "learned reasoner: nearest keyframe",
    "vchain_learned": "learned reasoner: VChain",
}
NOISY = {
    "text_noisy_": "ordered thoughts, no tuning",
    "nearest_noisy_": "nearest keyframe",
    "vchain_noisy_": "VChain",
    "tries_noisy_": "best of k, ordered thoughts, equal compute",
}


def label(arm: str) -> str:
    """What an arm is called in tables."""
    for kind, words_ in NOISY.items():
        if arm.startswith(kind):
            return f"noisy reasoner, p = {arm.removeprefix(kind)}: {words_}"
    return LABELS[arm]


def parts(study: VChain) -> dict[str, tuple[str, ...]]:
    """The parts of the study in the order in which they are measured, each of all bases, and the arms of each. Where
    time is short the last ones fall away first, and never a base."""
    noisy = {
        f"noisy-{r:g}": tuple(f"{kind}_noisy_{r:g}" for kind in ("text", "nearest", "vchain")) for r in study.rates
    }
    return {
        "text": ("truth", "still", "t2v", "augmented", "text", "shuffled", "linear", "nearest", "pinned", "held"),
        "tuned": ("vchain", "vchain_shuffled", "tuned_short", "placebo", "stranger_short"),
        "tries": ("tries",),
        "curve": ("curve",),
        **noisy,
        **{f"tries-noisy-{rate:g}": (f"tries_noisy_{rate:g}",) for rate in study.noisy_tries},
        "tries-short": ("tries_short",),
        "learned": ("text_learned", "nearest_learned", "vchain_learned"),
    }


@dataclasses.dataclass(frozen=True)
class Scenes:
    """A base's scenes: clips, their truths, oracle chains (after a round trip through files), noises and placebos."""

    task: rules.Chains
    clips: tuple[Clip, ...]
    seeds: tuple[int, ...]
    truths: list[score.Truth]
    chains: list[VisualThoughts]
    instants: list[tuple[int, ...]]
    other: np.ndarray

    @property
    def novel(self) -> np.ndarray:
        """Whether a novel kind changes, (scenes,)."""
        return np.array([truth.novel.any() for truth in self.truths])


def scenes(study: VChain, seed: int, folder: pathlib.Path, n: int | None = None) -> Scenes:
    """The scenes of the base of a training seed: no two bases share a clip number.

    Args:
        seed: of the base.
        folder: where the chains are written in the paper's layout, and read back.
        n: how many; the study's by default.
    """
    here = rules.Chains(frames=study.frames, cells=study.cells)
    clips = rules.numbered(here, study.split, n or study.scenes, first=1_000 * seed)
    kinds = [clip.meta["layout"]["kinds"] for clip in clips]
    oracles = [thoughts.oracle(here, clip) for clip in clips]
    chains = [
        thoughts.think(c.prompt, o, o, limit=words.ORDERS - 1).thoughts for c, o in zip(clips, oracles, strict=True)
    ]
    return Scenes(
        here,
        tuple(clips),
        tuple(clip.meta["seed"] for clip in clips),
        [score.truth(k, study.frames) for k in kinds],
        thoughts.through_folder(chains, folder),
        [oracle.instants for oracle in oracles],
        strangers([changed_kinds(k, study.frames) for k in kinds]),
    )


@dataclasses.dataclass
class Base:
    """One base under measurement.

    Attributes:
        bench: keeps its tables.
        programs: of the study, shared by all bases.
        dit: the model.
        seed: its training seed.
        on: its scenes.
        model: the learned reasoner's.
        shown: whether the films that the page shows are kept.
        films: these, uint8 (KEPT, t, h, w, 3) of each arm's first noise.
    """

    bench: Bench
    programs: Programs
    dit: WanDiT
    seed: int
    on: Scenes
    model: NextState
    shown: bool
    films: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def measure(self, part: str) -> dict[str, Tables]:
        """The arms of one of `parts`: arm -> {metric: (scenes, noises), "read": int8 (scenes, noises, t, cells)}; the
        trade-off is {metric: (updates, scenes, 1)}."""
        videos = functools.cache(lambda: self._make(part))
        flat = self.bench.part(f"base{self.seed}-{part}", lambda: self._billed(part, videos))
        if self.shown and part != "curve":
            films = lambda: {arm: pictures.to_uint8(video[:KEPT, 0]) for arm, video in videos().items()}
            self.films |= self.bench.part(f"films-base{self.seed}-{part}", films, packed=False)
        return unflat(flat)

    def _billed(self, part: str, videos: Callable[[], dict[str, Any]]) -> Tables:
        """The tables of a part; what it cost goes into the folder `bill`."""
        began = time.process_time()
        made, out = videos(), {}
        for arm, value in made.items():
            tables = value if part == "curve" else judged(value, self.on.truths)
            out |= {f"{arm}.{metric}": array for metric, array in tables.items()}
        bill(self.bench.folder, self.seed, part, time.process_time() - began)
        return out

    def _make(self, part: str) -> dict[str, Any]:
        """The videos of a part's arms (scenes, noises, t, h, w, 3); of the curve, its tables."""
        study, on = self.programs.study, self.on
        kind, _, rate = part.rpartition("-")
        if kind == "noisy":
            return self._reasoned(f"noisy_{rate}", self._wrong(float(rate)))
        if kind == "tries-noisy":
            chains = self._wrong(float(rate))
            return {f"tries_noisy_{rate}": self._best(stories(chains), chains)}
        if part == "learned":
            return self._reasoned("learned", [thoughts.learned(self.model, clip) for clip in on.clips])
        if part == "tries":
            return {"tries": self._best(stories(on.chains), on.chains)}
        if part == "tries-short":
            return {"tries_short": self._best(self._short(), on.chains)}
        if part == "curve":
            return {"curve": self._curve()}
        return {"text": self._untuned, "tuned": self._tuned}[part](noises(study, on.seeds, study.noises))

    def _untuned(self, noise: np.ndarray) -> dict[str, np.ndarray]:
        study, on, story = self.programs.study, self.on, stories(self.on.chains)
        draw = functools.partial(self.programs.sample, self.dit)
        ends = [words.augmented(c.prompt, words.caption(t.film[-1])) for c, t in zip(on.clips, on.truths, strict=True)]
        known, mask = keyframes_in_time(study, on)
        held, longer = keyframes_in_time(study, on, hold=True)
        films = np.stack([clip.video for clip in on.clips])
        several = lambda video: np.repeat(np.asarray(video, np.float32)[:, None], study.noises, 1)
        return {
            "truth": several(films),
            "still": several(np.repeat(films[:, :1], study.frames, 1)),
            "t2v": draw(self._short(), noise),
            "augmented": draw(np.stack([encode(text) for text in ends]), noise),
            "text": draw(story, noise),
            "shuffled": draw(shuffled_stories(on.chains), noise),
            "linear": several(stills(study, on.chains, "linear")),
            "nearest": several(stills(study, on.chains, "nearest")),
            "pinned": draw(story, noise, known=known, mask=mask),
            "held": draw(story, noise, known=held, mask=longer),
        }

    def _tuned(self, noise: np.ndarray) -> dict[str, np.ndarray]:
        on, short, story = self.on, self._short(), stories(self.on.chains)
        draw = functools.partial(self.programs.sample, self.dit)
        own = self.programs.tune(self.dit, tuning_set(on.chains, self.programs.study.cells), on.seeds)
        others = at(own, on.other)
        return {
            "vchain": draw(story, noise, adapter=own),
            "vchain_shuffled": draw(shuffled_stories(on.chains), noise, adapter=own),
            "tuned_short": draw(short, noise, adapter=own),
            "placebo": draw(story, noise, adapter=others),
            "stranger_short": draw(short, noise, adapter=others),
        }

    def _reasoned(self, tag: str, chains: Sequence[VisualThoughts]) -> dict[str, np.ndarray]:
        """VChain with the thoughts of another reasoner, and its rivals with the very same thoughts."""
        study, told = self.programs.study, stories(chains)
        noise = noises(study, self.on.seeds, study.noises)
        adapters = self.programs.tune(self.dit, tuning_set(chains, study.cells), self.on.seeds)
        return {
            f"text_{tag}": self.programs.sample(self.dit, told, noise),
            f"nearest_{tag}": np.repeat(stills(study, chains, "nearest")[:, None], study.noises, 1),
            f"vchain_{tag}": self.programs.sample(self.dit, told, noise, adapter=adapters),
        }

    def _best(self, texts: np.ndarray, chains: Sequence[VisualThoughts]) -> np.ndarray:
        """Of k videos of each text the one that shows the keyframes best."""
        study, k = self.programs.study, self.programs.study.tries
        more = noises(study, self.on.seeds, study.noises * k)
        # The first of each k is the noise that the other arms have, the k - 1 after them are of no other k.
        order = [[m, *range(study.noises + m * (k - 1), study.noises + (m + 1) * (k - 1))] for m in range(study.noises)]
        videos = self.programs.sample(self.dit, texts, more)
        return np.array([[v[o[matching(v[o], c)]] for o in order] for v, c in zip(videos, chains, strict=True)])

    def _curve(self) -> Tables:
        study, on = self.programs.study, self.on
        n = min(study.curve_scenes, len(on.clips))
        noise, story = noises(study, on.seeds[:n], 1), stories(on.chains[:n])
        data = tuning_set(on.chains[:n], study.cells)
        kept = self.programs.tune(self.dit, data, on.seeds[:n], keep=study.curve, steps=study.curve[-1])
        rows = [
            score.table(self.programs.sample(self.dit, story, noise, adapter=at(kept, slice(None), i)), on.truths[:n])
            for i in range(len(study.curve))
        ]
        return {metric: np.stack([small(metric, row[metric]) for row in rows]) for metric in METRICS}

    def _short(self) -> np.ndarray:
        return np.stack([encode(clip.prompt) for clip in self.on.clips])

    def _wrong(self, rate: float) -> list[VisualThoughts]:
        return [thoughts.noisy(self.on.task, clip, rate, self.programs.study.seed) for clip in self.on.clips]


def unflat(flat: Mapping[str, np.ndarray]) -> dict[str, Tables]:
    """ "arm.metric" -> array, by arm and metric. (An arm's name may hold a point.)"""
    out: dict[str, Tables] = {}
    for key, value in flat.items():
        arm, _, metric = key.rpartition(".")
        out.setdefault(arm, {})[metric] = value
    return out


def judged(videos: np.ndarray, truths: list[score.Truth]) -> Tables:
    """Videos (scenes, noises, t, h, w, 3) as read, and their metrics, in small types."""
    read = np.array([[score.read(v, truth.kinds) for v in line] for line, truth in zip(videos, truths, strict=True)])
    found = score.table_of_states(read, truths)
    return {"read": read.astype(np.int8)} | {metric: small(metric, found[metric]) for metric in METRICS}


def small(metric: str, values: np.ndarray) -> np.ndarray:
    """A metric in the smallest type that holds it."""
    return values.astype(bool if metric in SHARES else np.float32)


def bill(folder: pathlib.Path, seed: int, part: str, seconds: float) -> None:
    """Notes the CPU seconds of a part that was measured just now (of all threads, compilation included)."""
    row = {"base": seed, "part": part, "cpu_seconds": round(seconds, 1)}
    writing.json(folder / "bill" / f"base{seed}-{part}.json", row, indent=None)


def bills(folder: pathlib.Path) -> list[dict[str, Any]]:
    """What was noted in a run's folder: for each part, of how many bases, their mean and their whole CPU minutes."""
    rows = [json.loads(file.read_text("utf-8")) for file in sorted((folder / "bill").glob("*.json"))]
    out = []
    for name in dict.fromkeys(row["part"] for row in rows):
        minutes = [row["cpu_seconds"] / 60 for row in rows if row["part"] == name]
        out.append({"part": name, "bases": len(minutes), "minutes": np.mean(minutes), "all": sum(minutes)})
    return sorted(out, key=lambda row: -row["minutes"])


def stories(chains: Sequence[VisualThoughts]) -> np.ndarray:
    """The concatenated thoughts of all chains, encoded."""
    return np.stack([encode(chain.story) for chain in chains])


def shuffled_stories(chains: Sequence[VisualThoughts]) -> np.ndarray:
    """The same thoughts in an order that is not theirs: after the first, the last one comes at once. (A chain of two
    has no other order.)"""
    return stories([c._replace(key_frames=(*c.key_frames[-1:], *c.key_frames[:-1])) for c in chains])


def stills(study: VChain, chains: Sequence[VisualThoughts], how: str) -> np.ndarray:
    """The keyframes of all chains, interpolated, (scenes, t, h, w, 3)."""
    return np.stack([interpolated(chain, study.frames, how) for chain in chains])


def keyframes_in_time(study: VChain, on: Scenes, *, hold: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The keyframes at the frames where they happen, (scenes, t, h, w, 3), and which frames those are (scenes, t).

    Args:
        hold: the last one is held to the end of the video, too.
    """
    first = pictures.to_float(on.chains[0].frames[0])
    known = np.zeros((len(on.chains), study.frames, *first.shape), np.float32)
    mask = np.zeros((len(on.chains), study.frames), bool)
    for i, (chain, instants) in enumerate(zip(on.chains, on.instants, strict=True)):
        for frame, t in zip(chain.frames, instants, strict=True):
            known[i, t], mask[i, t] = pictures.to_float(frame), True
        if hold:
            known[i, instants[-1] :], mask[i, instants[-1] :] = known[i, instants[-1]], True
    return known, mask


def at(tree: Mapping[str, Any], *index: Any) -> Any:
    """Adapters indexed along their leading axes."""
    return jax.tree.map(lambda a: a[index], tree)
