"""`vrjax align`: train on preferences, or go on with it."""

import argparse

from vrjax.cli import train

NAME, SUMMARY = "align", "train on preferences, or go on with it"
TEXT = """\
Trains on preferences: real clips against a model's own samples (RealDPO and its family), in runs/<name>/. The same
command goes on with a killed run, bit for bit. Its config() returns an AlignConfig.

examples:
  vrjax align configs/realdpo/smoke.py
  vrjax align configs/realdpo/smoke.py --name anchored --preference.loss dpop --preference.anchor 10
  vrjax align configs/realdpo/smoke.py --name two --mesh data 2

several processes: as for `vrjax train`.
"""


def add(sub: argparse.ArgumentParser) -> None:
    """The command's arguments: those of `vrjax train`."""
    train.add(sub, "align", TEXT)


run = train.run
