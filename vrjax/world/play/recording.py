"""A drive on disk: what came in, tick by tick, and the digests of what followed; and whether it replays bit for bit.

runs/play-drive/config.json         the two worlds, their options, the seed
runs/play-drive/drive-001.jsonl     a row a tick, written as it happens: a kill loses no more than the last one
runs/play-drive/drive-001.json      at the end: counts, speed, how far the worlds came apart
"""

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from vrjax.files import given, writing
from vrjax.world.play import sides as both
from vrjax.world.play.controls import KINDS, Event
from vrjax.world.play.session import Session, Tick

KIND = "play drive"
MADE = ("drive-*.jsonl", "drive-*.json")
OPTIONS = {"size", "kind", "dt", "actors", "static", "pedestrians", "hazard", "rain", "darkness"}
"""What `open_worlds` may have been asked for."""


class Drive:
    """One drive that is being recorded; `add` its ticks, `close` it with a summary."""

    def __init__(self, folder: pathlib.Path, number: int):
        self.path = folder / f"drive-{number:03d}.jsonl"
        self._rows = writing.Rows(self.path, step=0)
        self._timed: list[tuple[float, ...]] = []
        self._inputs, self._last = 0, None

    def add(self, tick: Tick) -> None:
        """Appends a tick."""
        self._rows.add(
            {
                "step": tick.number,
                "events": [list(event) for event in tick.events],
                "action": [float(value) for value in tick.action],
                "digests": [list(shown.digest) for shown in tick.shown],
            }
        )
        self._inputs, self._last = self._inputs + len(tick.events), tick
        self._timed.append(tuple(ms for shown in tick.shown for ms in (shown.step_ms, shown.render_ms)))

    def close(self, **about: Any) -> None:
        """Writes the summary: of a drive without ticks nothing stays."""
        self._rows.close()
        if self._last is None:
            self.path.unlink(missing_ok=True)
            return
        half, most = np.percentile(np.array(self._timed), (50, 95), axis=0)
        names = [f"{part}_{i}" for i in range(len(self._last.shown)) for part in ("step", "render")]
        spread = lambda row: {name: round(float(ms), 3) for name, ms in zip(names, row, strict=True)}
        told = {"ticks": self._last.number, "inputs": self._inputs, "apart": self._last.apart}
        times = {"p50_ms": spread(half), "p95_ms": spread(most)}
        writing.json(self.path.with_suffix(".json"), told | times | about)


class Recording:
    """The run folder of drives in two worlds. It is locked while this is open.

    Args:
        folder: of the run.
        config: what `config` returned.
        fresh: forget drives of another config.

    Raises:
        ValueError: the folder holds drives of another config, or is not a run's.
    """

    def __init__(self, folder: pathlib.Path | str, config: Mapping[str, Any], *, fresh: bool = False):
        self._run = writing.Run(folder, dict(config), kind=KIND, fresh=fresh, made=MADE)
        self.folder = self._run.folder

    def drive(self) -> Drive:
        """The next one."""
        taken = [int(path.stem[6:]) for path in self.folder.glob("drive-*.jsonl") if path.stem[6:].isdecimal()]
        return Drive(self.folder, max(taken, default=0) + 1)

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *error: Any) -> None:
        self._run.__exit__(*error)


def config(session: Session, names: tuple[str, ...], options: Mapping[str, Any]) -> dict[str, Any]:
    """What a drive is made of: names and options as `open_worlds` takes them, the seed, and what the worlds are."""
    about = [dict(side.about) for side in session.sides]
    return {"worlds": list(names), "options": dict(options), "seed": session.seed, "about": about}


class Replayed(NamedTuple):
    """What replaying one drive showed.

    Attributes:
        name: of the drive. ticks, inputs: how many it has.
        difference: None where all is equal; else the first tick and what differs there.
    """

    name: str
    ticks: int
    inputs: int
    difference: str | None


def replay(folder: pathlib.Path | str, told: Callable[[Replayed], Any] = lambda found: None) -> list[Replayed]:
    """Drives every drive of a folder again, from its events alone, and compares actions, states and frames by bits.

    Args:
        folder: of a run of `vrjax play drive`.
        told: is called with each result as it comes.

    Raises:
        ValueError: the folder has no drives, a file is not what it should be, or a world is another than was driven.
    """
    folder = pathlib.Path(folder)
    given.local(folder, "--replay")
    asked = _config(folder)
    options = dict(asked["options"])
    size = tuple(options.pop("size"))
    session = Session(both.open_worlds(asked["worlds"], size=size, **options), asked["seed"])
    changed = writing.differences({"about": asked["about"]}, {"about": [dict(side.about) for side in session.sides]})
    if changed:
        raise ValueError(f"{folder}: the worlds are not those that were driven: {', '.join(changed)}")
    paths = sorted(folder.glob("drive-*.jsonl"))
    if not paths:
        raise ValueError(f"{folder}: no drives there, expected drive-001.jsonl and so on")
    out = []
    for path in paths:
        out.append(_again(session, path))
        told(out[-1])
    return out


def _again(session: Session, path: pathlib.Path) -> Replayed:
    moment, inputs, ticks = session.begin(), 0, 0
    for number, row in enumerate(_rows(path), 1):
        moment, tick = session.tick(moment, row["events"])
        ticks, inputs = number, inputs + len(tick.events)
        if row["step"] != tick.number:
            return Replayed(path.stem, ticks, inputs, f"tick {tick.number}: found a row of tick {row['step']}")
        if row["action"] != [float(value) for value in tick.action]:
            return Replayed(path.stem, ticks, inputs, f"tick {tick.number}: another action")
        for side, kept, shown in zip(session.sides, row["digests"], tick.shown, strict=True):
            for what, old, new in zip(("state", "frame"), kept, shown.digest, strict=True):
                if old != new:
                    return Replayed(path.stem, ticks, inputs, f"tick {tick.number}: another {what} of {side.label}")
    return Replayed(path.stem, ticks, inputs, None)


def _config(folder: pathlib.Path) -> dict[str, Any]:
    """The config of a run folder, as far as it is needed here."""
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(f"{folder}: no config.json there, expected a folder that vrjax play drive wrote")
    try:
        stored = json.loads(path.read_text("utf-8"))
        found = stored["config"]
        options = found["options"]
        if stored["kind"] != KIND or not isinstance(found["seed"], int) or len(options["size"]) != 2:
            raise TypeError
        if not set(options) <= OPTIONS or not all(isinstance(name, str) for name in found["worlds"]):
            raise TypeError
        return {name: found[name] for name in ("worlds", "options", "seed", "about")}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f"{path}: not the config of drives") from None


def _rows(path: pathlib.Path) -> list[dict[str, Any]]:
    """The rows of a drive. A last line that a kill tore is left out."""
    out = []
    lines = path.read_text("utf-8", errors="replace").splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        if number == len(lines) and not line.endswith("\n"):
            break
        try:
            row = json.loads(line)
            events = [Event(*event) for event in row["events"]]
            good = all(type(e.number) is int and e.kind in KINDS and isinstance(e.value, str) for e in events)
            if not good or not isinstance(row["step"], int) or len(row["action"]) != 2 or len(row["digests"]) != 2:
                raise TypeError
            if any(len(pair) != 2 for pair in row["digests"]):
                raise TypeError
            out.append(row | {"events": events})
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ValueError(f"{path}: line {number} is not a row of a drive") from None
    return out
