"""`vrjax` as a process of its own, which at step POD_KILL kills itself (-9), at step POD_STOP asks itself to stop.

It is also the config file that this process trains, on the mesh POD_MESH. Where there are POD_PAIRS, the processes that
have trained align as well, in POD_PAIRS's own folder.
"""

import json
import os
import signal
import sys

import tiny

from vrjax import cli
from vrjax.align.config import Reference
from vrjax.train import loop
from vrjax.train.config import Data

plain = loop.Loop._look
ENDS = {"POD_KILL": signal.SIGKILL, "POD_STOP": signal.SIGTERM}


def config():
    if "POD_ALIGNS" not in os.environ:
        return tiny.pod(mesh=json.loads(os.environ["POD_MESH"]))
    draws = Reference(kind="precomputed", draws=2)
    return tiny.align(mesh={"data": -1}, pairs=os.environ["POD_PAIRS"], reference=draws, data=Data(batch=4), steps=1)


def look(self, step, *args):
    plain(self, step, *args)
    for name, number in ENDS.items():
        if os.environ.get(name) == str(step):
            os.kill(os.getpid(), number)


if __name__ == "__main__":
    loop.Loop._look = look
    cli.main(sys.argv[1:])
    if "POD_PAIRS" in os.environ:
        os.environ["POD_ALIGNS"] = "1"
        cli.main(["align", __file__, "--root", os.environ["POD_PAIRS"]])
