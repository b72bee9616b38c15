"""Forms in which a motion is a row of numbers a frame, found by the names of their files.

for name in representations.names():
    rows = representations.get(name).encode(motion)          # Motion of T + 1 frames -> (T, WIDTH)
    joints = representations.get(name).decode(rows)          # (T, 22, 3), z up

A new one is one file here, with what `Representation` asks for, and one row in tests/laws/test_representations.py.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float

from vrjax.files import named
from vrjax.motion.kinematics import Motion


@runtime_checkable
class Representation(Protocol):
    """What a file of this folder has. Functions are pure JAX, for one motion at 20 frames a second.

    Attributes:
        WIDTH: numbers a frame.
    """

    WIDTH: int

    def encode(self, motion: Motion) -> Float[Array, "t width"]:
        """Rows of a motion in metres, z up, T + 1 frames; T rows. They may forget place and direction on the ground."""
        ...

    def decode(self, rows: Float[Array, "t width"]) -> Float[Array, "t 22 3"]:
        """Joints of rows that are not normalised, z up, a frame for each row; ValueError for another width."""
        ...


def names() -> tuple[str, ...]:
    """The representations that are there."""
    return named.names(__name__)


def get(name: str) -> Representation:
    """The representation called `name`; ValueError that lists them where there is none."""
    found = named.module(__name__, name, "representation")
    if not isinstance(found, Representation):
        raise ValueError(f"representation {name}: expected WIDTH, encode and decode in its file")
    return found


__getattr__, __dir__ = named.lazy(__name__)
