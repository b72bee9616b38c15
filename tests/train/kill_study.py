"""Kills a training run with SIGKILL at random moments, restarts it, and compares the end with a run never killed.

    python tests/train/kill_study.py --kills 20

Every life of a run is a process of its own. By default it is forked from one that has imported everything but has not
started JAX, which saves the imports; `--spawn` starts the real command line each time. A run that reaches its end
before the next kill is compared, and the next victim starts. What is compared, bit for bit: weights, moving average,
optimiser state, key and step of the last checkpoint (by SHA-256), position of the data, metrics.jsonl, results.json,
and the bytes of the exported model. Prints one line per kill and a summary; exits 1 if any run differs.
"""

import argparse
import collections
import dataclasses
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).parents[2]), str(pathlib.Path(__file__).parents[1])]
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import tiny  # noqa: E402

from vrjax.files import writing  # noqa: E402
from vrjax.train import config as configs  # noqa: E402
from vrjax.train import loop  # noqa: E402


def config_of(steps: int) -> configs.TrainConfig:
    """A run with a checkpoint every 5 updates and a validation every 20."""
    base = tiny.config()
    return dataclasses.replace(
        base,
        steps=steps,
        checkpoint=dataclasses.replace(base.checkpoint, every=5),
        validate=dataclasses.replace(base.validate, every=20),
    )


class Life:
    """One process training in `root`."""

    def __init__(self, config: configs.TrainConfig, root: pathlib.Path, spawn: bool):
        root.mkdir(parents=True, exist_ok=True)
        self._log = root / "log.txt"
        self._child = None
        self.status: int | None = None
        if spawn:
            writing.json(root / "given.json", {"config": writing.to_dict(config)})
            command = [sys.executable, "-m", "vrjax.cli", "train", str(root / "given.json"), "--root", str(root)]
            self._child = subprocess.Popen(command, stdout=open(self._log, "a"), stderr=subprocess.STDOUT)
            self.pid = self._child.pid
            return
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(log, 1)
                os.dup2(log, 2)
                loop.run(config, root=root)
                status = 0
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(status)

    def wait(self, seconds: float | None) -> int | None:
        """Exit status, or None if it is alive after so many seconds."""
        end = None if seconds is None else time.monotonic() + seconds
        while self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                if self._child is not None:
                    self._child.returncode = self.status
            elif end is not None and time.monotonic() >= end:
                break
            else:
                time.sleep(0.001)
        return self.status

    def kill(self) -> bool:
        """SIGKILL: no handler runs, nothing is flushed. Returns False if it had just ended by itself."""
        os.kill(self.pid, signal.SIGKILL)
        return self.wait(None) == -signal.SIGKILL

    def fail(self, status: int) -> None:
        raise SystemExit(f"a life ended by itself with status {status}:\n{self._log.read_text()[-3000:]}")


def outcome(run: pathlib.Path, steps: int) -> dict[str, bytes | str]:
    """Everything that must be equal at the end of a run."""
    last = run / "checkpoints" / str(steps)
    meta = json.loads((last / "meta" / "metadata").read_text())
    found: dict[str, bytes | str] = {f"state.{k}": v for k, v in meta["digests"].items()}
    assert {"state.params", "state.ema", "state.optimizer", "state.key", "state.step"} <= set(found)
    assert None not in found.values()
    found["data"] = (last / "data" / "metadata").read_bytes()
    for name in ("metrics.jsonl", "results.json", "config.json"):
        found[name] = (run / name).read_bytes()
    found["model"] = (run / "model" / "diffusion_pytorch_model.safetensors").read_bytes()
    return found


def moment(run: pathlib.Path, began: float) -> str:
    """What the process was doing when it died, as far as its files tell."""
    rows = run / "metrics.jsonl"
    if not rows.exists() or rows.stat().st_mtime < began:
        return "before its first update"
    if any("tmp" in p.name for p in (run / "checkpoints").glob("*")):
        return "while saving"
    if (run / "model.part").exists() or (run / "model").exists():
        return "while exporting"
    return "between updates"


def first_update(life: Life, run: pathlib.Path, began: float) -> float:
    """Waits until this life has written metrics, or has ended. Returns the time."""
    rows = run / "metrics.jsonl"
    while life.status is None and not (rows.exists() and rows.stat().st_mtime > began and rows.stat().st_size):
        life.wait(0.002)
    return time.monotonic()


def study(kills: int, steps: int, folder: pathlib.Path, seed: int, spawn: bool) -> bool:
    """Runs the study. Returns whether every run ended like the reference."""
    config, rng = config_of(steps), random.Random(seed)
    began, wall = time.monotonic(), time.time()
    reference = Life(config, folder / "reference", spawn)
    start = first_update(reference, folder / "reference" / config.name, wall)
    if status := reference.wait(None):
        reference.fail(status)
    # Upper ends of the two delays below; they shrink when a later life, whose programs are compiled, is faster.
    whole, rest = time.monotonic() - began, time.monotonic() - start
    wanted = outcome(folder / "reference" / config.name, steps)
    print(f"reference: {steps} updates, never killed, {whole:.1f} s", flush=True)

    done, equal, compared, places = 0, 0, 0, collections.Counter()
    victim, since = 0, 0  # runs finished, kills of the present run
    while done < kills or since:
        root = folder / f"victim{victim}"
        run = root / config.name
        began, wall, start = time.monotonic(), time.time(), None
        life = Life(config, root, spawn)
        if done == kills:
            status = life.wait(None)
        elif rng.random() < 0.4:  # any moment, the long start included
            status = life.wait(rng.uniform(0, whole))
        else:  # some moment after the first update of this life
            start = first_update(life, run, wall)
            status = life.wait(rng.uniform(0, rest))
        if status is None:
            where = moment(run, wall)
            if life.kill():
                done, since = done + 1, since + 1
                places[where] += 1
                print(f"kill {done} of {kills}: {where}", flush=True)
                continue
            status = life.status
        if status:
            life.fail(status)
        whole = min(whole, time.monotonic() - began)
        rest = rest if start is None else min(rest, time.monotonic() - start)
        found = outcome(run, steps)
        different = sorted(k for k in wanted if found.get(k) != wanted[k])
        compared += 1
        if different:
            print(f"run {victim}, killed {since} times: DIFFERS in {', '.join(different)}", flush=True)
        else:
            equal += since
            print(f"run {victim}, killed {since} times: equal in every bit", flush=True)
        victim, since = victim + 1, 0
    print(f"{equal} of {done} kills ended bitwise equal, in {compared} runs ({dict(places)})", flush=True)
    return equal == done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=60, help="updates in a run")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--spawn", action="store_true", help="start the real command line for every life")
    parser.add_argument("--folder", type=pathlib.Path, help="keep the runs here")
    args = parser.parse_args()
    if args.folder is not None:
        raise SystemExit(0 if study(args.kills, args.steps, args.folder, args.seed, args.spawn) else 1)
    with tempfile.TemporaryDirectory() as folder:
        raise SystemExit(0 if study(args.kills, args.steps, pathlib.Path(folder), args.seed, args.spawn) else 1)


if __name__ == "__main__":
    main()
