"""How a world is asked, and what measures are given of a seed: its worlds by name, wherever they come from."""

import dataclasses
from typing import Protocol

import jax

from vrjax.models import family
from vrjax.world.learned.world import Learned


class Worlds(Protocol):
    """The worlds of a seed, see `training.Trained`. What measures imports no training, whose pages are no measure."""

    def world(self, which: str) -> Learned:
        """The world called so."""
        ...

    def mark(self, *which: str) -> dict[str, int]:
        """Numbers made of the weights of worlds, for tables that are kept of them."""
        ...


def asked(w: Learned, *, steps: int | None = None, window: int | None = None, least: float | None = 0.0) -> Learned:
    """The same weights, asked otherwise: in so many denoising steps a frame, or seeing so few frames.

    Args:
        w: the world.
        steps: denoising steps of a frame; its levels are shifted so far that none is below `least`.
        window: frames that are seen, the current one included. A shorter one is nothing new to the network: the first
            frames of a film have no longer one.
        least: the lowest level of training; None: the lowest of those that the world is asked at by default.

    Raises:
        ValueError: a window that is longer than the one of training.
    """
    if steps is not None:
        w = dataclasses.replace(w, spec=w.spec.asked_in(steps, least))
    if window is None:
        return w
    cfg = w.network.cfg
    if cfg.window is not None and window > cfg.window:
        raise ValueError(f"world_model: a window of {window}, expected at most {cfg.window}, that of training")
    like = family.of(cfg).abstract(dataclasses.replace(cfg, window=window))
    network = jax.tree.unflatten(jax.tree.structure(like), jax.tree.leaves(w.network))
    return dataclasses.replace(w, network=network)
