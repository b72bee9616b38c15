"""The twenty checks of the survey's ladder: one file a check, named as the check in small letters, found by name.

A file holds `CHECK`, see `ladder.Check`. A new one is one file, held to the law of `tests/laws/test_ladder.py`: its
positive controls pass and each of its negative controls fails.
"""

from vrjax.files import named


def names() -> tuple[str, ...]:
    """The checks that exist, by generation: F, I, P, S."""
    found = [name.upper() for name in named.names(__name__)]
    return tuple(sorted(found, key=lambda name: ("FIPS".index(name[0]), name)))


def get(name: str):
    """The check called `name`, such as "F1". Raises ValueError where there is none."""
    if name not in names():
        raise ValueError(named.unknown("check", name, names()))
    return named.module(__name__, name.lower(), "check").CHECK
