"""Arms of the ViMoGen study and the parts of its run by name. What judges imports this, and no model."""

import re

TRUTH, FROZEN, NEAREST = "ground truth", "frozen pose", "nearest caption"
VIDEO, T2M, M2M, TRUE = "video baseline", "T2M", "M2M", "M2M, true reference"
UNTRAINED, CONTROL, STUDENT, LIFTED, SYNTHETIC = "untrained", "control", "student", "lifted", "synthetic"
ARMS = (TRUTH, FROZEN, NEAREST, VIDEO, T2M, M2M, TRUE, UNTRAINED, CONTROL, STUDENT, LIFTED, SYNTHETIC)
"""Those that make motions, in the order of tables."""
ADAPTIVE, RANDOM, ORACLE = "adaptive gate", "random gate", "oracle gate"
GATES = (ADAPTIVE, RANDOM, ORACLE)
"""Those that choose between the motions of T2M and M2M."""
ITEMS, CLIPS, TRAINING, SHOWN = "items", "clips", "training", "shown"
METRICS = ("Jitter_Degree", "Dynamic_Degree", "Foot_Sliding", "Ground_Penetration", "Foot_Floating")
"""Columns of `metrics` in an arm's table; see `vrjax.bench.mbench`."""


def part(seed: int, what: str) -> str:
    """The part of a run that holds an arm's table, or another one, of a training seed."""
    return f"seed{seed}-{re.sub('[ ,]+', '_', what)}"
