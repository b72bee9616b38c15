"""What the page sends, one numbered event after another, and the action that it asks for."""

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from vrjax.files import named

COMMANDS = ("forward", "back", "left", "right", "brake")
"""What keys mean; W, S, A, D or arrows, and the space bar. The page knows the keys, nobody else does."""
KINDS = ("down", "up", "reset", "event", "camera")
ROLL, SLOW, BRAKE = 1.0, -0.5, -1.0
"""The pedal of forward, back and brake; the hardest braking that is asked for wins."""
LOCK, TURN, BACK = 0.6, 0.15, 0.3
"""The wheel that is asked for, and by how much it turns to it, or back to the middle, in one tick."""
LONGEST = 2000
"""Characters of a message."""


class Event(NamedTuple):
    """One thing that a person did.

    Attributes:
        number: 1, 2, 3 ... within a drive; there are no gaps.
        kind: "down" and "up" of a command, "reset", "event" (the worlds'), "camera".
        value: the command, event or camera; "" of a reset.
    """

    number: int
    kind: str
    value: str = ""


class Controls(NamedTuple):
    """What is asked for until the next event changes it.

    Attributes:
        held: commands whose keys are down.
        wheel: where the wheel is, in [-1, 1].
    """

    held: tuple[str, ...] = ()
    wheel: float = 0.0


def parse(text: Any, last: int, cameras: Collection[str], events: Collection[str]) -> Event:
    """An event from the JSON of a message, such as `{"n": 3, "kind": "down", "value": "left"}`.

    Args:
        text: the message.
        last: number of the event before.
        cameras, events: names that may be asked for.

    Raises:
        ValueError: anything else, in one line.
    """
    if not isinstance(text, str) or len(text) > LONGEST:
        raise ValueError(f"input must be text of at most {LONGEST} characters")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"input must be JSON, found {text!r:.60}") from None
    if not isinstance(found, dict) or not set(found) <= {"n", "kind", "value"}:
        raise ValueError(f"input must be an object of n, kind and value, found {text!r:.60}")
    number, kind, value = found.get("n"), found.get("kind"), found.get("value", "")
    if type(number) is not int or number != last + 1:
        raise ValueError(f"input must have number {last + 1}, found {number!r:.40}")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"input: unknown kind {kind!r:.40}, expected one of {', '.join(KINDS)}")
    known = {"reset": ("",), "event": tuple(events), "camera": tuple(cameras)}.get(kind, COMMANDS)
    if not isinstance(value, str) or value not in known:
        what = "command" if kind in ("down", "up") else kind
        raise ValueError(f"input: {named.unknown(what, str(value)[:40], known or ('none',))}")
    return Event(number, kind, value)


def follow(controls: Controls, events: Iterable[Event]) -> tuple[Controls, np.ndarray]:
    """The controls after the events of one tick, and its action (pedal, wheel), float32 in [-1, 1].

    A key that goes down and up within the tick counts in it: a tap is never lost. A reset lets go of the wheel, not of
    the keys.
    """
    held, asked, wheel = set(controls.held), set(), controls.wheel
    for event in events:
        if event.kind == "down":
            held.add(event.value)
            asked.add(event.value)
        elif event.kind == "up":
            held.discard(event.value)
        elif event.kind == "reset":
            wheel = 0.0
    asked |= held
    pedal = min((value for name, value in zip(COMMANDS, (ROLL, SLOW), strict=False) if name in asked), default=0.0)
    pedal = BRAKE if "brake" in asked else pedal
    aim = LOCK * (("left" in asked) - ("right" in asked))
    most = BACK if abs(aim) < abs(wheel) or aim * wheel < 0 else TURN
    wheel = round(wheel + min(max(aim - wheel, -most), most), 6)
    return Controls(tuple(sorted(held)), wheel), np.array([pedal, wheel], np.float32)


def numbered(pairs: Sequence[tuple[str, str]], last: int = 0) -> list[Event]:
    """Kinds and values as events: for scripts and tests."""
    return [Event(last + i, *pair) for i, pair in enumerate(pairs, 1)]
