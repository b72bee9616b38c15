"""The arms of one base, in parts that are kept as soon as they are measured."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
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
from vrjax.models.wan import WanDiT
from vrjax.reasoning.thoughts import pictures
from vrjax.reasoning.thoughts.keyframes import VisualThoughts
from vrjax.reasoning.thoughts.reasoners.learned import NextState
from vrjax.study.tables import Bench, Tables
from vrjax.tasks import Clip
from vrjax.tasks.chains import rules, score, words

SHOWN = 6  # scenes whose videos are kept for looking at

LABELS = {
    "t2v": "T2V (short prompt)",
    "augmented": "T2V + prompt augmentation",
    "text": "w/o visual thought (ordered thoughts, no tuning)",
    "linear": "w/o sparse tuning (keyframes, linear)",
    "nearest": "w/o sparse tuning (keyframes, nearest)",
    "vchain": "VChain",
    "tuned_short": "control: tuned, short prompt",
    "placebo": "control: tuned on another scene, own thoughts",
    "stranger_short": "control: tuned on another scene, short prompt",
    "pinned": "control: keyframes given at their true times (no tuning)",
    "tries_short": "control: best of k, short prompt, equal compute",
    "tries": "control: best of k, ordered thoughts, equal compute",
    "text_learned": "learned reasoner: ordered thoughts, no tuning",
    "vchain_learned": "learned reasoner: VChain",
}


def label(arm: str) -> str:
    """What an arm is called in tables."""
    for kind, words_ in (("vchain_noisy_", "VChain"), ("text_noisy_", "ordered thoughts, no tuning")):
        if arm.startswith(kind):
            return f"noisy reasoner, p = {arm.removeprefix(kind)}: {words_}"
    return LABELS[arm]


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


def scenes(study: VChain, index: int, folder: pathlib.Path, n: int | None = None) -> Scenes:
    """The scenes of base number `index`: no two bases share a clip number.

    Args:
        folder: where the chains are written in the paper's layout, and read back.
        n: how many; the study's by default.
    """
    here = rules.Chains(frames=study.frames, cells=study.cells)
    clips = rules.numbered(here, study.split, n or study.scenes, first=1_000 * index)
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


def measure(
    bench: Bench, programs: Programs, study: VChain, dit: WanDiT, index: int, on: Scenes, model: NextState
) -> dict[str, Tables]:
    """Every arm of one base.

    Returns:
        arm -> {metric: (scenes, noises), "shown": uint8 videos (SHOWN, t, h, w, 3) of the first noise}; the trade-off
        under "curve": {metric: (updates, scenes, 1)}.
    """
    name, noise = f"base{study.bases[index]}", noises(study, on.seeds, study.noises)
    short = np.stack([encode(clip.prompt) for clip in on.clips])
    story = stories(on.chains)
    out: dict[str, Tables] = {}

    def part(label: str, make: Any) -> None:
        flat = bench.part(f"{name}-{label}", lambda: {f"{a}.{k}": v for a, t in make().items() for k, v in t.items()})
        for key, value in flat.items():
            arm, _, metric = key.rpartition(".")
            out.setdefault(arm, {})[metric] = value

    def judged(videos: np.ndarray) -> Tables:
        shown = pictures.to_uint8(np.asarray(videos[:SHOWN, 0], np.float32))
        return score.table(videos, on.truths) | {"shown": shown}

    def base_arms() -> dict[str, Tables]:
        ends = [words.augmented(c.prompt, words.caption(t.film[-1])) for c, t in zip(on.clips, on.truths, strict=True)]
        known, mask = keyframes_in_time(study, on)
        still = lambda how: np.stack([interpolated(c, study.frames, how) for c in on.chains])[:, None]
        several = lambda video: np.repeat(video, study.noises, 1)
        return {
            "t2v": judged(programs.sample(dit, short, noise)),
            "augmented": judged(programs.sample(dit, np.stack([encode(text) for text in ends]), noise)),
            "text": judged(programs.sample(dit, story, noise)),
            "pinned": judged(programs.sample(dit, story, noise, known=known, mask=mask)),
            "linear": judged(several(still("linear"))),
            "nearest": judged(several(still("nearest"))),
        }

    def tuned_arms() -> dict[str, Tables]:
        adapters = programs.tune(dit, tuning_set(on.chains, study.cells), on.seeds)
        others = at(adapters, on.other)
        return {
            "vchain": judged(programs.sample(dit, story, noise, adapter=adapters)),
            "tuned_short": judged(programs.sample(dit, short, noise, adapter=adapters)),
            "placebo": judged(programs.sample(dit, story, noise, adapter=others)),
            "stranger_short": judged(programs.sample(dit, short, noise, adapter=others)),
        }

    def reasoned(tag: str, chains: Sequence[VisualThoughts]) -> dict[str, Tables]:
        told, adapters = stories(chains), programs.tune(dit, tuning_set(chains, study.cells), on.seeds)
        return {
            f"text_{tag}": judged(programs.sample(dit, told, noise)),
            f"vchain_{tag}": judged(programs.sample(dit, told, noise, adapter=adapters)),
        }

    def tries() -> dict[str, Tables]:
        k = study.tries
        more = noises(study, on.seeds, study.noises * k)
        # The first of each k is the noise that the other arms have, the k - 1 after them are of no other k.
        order = [[m, *range(study.noises + m * (k - 1), study.noises + (m + 1) * (k - 1))] for m in range(study.noises)]
        best: dict[str, Tables] = {}
        for arm, texts in (("tries_short", short), ("tries", story)):
            videos = programs.sample(dit, texts, more)
            picked = [[v[o[matching(v[o], c)]] for o in order] for v, c in zip(videos, on.chains, strict=True)]
            best[arm] = judged(np.array(picked))
        return best

    def curve() -> dict[str, Tables]:
        n = min(study.curve_scenes, len(on.clips))
        few, chains = on.truths[:n], on.chains[:n]
        data = tuning_set(chains, study.cells)
        kept = programs.tune(dit, data, on.seeds[:n], keep=study.curve, steps=study.curve[-1])
        rows = [
            score.table(programs.sample(dit, story[:n], noise[:n, :1], adapter=at(kept, slice(None), i)), few)
            for i in range(len(study.curve))
        ]
        return {"curve": {metric: np.stack([row[metric] for row in rows]) for metric in score.METRICS}}

    part("text", base_arms)
    part("oracle", tuned_arms)
    part("tries", tries)
    part("learned", lambda: reasoned("learned", [thoughts.learned(model, clip) for clip in on.clips]))
    for rate in study.rates:
        chains = lambda r=rate: [thoughts.noisy(on.task, clip, r, study.seed) for clip in on.clips]
        part(f"noisy-{rate:g}", lambda r=rate, c=chains: reasoned(f"noisy_{r:g}", c()))
    part("curve", curve)
    return out


def stories(chains: Sequence[VisualThoughts]) -> np.ndarray:
    """The concatenated thoughts of all chains, encoded."""
    return np.stack([encode(chain.story) for chain in chains])


def keyframes_in_time(study: VChain, on: Scenes) -> tuple[np.ndarray, np.ndarray]:
    """The keyframes at the frames where they happen, (scenes, t, h, w, 3), and which frames those are (scenes, t)."""
    first = pictures.to_float(on.chains[0].frames[0])
    known = np.zeros((len(on.chains), study.frames, *first.shape), np.float32)
    mask = np.zeros((len(on.chains), study.frames), bool)
    for i, (chain, instants) in enumerate(zip(on.chains, on.instants, strict=True)):
        for frame, t in zip(chain.frames, instants, strict=True):
            known[i, t], mask[i, t] = pictures.to_float(frame), True
    return known, mask


def at(tree: Mapping[str, Any], *index: Any) -> Any:
    """Adapters indexed along their leading axes."""
    return jax.tree.map(lambda a: a[index], tree)
