"""Made-up tables of the world-model study, of which the answers are known: horizons, goals reached, laws, leads."""

import dataclasses
from typing import Any

import numpy as np

from configs.world_model import full
from experiments.world_model import names
from experiments.world_model.config import Calibration, Horizon, Methods, Planning, Search, Settling

EPISODES, STEPS, BLUR = 4, 6, 0.2
SEARCH = (
    Search(candidates=16, iterations=1),
    Search(method=names.BOTH, candidates=7, iterations=1, elites=1, refine=3),
)
STUDY = dataclasses.replace(
    full.config(),
    name="made_up",
    seeds=tuple(range(8)),
    horizon=Horizon(episodes=EPISODES, steps=STEPS),
    calibration=Calibration(situations=5, draws=19, steps=2, blur=BLUR),
    settling=Settling(frames=3, steps=5, bank=2),
    planning=Planning(episodes=EPISODES, act=3, goals=3),
    methods=Methods(exact=EPISODES, learned=EPISODES, pairs=(SEARCH,)),
    resamples=200,
)
HORIZONS = {"1 step": 1, "2 steps": 3, "4 steps": 4, "16 steps": 4, "window 1": 2, "window 2": 3}
HORIZONS |= {"nothing moves": 0, "exact world, read": STEPS, "longer": 3, "self-forced": 5}
"""Steps; the even seeds' are one more, up to all there are."""
REACHED = {"exact world": 4, "another layout": 0, "1 step": 2, "2 steps": 4, "4 steps": 3, "window 1": 3}
REACHED |= {"longer": 2, "self-forced": 3}
"""Episodes, of four; of a task as many goals of each episode, of three, as there are."""
WEIGHTS = np.array([0.49, 0.21, 0.21, 0.09])
OUTCOMES = np.array([1.0, 2.0, 2.5, 4.0])
WIDTH = {"1 step": 0.5, "2 steps": 1.0, "4 steps": 1.0, "16 steps": 1.0, "window 1": 0.8, "window 2": 1.0}
WIDTH |= {"exact world": 1.0, "regressor": 0.0, "longer": 1.0, "self-forced": 0.3}
"""Of draws about their mean, over those that are quantiles of the law."""
LEADS = {"slippery": (0.2, 0.6), "exact law": (0.5, 0.5), "without dynamics": (0.5, 0.6)}
LEADS |= {"planted: where first": (0.1, 0.9), "planted: look first": (0.9, 0.1)}
"""What is left of place and look, of what was left before, after each step but the last."""


def far(horizon):
    """Errors (episode, step, thing) that pass a pixel after so many steps, of agent or in odd episodes block."""
    late = (np.arange(STEPS) >= horizon)[None, :, None]
    which = (np.arange(EPISODES)[:, None] % 2 == np.arange(2))[:, None]
    return np.where(late & which, 2.0, 0.25).astype(np.float16)


def horizon_of(arm, seed):
    """Steps until an arm of a seed is off."""
    return min(HORIZONS[arm] + (seed % 2 == 0), STEPS)


def draws_of(arm):
    """Draws (situation, draw, step): quantiles of the law after the first step, drawn together; twice as far after the
    last."""
    quantiles = np.repeat(OUTCOMES, [10, 4, 4, 1])  # nearly .49, .21, .21, .09 of 19
    mean = WEIGHTS @ OUTCOMES
    first = mean + WIDTH[arm] * (quantiles - mean)
    return np.tile(np.stack([first, 2 * first], -1), (5, 1, 1)).astype(np.float32)


def falling(share):
    """(frame, step) from about 1 to .1, of which the mean is exact."""
    left = np.append(share ** np.arange(4), 0.0)
    return (0.1 + np.array([0.5, 1.0, 1.5])[:, None] * left).astype(np.float32)


def made_up(study=STUDY):
    """All parts of all seeds."""
    kept = {}
    for seed in study.seeds:
        part = lambda what, seed=seed: names.part(seed, what)
        first = [arm for arm in HORIZONS if arm not in names.FURTHER]
        kept[part(names.HORIZON)] = {f"{arm} far": far(horizon_of(arm, seed)) for arm in first}
        outcomes = np.tile(np.stack([OUTCOMES, 2 * OUTCOMES], -1), (5, 1, 1))
        law = {"outcomes": outcomes, "weights": WEIGHTS}
        kept[part(names.CALIBRATION)] = law | {arm: draws_of(arm) for arm in WIDTH if arm not in names.FURTHER}
        settling: Any = {"sigma": np.linspace(1, 0.2, 5).astype(np.float32)}
        for arm, (where, look) in LEADS.items():
            settling |= {f"{arm} where": falling(where), f"{arm} look": falling(look)}
            settling[f"{arm} frames"] = np.full((2, 5, 16, 16, 3), 100, np.uint8)
        kept[part(names.SETTLING)] = settling
        solved = {"cem": [1, 0, 0, seed % 2], "gradient+cem": [1, 1, 1, 1]}
        kept[part(names.METHODS)] = {"calls": np.array([[1536, 1536]])} | {
            f"{through} {method} 0": np.array(found, bool)
            for through in (names.EXACT, names.PLAIN)
            for method, found in solved.items()
        }
        planning, forcing = {}, {f"{arm} far": far(horizon_of(arm, seed)) for arm in names.FURTHER}
        for arm, count in REACHED.items():
            found = (np.arange(EPISODES) < count)[:, None]
            if arm in names.FURTHER:
                forcing |= {f"{arm} meso": found, arm: draws_of(arm)}
                continue
            planning[f"{arm} meso"] = found
            if arm in (names.EXACT, names.ELSEWHERE, study.usual):
                planning[f"{arm} task"] = np.tile(np.arange(3) < min(count, 2), (EPISODES, 1))
        kept[part(names.PLANNING)], kept[part(names.FORCING)] = planning, forcing
    return kept
