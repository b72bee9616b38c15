"""Arms of the BabyVision study and the parts of its run by name. What judges imports this, and no model."""

DRAWN, ANSWERED, FURTHER = "drawn", "answered", "further"
PARTS = (DRAWN, ANSWERED, FURTHER)
"""In the order in which they are measured; the last fall away first where time is short."""
SPECIALIST, LONGER, PREFERRED, SCRATCH = "specialist", "longer", "preferred", "from nothing"
"""What is trained of a skill: from nothing; on from there, as before or by preferences; and, in the place of what goes
on from another skill, from nothing for as few updates."""
UNTRAINED, PIXELS = "untrained", "pixels"
"""Controls of the heads that answer: the same network before any training, and the question's pixels."""
EXACT = "exact denoiser"
"""Knows every candidate of an item and no more than that they are equally likely."""
LEVELS = {"test": 1, "harder": 2, "hardest": 3}
"""Splits of tasks, and their difficulty."""


def part(seed: int, skill: str, what: str) -> str:
    """The part of a run that holds a table of a training seed and skill."""
    return f"seed{seed}-{skill}-{what}"


def transferred(skill: str) -> str:
    """What goes on from another skill."""
    return f"from {skill}"
