"""The folder of a learned world: the network as its family writes it, `parts.safetensors`, and `world.json`.

`world.json` says what it was learned from and how it is asked, and holds fingerprints of both files: a folder that was
put together from two is refused. Worlds that come with the package lie in `SHIPPED`, each with the command that made
it.
"""

import os
import pathlib
import zlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.files import kept, leaves, records, tensors, writing
from vrjax.models import family
from vrjax.world.learned import odometry, practice, reader
from vrjax.world.learned import patches as squares
from vrjax.world.learned.world import Learned, Spec, fits

SHIPPED = pathlib.Path(__file__).parent / "weights"
ABOUT, PARTS, NETWORK = "world.json", "parts.safetensors", "network"


class Parts(NamedTuple):
    """What is beside the network."""

    patches: squares.Patches
    reader: reader.Reader | None
    odometer: odometry.Odometer | None = None


def assembled(
    network: Any,
    patches: squares.Patches,
    read: reader.Reader | None,
    spec: Spec,
    odometer: odometry.Odometer | None = None,
) -> Learned:
    """A world of its parts.

    Raises:
        ValueError: a network that is not one frame a chunk, has text, or other actions than the exact world; places
            that the exact world does not have.
    """
    fits(spec, network.cfg)
    mark = 0
    for leaf in jax.tree.leaves((network, patches, read, odometer)):
        mark = zlib.crc32(np.ascontiguousarray(np.asarray(leaf)).tobytes(), mark)
    return Learned(network, patches, read, np.uint32(mark), odometer, spec)


def save(w: Learned, folder: str | os.PathLike, about: dict[str, Any] | None = None, *, replace: bool = False) -> None:
    """Writes a world into a folder that does not exist yet or is empty; whole or not at all.

    Args:
        w: the world.
        folder: of it.
        about: how it was made and how good it is; JSON.
        replace: whether a folder that is there may go.
    """
    with writing.folder(folder, replace=replace) as scratch:
        family.of(w.network.cfg).save(w.network, scratch / NETWORK)
        leaves.write(scratch / PARTS, Parts(w.patches, w.reader, w.odometer))
        told = {
            "family": type(w.network.cfg).family,
            "spec": writing.to_dict(w.spec),
            "width": None if w.reader is None else len(w.reader.maps[0]),
            "patch": list(w.patches.basis.shape),
            "odometer": None if w.odometer is None else len(w.odometer.places),
            "fingerprints": {name: kept.fingerprint(scratch / name) for name in (NETWORK, PARTS)},
            "about": about or {},
        }
        writing.json(scratch / ABOUT, told)


def halve(folder: str | os.PathLike, to: str | os.PathLike) -> None:
    """Writes a world again with its weights as float16, which are read as float32: half as large, as it is shipped.

    Args:
        folder: of the world.
        to: of the smaller one; what is there goes.

    Raises:
        FileNotFoundError, ValueError: see `load`; weights that float16 does not hold.
    """
    root, half = place(folder), np.dtype(np.float16)
    told = about(root)
    load(root)
    with writing.folder(to, replace=True) as scratch:
        (scratch / NETWORK).mkdir()
        for file in (root / PARTS, *sorted((root / NETWORK).iterdir())):
            there = scratch / file.relative_to(root)
            if file.suffix != ".safetensors":
                there.write_bytes(file.read_bytes())
                continue
            source = tensors.read(file)
            if big := [name for name in source.shapes if not np.abs(source[name]).max() <= np.finfo(half).max]:
                raise ValueError(f"{file}: {big[0]} and {len(big) - 1} more do not fit float16")
            shapes = {name: (shape, half) for name, shape in source.shapes.items()}
            tensors.write(there, shapes, (source[name] for name in shapes), source.metadata)
        told["fingerprints"] = {name: kept.fingerprint(scratch / name) for name in (NETWORK, PARTS)}
        writing.json(scratch / ABOUT, told)


def names(of: str | None = None) -> tuple[str, ...]:
    """The worlds that come with the package, sorted; those that were learned `of` an exact world alone."""
    folders = sorted(file.parent for file in SHIPPED.glob(f"*/{ABOUT}"))
    return tuple(path.name for path in folders if of is None or about(path)["spec"]["world"] == of)


def place(name: str | os.PathLike) -> pathlib.Path:
    """The folder of a world: `name` itself, or, where there is no such folder, that of the shipped one of that name."""
    path = pathlib.Path(name)
    return SHIPPED / path if not path.exists() and str(name) in names() else path


def load(folder: str | os.PathLike) -> Learned:
    """The world of a folder that `save` has written, or the shipped one of that name, such as "drive".

    Raises:
        FileNotFoundError: none there. ValueError: a file that is torn, changed or of another world; names it.
    """
    root = place(folder)
    told = about(root)
    for name, expected in told["fingerprints"].items():
        if (found := kept.fingerprint(root / name)) != expected:
            raise ValueError(f"{root / name}: fingerprint {found:.12}, expected {expected:.12} of {ABOUT}")
    spec = records.from_dict(Spec, told["spec"], f"{root / ABOUT}: spec")
    network = family.get(told["family"]).load(root / NETWORK)
    rows, columns = told["patch"]
    shapes = practice.check(spec.home, spec.names).values() if spec.names else ()
    count = sum(1 if len(shape) == 1 else shape[0] for shape in shapes)

    def like() -> Parts:
        patches = squares.Patches(jnp.zeros(rows), jnp.zeros((rows, columns)), jnp.zeros(()))
        width = told["width"]
        read = None if width is None else reader.init(jax.random.key(0), count, width)
        tokens = told.get("odometer")
        return Parts(patches, read, tokens and odometry.init(jax.random.key(0), tokens, columns))

    parts = leaves.read(root / PARTS, like, "parts of a learned world")
    return assembled(network, parts.patches, parts.reader, spec, parts.odometer)


def about(folder: str | os.PathLike) -> dict[str, Any]:
    """What `world.json` of a folder says.

    Raises:
        FileNotFoundError: none there. ValueError: it is no such file.
    """
    file = place(folder) / ABOUT
    if not file.is_file():
        raise FileNotFoundError(f"no learned world {folder}: expected a folder with {ABOUT}, or one of {names()}")
    told = tensors.read_json(file)
    if lacking := sorted({"family", "spec", "width", "patch", "fingerprints", "about"} - set(told)):
        raise ValueError(f"{file}: found no {', '.join(lacking)}, expected what learned.save writes")
    return told
