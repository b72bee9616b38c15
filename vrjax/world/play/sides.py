"""The two worlds of a drive: where they come from, how both begin from one scene, and how far apart they have come."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from vrjax.files import fingerprint
from vrjax.world import exact, learned
from vrjax.world.exact import Exact
from vrjax.world.protocol import Decoded, World

EXACT = "exact"


class Side(NamedTuple):
    """One of the two.

    Attributes:
        label: what the page calls it.
        world: any World whose actions are a pedal and a wheel in [-1, 1].
        about: what it is, for the record: the options of an exact world, the fingerprint of a file.
    """

    label: str
    world: World
    about: Mapping[str, Any]


def open_worlds(
    names: Sequence[str],
    *,
    kind: str | None = None,
    size: tuple[int, int] | None = None,
    dt: float | int = 0.1,
    **options: Any,
) -> tuple[Side, Side]:
    """The two worlds of the command line.

    Args:
        names: two: "exact", or the folder of a learned world or the name of a shipped one. One must be exact: the scene
            is its.
        kind: of the exact worlds' map, None draws one.
        size: of the exact worlds' frames, height and width; None: those of the learned one, else 48 x 80.
        dt: seconds of a step of the exact worlds; it must be that of a learned one which says its own, by a `dt` or by
            that of the exact world it was learned from, its `spec.home`.
        **options: further ones of `exact.get("drive")`.

    Raises:
        ValueError: not two names, none of them exact, no such file, a world that cannot be driven, another dt.
    """
    if len(names) != 2:
        raise ValueError(f"worlds: two are driven side by side, found {len(names)}: {', '.join(names)}")
    if EXACT not in names:
        raise ValueError(f"worlds: one of the two must be 'exact', which both begin from, found {', '.join(names)}")
    worlds = {name: _learned(name) for name in names if name != EXACT}
    height, width = size or next((w.frame[:2] for w in worlds.values()), (48, 80))
    asked = {"kind": kind, "height": height, "width": width, "dt": float(dt), **options}
    sides = []
    for i, name in enumerate(names):
        label = name if names[0] != names[1] else f"{name} {i + 1}"
        if name == EXACT:
            sides.append(Side(label, exact.get("drive", **asked), {"world": "exact.drive", **asked}))
        else:
            world = worlds[name]
            home = getattr(getattr(world, "spec", None), "home", None)
            own = getattr(world, "dt", getattr(home, "dt", None))
            if own is not None and not math.isclose(float(own), dt, rel_tol=1e-5):
                raise ValueError(
                    f"{name}: its steps last {float(own):g} s, found dt {dt:g}; ask for --dt {float(own):g}"
                )
            sides.append(Side(label, world, {"world": world.name, "fingerprint": fingerprint(learned.place(name))}))
    for side in sides:
        drivable(side)
    return sides[0], sides[1]


def drivable(side: Side) -> None:
    """Raises ValueError where a world's actions are not a pedal and a wheel."""
    space = side.world.inputs.get("action")
    if space is None or tuple(space.shape) != (2,) or (space.low, space.high) != (-1.0, 1.0):
        raise ValueError(f"{side.label}: a world to drive has actions of shape (2,) in [-1, 1], found {space}")


def _learned(name: str) -> World:
    path = learned.place(name)
    if not path.exists():
        known = "".join(f", {name!r}" for name in learned.names("drive"))
        raise ValueError(f"no world {name}: expected 'exact'{known} or the folder of a learned world")
    return learned.load(path)


def begin(worlds: Sequence[World], key: Any) -> tuple[Any, ...]:
    """The first States: of the first exact world what it makes; all others encode that scene.

    An exact world encodes what was decoded. Any other is given the same and, as `frames` (1, h, w, 3), what the first
    camera that both have shows of it.
    """
    source = next(i for i, w in enumerate(worlds) if isinstance(w, Exact))
    scene, told = _make(worlds[source], key)
    states = []
    for i, w in enumerate(worlds):
        if i == source:
            states.append(scene)
        elif isinstance(w, Exact):
            states.append(_encode(w, told, key))
        else:
            both = [name for name in w.cameras if name in worlds[source].cameras]
            frame = _render(worlds[source], scene, both[0] if both else None)
            states.append(w.encode({**told, "frames": frame[None]}, key))
    return tuple(states)


@jax.jit
def _make(w: World, key: Any) -> tuple[Any, Decoded]:
    scene = w.make(key)
    return scene, w.decode(scene)


@jax.jit
def _encode(w: World, told: Decoded, key: Any) -> Any:
    return w.encode(told, key)


@partial(jax.jit, static_argnums=2)
def _render(w: World, scene: Any, camera: str | None) -> Any:
    return w.render(scene, camera)


def apart(a: Decoded | None, b: Decoded | None) -> dict[str, float | None]:
    """How far two decoded States are apart.

    Returns:
        "metres" between the egos' places, "degrees" between their headings (0 to 180), "speed" in m/s between them, and
        "actors": the mean metres between actors of the same slot that both have. None for what one does not say.
    """
    out: dict[str, float | None] = dict.fromkeys(("metres", "degrees", "speed", "actors"))
    if a is None or b is None:
        return out
    if "ego" in a and "ego" in b:
        one, two = (np.asarray(told["ego"], np.float64) for told in (a, b))
        out["metres"] = finite(np.hypot(*(one[:2] - two[:2])))
        if min(one.size, two.size) >= 3:
            out["degrees"] = finite(abs(np.degrees(np.mod(one[2] - two[2] + np.pi, 2 * np.pi) - np.pi)))
        if min(one.size, two.size) >= 4:
            out["speed"] = finite(abs(one[3] - two[3]))
    if "actors" in a and "actors" in b and np.shape(a["actors"].position) == np.shape(b["actors"].position):
        both = np.asarray(a["actors"].active) & np.asarray(b["actors"].active)
        gap = np.asarray(a["actors"].position, np.float64) - np.asarray(b["actors"].position, np.float64)
        out["actors"] = finite(np.linalg.norm(gap[both], axis=-1).mean()) if both.any() else None
    return out


def finite(value: Any) -> float | None:
    """A number that JSON can hold."""
    return float(value) if np.isfinite(value) else None
