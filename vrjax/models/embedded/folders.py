"""The folder of a trained embedded model: diffusers' layout of one network, with `training.json` beside it."""

import dataclasses
import functools
import os
import pathlib
from typing import Any

from vrjax import tasks
from vrjax.files import tensors
from vrjax.models.embedded import conditions
from vrjax.models.settings import Settings
from vrjax.models.wan import readers
from vrjax.models.wan.dit import WanConfig

STEPS, SHIFT, FPS = 20, 3.0, 4
TRAINING, FAMILY = "training.json", "wan"


@dataclasses.dataclass(frozen=True)
class Folder:
    """A model and how it was trained, in the place of `vrjax.models.wan.folders.Folder`.

    Attributes:
        root: the folder, or its one file of weights.
        cfg: of the network.
        trained: the training config that stands beside the weights, or {}.
    """

    root: pathlib.Path
    cfg: WanConfig
    trained: dict[str, Any]
    boundary = larger = scheduler = None

    @property
    def name(self) -> str:
        """As its training called it."""
        return str(self.trained.get("name", self.root.name))

    @property
    def networks(self) -> tuple[pathlib.Path, ...]:
        """The one network."""
        return (self.root,)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks it was trained on, sorted."""
        return tuple(sorted(self.trained.get("data", {}).get("mix", {})))

    @property
    def codec(self) -> conditions.Codec:
        """Between pixels and its latents."""
        return conditions.blocks(self.trained.get("data", {}).get("codec_factor", 4))

    @property
    def published(self) -> Settings:
        """The sizes of what it was trained on; Euler's steps without guidance."""
        frames, height, width, _ = _film((self.tasks or tasks.names())[0])
        return Settings(STEPS, SHIFT, (1.0,), (height, width), frames, FPS, "", "euler", "shifted")

    @property
    def takes(self) -> tuple[str, str]:
        """Whether a picture of the first frame must be given; none of the last one is taken."""
        return "must" if self.cfg.in_channels > self.cfg.out_channels else "no", "no"


def family_of(trained: dict[str, Any]) -> str:
    """The family of a trained network, by its training's config; older ones do not say it and are Wan's."""
    model = trained.get("model")
    return str(model.get("family", FAMILY)) if isinstance(model, dict) else FAMILY


@functools.cache
def _film(name: str) -> tuple[int, ...]:
    return tasks.get(name).make(0, "train").video.shape


def find(root: str | os.PathLike) -> Folder:
    """Looks into a folder, or at a file of weights. Only JSON and headers are read.

    Raises:
        FileNotFoundError: nothing there. ValueError: weights or JSON that cannot be read, or a network that knows no
            worlds, but motions; names the file.
    """
    root = pathlib.Path(root)
    if not root.exists():
        raise FileNotFoundError(f"no model {root}: expected a folder such as runs/worlds/model")
    file, trained = (root if root.is_dir() else root.parent) / TRAINING, {}
    if file.exists():
        trained = tensors.read_json(file).get("config")
        if not isinstance(trained, dict):
            raise ValueError(f"{file}: expected an object with the field 'config'")
        if (found := family_of(trained)) != FAMILY:
            reader = f"vrjax.models.{found}.load_dit reads it"
            raise ValueError(
                f"{file}: a network of the family {found!r}, expected {FAMILY!r}, which has worlds; {reader}"
            )
    return Folder(root, readers.NETWORK.open(tensors.read(root)).check().cfg, trained)
