"""`vrjax learn`: train a world model, or go on with it."""

import argparse

from vrjax.cli import train

NAME, SUMMARY = "learn", "train a world model, or distil one, or go on with it"
TEXT = """\
Trains a world model on films of an exact world, which are drawn as it learns: a causal network denoises the next frame,
given what is done. In runs/<name>/; the world itself, with its reader and how far it strays, in runs/<name>/world/. The
same command goes on with a killed run, bit for bit. Its config() returns a WorldConfig, or a DistillConfig.

examples:
  vrjax learn configs/world_model/push.py
  vrjax learn configs/world_model/push.py --name short --steps 300 --measured 16
  vrjax play drive --worlds runs/world-drive/world exact       drive what was learned, beside what it was learned from

from Python: world.learned.load("runs/world-push/world"), then encode, step, render; world.plan plans through it.
several processes: as for `vrjax train`.
"""


def add(sub: argparse.ArgumentParser) -> None:
    """The command's arguments: those of `vrjax train`."""
    train.add(sub, "world.learned", TEXT)


run = train.run
