"""Arms of the world-model study and the parts of its run by name. What judges imports this, and no model."""

PLAIN, SLIPPERY = "plain", "slippery"
"""Teacher-forced worlds: of the pushing world in which nothing is left to chance, and of the one whose floor is so
slippery that the agent often stays where it is."""
LONGER, SELF_FORCED, REGRESSOR = "longer", "self-forced", "regressor"
"""What goes on from either: as before, on its own rollouts, or (of the slippery one) answering at once."""
FURTHER = (LONGER, SELF_FORCED)
OF_REGRESSOR = f"{SLIPPERY}, {REGRESSOR}"
"""The training of the regressor."""
EXACT, FROZEN, ELSEWHERE = "exact world", "nothing moves", "another layout"
"""No learned worlds: the upper row, a world in which nothing moves, the exact one that is shown another layout."""
LAW, WITHOUT = "exact law", "without dynamics"
"""Exact denoisers: of the futures that there are, and of frames of no moment in particular."""
WHERE_FIRST, LOOK_FIRST = "planted: where first", "planted: look first"
HORIZON, CALIBRATION, SETTLING, METHODS, PLANNING, FORCING = (
    "horizon",
    "calibration",
    "settling",
    "methods",
    "planning",
    "forcing",
)
PARTS = (HORIZON, CALIBRATION, SETTLING, METHODS, PLANNING, FORCING)
"""In the order in which they are measured; the last fall away first where time is short."""
MESO, TASK = "meso", "task"
CEM, BOTH = "cem", "gradient+cem"
AGENT, BLOCK = 0, 1
"""Their places among what moves."""


def steps(count: int) -> str:
    """The arm of so many denoising steps a frame."""
    return f"{count} step{'s' * (count > 1)}"


def window(frames: int) -> str:
    """The arm that sees so few frames, the current one included."""
    return f"window {frames}"


def further(base: str, how: str) -> str:
    """What goes on from a base."""
    return f"{base}, {how}"


def part(seed: int, what: str) -> str:
    """The part of a run that holds a table of a training seed."""
    return f"seed{seed}-{what}"
