"""`vrjax` as a process of its own, which at step POD_KILL kills itself (-9), at step POD_STOP asks itself to stop.

Checkpoints are written beside the steps, so that which one is the newest at a kill is chance: before it ends itself,
the process waits until the last one begun is whole on disk.

It is also the config file that this process trains, on the mesh POD_MESH. Where there are POD_PAIRS, the processes that
have trained align as well, in POD_PAIRS's own folder.
"""

import json
import os
import signal
import sys
import time

import tiny

from vrjax import cli
from vrjax.align.config import Reference
from vrjax.train import loop
from vrjax.train.config import Data

plain = loop.Loop._look
ENDS = {"POD_KILL": signal.SIGKILL, "POD_STOP": signal.SIGTERM}
PATIENCE = 300  # seconds


def config():
    if "POD_ALIGNS" not in os.environ:
        return tiny.pod(mesh=json.loads(os.environ["POD_MESH"]))
    draws = Reference(kind="precomputed", draws=2)
    return tiny.align(mesh={"data": -1}, pairs=os.environ["POD_PAIRS"], reference=draws, data=Data(batch=4), steps=1)


def look(self, step, *args):
    plain(self, step, *args)
    for name, number in ENDS.items():
        if os.environ.get(name) == str(step):
            begun = step - 1 - (step - 1) % self.config.checkpoint.every
            whole, deadline = self.checkpoints.folder / str(begun), time.monotonic() + PATIENCE
            while begun and not whole.is_dir() and time.monotonic() < deadline:
                time.sleep(0.05)
            os.kill(os.getpid(), number)


if __name__ == "__main__":
    loop.Loop._look = look
    cli.main(sys.argv[1:])
    if "POD_PAIRS" in os.environ:
        os.environ["POD_ALIGNS"] = "1"
        cli.main(["align", __file__, "--root", os.environ["POD_PAIRS"]])
