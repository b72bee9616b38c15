"""Experiments of the inverse study and the parts of its run by name. What judges imports this, and no model."""

GAUSSIAN, LINE, DIMENSION, WIDTH, EVIDENCE = "gaussian", "line", "dimension", "width", "evidence"
COUNTEREXAMPLE, BOUNDS = "counterexample", "bounds"
MOONS, ELLIPTIC, GUIDED, VIDEO, KNOWN = "moons", "elliptic", "guided", "video", "known"
EXPERIMENTS = (
    GAUSSIAN,
    LINE,
    DIMENSION,
    WIDTH,
    EVIDENCE,
    COUNTEREXAMPLE,
    MOONS,
    ELLIPTIC,
    GUIDED,
    VIDEO,
    BOUNDS,
    KNOWN,
)
"""In an order that stays: an experiment's place in it is part of the keys of its data. New ones come last."""
EMPIRICAL, GENERATOR = "empirical", "generator"
"""Priors that are made of a data set: the measure of its points, and the law of the generator fitted to it."""
WHOLE, GAP = "whole", "gap"
"""Densities of the line: on all of its interval, and without its middle."""
KNOWN_GROUPS = ("mixtures", "gaussian", "signals")
"""Of posteriors that are known."""


def part(seed: int, experiment: str) -> str:
    """The part of a run that holds an experiment's table of a seed."""
    return f"seed{seed}-{experiment}"
