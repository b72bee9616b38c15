"""The run: bases, then arm after arm, every one kept on disk as soon as it is done."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.realdpo import arms, inputs, network, pairs, scoring, training
from experiments.realdpo.arms import Regime
from experiments.realdpo.config import RealDPO
from vrjax.study.page import slug
from vrjax.study.tables import Bench, Tables

BASE, BEST = "base", "SFT, best validation point"
CURVE = ("SFT", "RealDPO", "RealDPO + SFT anchor", "RealDPO + DPOP anchor")  # arms drawn over compute


class Suite:
    """Everything of one study that is measured; each part is made once and then read from the run folder.

    Args:
        study: its sizes.
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

        seeds = [self.study.first + i for i in range(self.study.bases)]
        return [self.bench.part(f"base-{seed}", lambda seed=seed: make(seed)) for seed in seeds]

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
        """Scores of the bases, and the share of their samples of real conditions that are valid."""

        def make() -> Tables:
            out = {f"{BASE}|{k}": v for k, v in self._score(self.params).items()}
            out["look_rates"] = self._look(self.params)[None]
            return out | {"valid_losers": np.stack([m.valid for m in self.material])}

        return self.bench.part("arm-base", make)

    def arm(self, arm: Regime) -> Tables:
        """Scores of every row of an arm, "<row>|<family>/<measure>"; its log, "log|<name>"; for SFT its looks."""
        return self.bench.part(f"arm-{slug(arm.name)}", lambda: self._arm(arm))

    def _score(self, params: Any) -> Tables:
        return scoring.score(self.study, self.sampler, params, scoring.exam(self.study))

    def _look(self, params: Any) -> np.ndarray:
        """(bases,): valid share on the validation conditions."""
        found = scoring.score(self.study, self.sampler, params, scoring.look(self.study))
        return scoring.valid(found).mean((1, 2))

    def _arm(self, arm: Regime) -> Tables:
        study, out = self.study, {}
        wanted = {steps: row for row, steps in arms.rows(arm, study).items()}
        looks = set(arms.looks(study)) if arm.name == "SFT" else set()
        if arm.name in CURVE[1:]:
            looks = {round(arms.updates(arm, study) * k / 4) for k in range(1, 5)}
        last = max([*wanted, *looks])
        log: list[dict[str, Any]] = []
        seen: list[tuple[int, np.ndarray]] = []
        best: tuple[float, int, Any] = (-1.0, 0, None)
        for done, params, logged in self.train(arm, last):
            log.append(logged)
            if done in wanted:
                out |= {f"{wanted[done]}|{k}": v for k, v in self._score(params).items()}
            if done in looks:
                rate = self._look(params)
                seen.append((done, rate))
                if arm.name == "SFT" and rate.mean() > best[0]:
                    best = (float(rate.mean()), done, jax.tree.map(jnp.copy, params))  # the next update donates them
        if best[2] is not None:
            out |= {f"{BEST}|{k}": v for k, v in self._score(best[2]).items()} | {"best": np.asarray(best[1])}
        if seen:
            out |= {"looks": np.asarray([s for s, _ in seen]), "look_rates": np.stack([r for _, r in seen])}
        return out | {f"log|{k}": v.astype(np.float32) for k, v in training.stacked(log).items()}

    def train(self, arm: Regime, until: int) -> training.Run:
        """Post-trains all bases."""
        given = self.study, arm, self.params
        with self.bench.bar(arm.name, until) as tick:
            if arm.method == "grpo":
                yield from training.policy_gradients(*given, self.material, until, tick)
            else:
                yield from training.train(*given, [pairs.rows(arm, own) for own in self.material], until, tick)

    def run(self, say: Callable[[str], None] = lambda text: None) -> dict[str, Tables]:
        """Measures what is missing; tables by arm name, the bases' under "base". `say` is told what is done."""
        out = {BASE: self.base()}
        rate = lambda table, row: scoring.valid({"bounce/error": table[f"{row}|bounce/error"]}).mean()
        say(f"{BASE}: {rate(out[BASE], BASE):.3f} of the samples are valid")
        for arm in arms.catalogue(self.study):
            out[arm.name] = self.arm(arm)
            say(f"{arm.name}: {rate(out[arm.name], arm.name):.3f}")
        return out


def separable(study: RealDPO, material: list[pairs.Material]) -> Any:
    """`vrjax.align.separability` of the real clips and the base samples of all bases together."""
    from vrjax.align import separability

    couples = []
    for own in material:
        lose = np.stack([inputs.latents(one) for one in own.samples])
        couples += list(zip(inputs.latents(own.real.truth), lose, strict=True))
    return separability.check(couples)
