"""A run of `vrjax sample` killed at random moments: does it go on, to the same videos bit for bit?

    python -m experiments.bench.kills                            # 20 kills of a tiny random model's runs
    python -m experiments.bench.kills --kills 5 --model FOLDER --steps 8 --size 128x128

The command runs once without interruption. Then it is started again and again with another folder, each time as a
process of its own that gets SIGKILL: every other time at a moment drawn evenly from what the whole run took (while it
imports, loads, compiles), else from what it took after it had compiled (while it samples, decodes, writes). A run that
ends before its moment has its videos, trajectories and believed videos compared byte by byte with those of the
uninterrupted one, and a new folder is begun. Exit status 1 where anything differs, or a run fails.
"""

import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

PROMPT = "a red ball"
COMPILED = "compiling: "  # what the command says then


def command(options: argparse.Namespace, model: pathlib.Path, out: pathlib.Path) -> list[str]:
    """The run, as a command line."""
    given = ["sample", "--model", model, "--prompt", PROMPT, "--size", options.size, "--frames", options.frames]
    given += ["--steps", options.steps, "--seeds", 2, "--out", out]
    return [sys.executable, "-m", "vrjax.cli", *map(str, given)]


def start(argv: Sequence[str], log: pathlib.Path, limit: float | None = None, after: str = "") -> int | None:
    """Exit status of a process; None where it was killed `limit` seconds after it had said `after`."""
    with open(log, "ab") as said:
        begin, since = said.tell(), None if after else time.monotonic()
        process = subprocess.Popen(argv, stdout=said, stderr=said, start_new_session=True)
        try:
            while process.poll() is None:
                time.sleep(0.01)
                if since is None and after in log.read_bytes()[begin:].decode(errors="replace"):
                    since = time.monotonic()
                if limit is not None and since is not None and time.monotonic() - since > limit:
                    return None
            return process.returncode
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def made(out: pathlib.Path) -> dict[str, bytes]:
    """Videos and arrays of a finished run."""
    files = (file for pattern in ("*.mp4", "*.npy") for file in out.rglob(pattern) if not file.name.startswith("."))
    return {file.relative_to(out).as_posix(): file.read_bytes() for file in files}


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.bench.kills",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=20, help="how many (20)")
    parser.add_argument("--model", type=pathlib.Path, help="model folder (a tiny random one, made for it)")
    parser.add_argument("--size", default="64x64", help="pixels (64x64)")
    parser.add_argument("--frames", type=int, default=9, help="of a video (9)")
    parser.add_argument("--steps", type=int, default=150, help="denoising steps (150)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    options = parser.parse_args(argv)
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        model = options.model
        if model is None:
            from vrjax.models import wan

            model = wan.tiny(root / "model")
        if status := start(command(options, model, root / "whole"), root / "whole.log"):
            print(f"the run itself fails with status {status}:\n{(root / 'whole.log').read_text()[-2000:]}")
            return 1
        # The same again, with what the first has left in caches: as the runs to be killed will be.
        times = []
        for mark in (COMPILED, ""):
            began = time.monotonic()
            start(command(options, model, root / f"again{mark[:1]}"), root / "again.log", 0 if mark else None, mark)
            times.append(time.monotonic() - began)
        whole = made(root / "whole")
        print(f"{len(whole)} files in {times[1]:.1f} s without interruption, compiled after {times[0]:.1f}", flush=True)
        kills, runs, wrong = 0, 0, int(made(root / "again") != whole)
        while kills < options.kills or status is None:
            out, log = root / f"run-{runs}", root / f"run-{runs}.log"
            late = kills % 2 == 0
            limit = rng.uniform(0, max(times[1] - late * times[0], 0.1)) if kills < options.kills else None
            status = start(command(options, model, out), log, limit, COMPILED if late else "")
            if status is None:
                kills += 1
                print(f"kill {kills}, {limit:.1f} s after it had {'compiled' if late else 'begun'}", flush=True)
                continue
            found = made(out)
            different = sorted(name for name in {*whole, *found} if whole.get(name) != found.get(name))
            said = log.read_text(errors="replace")
            wrong += bool(status or different)
            how = f"status {status}, went on {said.count(': on from step')} times from a kept state"
            print(f"run {runs}: {how}; {f'differs: {different}' if different else 'equal'}", flush=True)
            runs += 1
    print(f"{kills} kills, {runs} runs finished, {wrong} of them wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
