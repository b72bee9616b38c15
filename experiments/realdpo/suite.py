"""The run: base after base, each with arm after arm, every one kept on disk as soon as it is done."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.realdpo import arms, inputs, network, pairs, scoring, training
from experiments.realdpo.arms import Regime
from experiments.realdpo.config import RealDPO
from vrjax.align import separability
from vrjax.files import writing
from vrjax.study.tables import Bench, Tables
from vrjax.tasks.discs import verifier

BASE, EXTRA = "base", "extra"
SHOWN, LOOKED = (BASE, "SFT", "RealDPO", "RealDPO, released recipe", "RealDPO + SFT anchor"), 24
"""Arms that the page shows side by side, and of how many test conditions their samples are kept."""
BEST = {name: f"{name}, best validation point" for name in ("SFT", "GRPO with the verifier")}
# Arms that are looked at on the way, on validation conditions.
CURVE = ("SFT", "RealDPO", "RealDPO + SFT anchor", "RealDPO, released recipe", "GRPO with the verifier")


class Suite:
    """Everything that is measured of one base (the search has several at once); each part is made once and then read
    from the run folder.

    Args:
        study: its sizes, and which bases.
        bench: keeps the tables.
    """

    def __init__(self, study: RealDPO, bench: Bench):
        self.study, self.bench = study, bench
        self.sampler = network.Sampler(study)
        self._params: Any = None
        self._material: list[pairs.Material] | None = None

    def bases(self) -> list[Tables]:
        """Weights of every base by dotted name, and its training curve."""

        def make(seed: int) -> Tables:
            with self.bench.bar(f"training base {seed}", self.study.base_steps) as tick:
                return network.train_base(self.study, seed, tick)

        return [
            self.bench.part(f"base-{seed}", lambda seed=seed: make(seed), packed=False) for seed in self.study.seeds
        ]

    @property
    def params(self) -> Any:
        """Stacked weights of the bases."""
        if self._params is None:
            self._params = network.stack(self.study, self.bases())
        return self._params

    @property
    def material(self) -> list[pairs.Material]:
        if self._material is None:
            self._material = pairs.material(self.study, self.params, self.sampler)
        return self._material

    def base(self) -> Tables:
        """Scores of the bases, and which of their samples of real conditions are valid."""

        def make() -> Tables:
            out = self._score(self.params, BASE)
            out["look_rates"] = self._look(self.params)[:, None]
            return out | {"valid_losers": np.stack([m.valid for m in self.material])}

        return self.bench.part(part(BASE, self.study.first), make)

    def extra(self) -> Tables:
        """What the page says beside scores: what tells winners and losers apart at a glance, and the verifier's false
        positives."""

        def make() -> Tables:
            exam = scoring.exam(self.study)
            lose = [np.stack([inputs.latents(one) for one in own.samples]) for own in self.material]
            real = [inputs.latents(own.real.truth) for own in self.material]
            couples = [pair for r, l in zip(real, lose, strict=True) for pair in zip(r, l, strict=True)]
            wrong = {f: [verifier.false_positives(c) for c in clips] for f, clips in exam.clips.items()}
            return {
                "separable": np.asarray([" ".join(separability.check(couples).notes)]),
                **{f"false_positives/{family}": np.asarray(rates) for family, rates in wrong.items()},
            }

        return self.bench.part(part(EXTRA, self.study.first), make, packed=False)

    def arm(self, arm: Regime) -> Tables:
        """Scores of every row of an arm, "<row>|<family>/<measure>"; its log, "log|<name>", (bases, blocks of updates);
        its looks on the way; for those in `BEST` the number of updates of the best look, (bases,)."""
        return self.bench.part(part(arm.name, self.study.first), lambda: self._arm(arm))

    def _score(self, params: Any, row: str) -> Tables:
        """Scores on the test conditions by "<row>|<name>"."""
        shown = LOOKED if row in SHOWN else 0
        found = scoring.score(self.study, self.sampler, params, scoring.exam(self.study), shown=shown)
        return {f"{row}|{name}": values for name, values in found.items()}

    def _look(self, params: Any) -> np.ndarray:
        """(bases,): valid share on the validation conditions."""
        found = scoring.score(self.study, self.sampler, params, scoring.look(self.study))
        return scoring.valid(found).mean((1, 2))

    def _arm(self, arm: Regime) -> Tables:
        study, out = self.study, {}
        wanted = {steps: row for row, steps in arms.rows(arm, study).items()}
        looks = set(arms.looks(study)) if arm.name == "SFT" else set()
        if arm.name in CURVE[1:]:
            count = study.looks if arm.name in BEST else 4
            looks = {round(arms.updates(arm, study) * k / count) for k in range(1, count + 1)} - {0}
        last = max([*wanted, *looks])
        log: list[dict[str, Any]] = []
        seen: list[tuple[int, np.ndarray]] = []
        best: tuple[float, int, Any] = (-1.0, 0, None)
        for done, params, logged in self.train(arm, last):
            log.append(logged)
            if done in wanted:
                out |= self._score(params, wanted[done])
            if done in looks:
                rate = self._look(params)
                seen.append((done, rate))
                if arm.name in BEST and rate.mean() > best[0]:
                    best = (float(rate.mean()), done, jax.tree.map(jnp.copy, params))  # the next update donates them
        if best[2] is not None:
            out |= self._score(best[2], BEST[arm.name])
            out["best"] = np.full(study.bases, best[1])
        if seen:
            out["looks"] = np.tile([s for s, _ in seen], (study.bases, 1))
            out["look_rates"] = np.stack([r for _, r in seen], 1)
        kept = training.stacked(log, training.BLOCK)
        return out | {f"log|{k}": v.T.astype(np.float32) for k, v in kept.items()}

    def train(self, arm: Regime, until: int) -> training.Run:
        """Post-trains all bases."""
        given = self.study, arm, self.params
        with self.bench.bar(arm.name, until) as tick:
            if arm.method == "grpo":
                yield from training.policy_gradients(*given, self.material, until, tick)
            else:
                yield from training.train(*given, [pairs.rows(arm, own) for own in self.material], until, tick)

    def run(self, say: Callable[[str], None] = lambda text: None) -> dict[str, Tables]:
        """Measures what is missing; the tables by their names. `say` is told what is done."""
        rate = lambda table, row: scoring.valid({"bounce/error": table[f"{row}|bounce/error"]}).mean()
        out = {part(BASE, self.study.first): (base := self.base()), part(EXTRA, self.study.first): self.extra()}
        say(f"{BASE}: {rate(base, BASE):.3f} of the samples are valid")
        for arm in arms.catalogue(self.study):
            out[part(arm.name, self.study.first)] = table = self.arm(arm)
            say(f"{arm.name}: {rate(table, arm.name):.3f}")
        return out


def part(what: str, seed: int) -> str:
    """Name of the table of an arm (or of `BASE`, `EXTRA`) for one base."""
    return f"arm-{writing.slug(what)}-{seed}"


def gather(study: RealDPO, tables: Mapping[str, Tables]) -> dict[str, Tables]:
    """The tables of all bases joined, by arm name, with those of `BASE` and `EXTRA`; every entry has the bases first.

    Of a run that is not finished: what has been measured of all bases that are done, or else of all that have begun.

    Args:
        study: which bases and arms.
        tables: by the names that `part` gives.
    """
    names = [BASE, *(arm.name for arm in arms.catalogue(study))]
    has = lambda seed, wanted: all(part(name, seed) in tables for name in wanted)
    seeds = [s for s in study.seeds if has(s, names)] or [s for s in study.seeds if has(s, [BASE])]
    found = {name: [tables[part(name, s)] for s in seeds if part(name, s) in tables] for name in [*names, EXTRA]}
    return {name: _joined(one) for name, one in found.items() if one and len(one) == len(seeds)}


def _joined(tables: Sequence[Tables]) -> Tables:
    return {name: np.concatenate([one[name] for one in tables]) for name in tables[0]}
