"""What a run needs, seen before anything is loaded or compiled: its start, its data, its devices, each by its flag.

ready.wanting(config)            # lines, each of which names what is wrong, and the flag that mends it
ready.refuse(config)             # the same as one error

Headers, JSON and one clip are read. `vrjax plan` prints the lines as notes: a plan needs none of this to be there.
"""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from vrjax import parallel
from vrjax.data import latents, motions, worlds
from vrjax.models import family
from vrjax.train import state as states
from vrjax.train.config import TrainConfig

ENCODED = "; encoded clips instead (vrjax encode): --data.cache FOLDER --validate.every 0 --validate.final-clips 0"


def wanting(config: TrainConfig) -> list[str]:
    """What a training run lacks on this machine, but for its devices."""
    return [*start(config), *data(config)]


def refuse(config: TrainConfig, wanting: Callable[[Any], list[str]] = wanting) -> None:
    """Raises ValueError that says all that a run lacks; `wanting` is that of its kind of training."""
    lines = [*wanting(config), *told(lambda: devices(config), "--mesh")]
    if lines:
        raise ValueError(f"config {config.name!r} cannot be trained here: {'; '.join(lines)}")


def told(look: Callable[[], Any], flag: str) -> list[str]:
    """What `look` complains of, with the flag that mends it."""
    try:
        look()
    except (ValueError, OSError) as error:
        return [f"{error} ({flag})"]
    return []


def start(config: TrainConfig) -> list[str]:
    """Weights to start from that are not there, or are another model's."""
    if config.start is not None and not pathlib.Path(config.start).exists():
        return [f"{config.start}: no such weights to start from (--start: a network's folder or file)"]
    return told(lambda: states.fits_start(config), "--start")


def data(config: TrainConfig) -> list[str]:
    """Encoded clips that are not there; clips of another model."""
    if config.data.cache is not None:
        return told(lambda: clips(config), "--data.cache")
    if config.data.motions is not None:
        return told(lambda: motion(config), "--data.motions")
    return told(lambda: stream(config), "--data.mix")


def devices(config: TrainConfig) -> None:
    """Raises ValueError for a mesh that these devices do not make, or that does not divide the batch."""
    states.batch_sharding(config, parallel.run_mesh(config.mesh))


def clips(config: TrainConfig) -> latents.Cached:
    """The encoded clips of a run. Raises FileNotFoundError, ValueError: none, or of another model."""
    found = latents.Cached(str(config.data.cache), text_len=text_shape(config)[0])
    same_channels(config, found[0], str(found.folder))
    return found


def stream(config: TrainConfig) -> worlds.Stream:
    """The procedural clips of a run. Raises ValueError: unknown tasks, or clips that its model does not take."""
    spec, (length, width) = config.data, text_shape(config)
    found = worlds.Stream(spec.mix, spec.split, config.seed, spec.codec_factor, length, width, None, {})
    same_channels(config, found[0], "procedural tasks", ENCODED)
    return found


def motion(config: TrainConfig) -> None:
    """Raises ValueError where the run's model does not take its procedural motions."""
    spec, of = config.data.motions, family.of(config.model)
    assert spec is not None
    wanted = of.conditions(config.model, spec.latent)
    if of.channels(config.model) != spec.latent[-1] or "text" not in wanted:
        raise ValueError(f"motions have {spec.latent[-1]} channels and text, the config's model does not")
    motions.check(spec, wanted["text"])


def text_shape(config: TrainConfig) -> tuple[int, ...]:
    """Of the text beside a clip; (1, 1) where the family has no use for it."""
    of = family.of(config.model)
    return of.conditions(config.model, (1, 1, 1, of.channels(config.model))).get("text", (1, 1))


def same_channels(config: TrainConfig, row: Mapping[str, Any], where: str, hint: str = "") -> None:
    """Raises ValueError where a clip's arrays, those that the model's family looks at, have other channels than it."""
    of = family.of(config.model)
    latent = (*row["latent"].shape[:-1], of.channels(config.model))
    shapes = {"latent": latent, **of.conditions(config.model, latent)}
    found = {name: row[name].shape[-1] for name in shapes if name in row}
    wanted = {name: shapes[name][-1] for name in found}
    if found != wanted:
        raise ValueError(f"{where}: channels of its clips are {found}, the config's model has {wanted}{hint}")
