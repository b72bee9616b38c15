"""The fuzz in full: `python tests/cli/fuzz_study.py` prints a table; status 1 where a case ends wrongly.

2,400 cases in this process, and 200 of its command lines again as processes of their own. Equal seeds, equal cases.
The processes alone, some at a time: `python tests/cli/fuzz_study.py --kinds --kept fuzz.jsonl --processes 40`, then 80,
...: those that the file holds are not run again.
"""

import argparse
import collections
import contextlib
import itertools
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from tests.cli import fuzz

COUNTS = {"commands": 800, "calls": 500, "folders": 400, "loras": 300, "pictures": 200, "clips": 100, "captions": 100}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="first seed (0)")
    parser.add_argument("--share", type=float, default=1.0, help="of the cases (1)")
    parser.add_argument("--processes", type=int, default=200, help="command lines run as processes (200)")
    parser.add_argument("--kinds", nargs="*", default=list(COUNTS), help="of the cases in this process (all)")
    parser.add_argument("--kept", type=pathlib.Path, help="file of what processes came to, gone on with")
    args = parser.parse_args()
    args.kept = args.kept and args.kept.resolve()
    wrong = []
    print(f"{'kind':12}{'cases':>7}{'refused':>9}{'taken':>7}{'traceback':>11}{'silent':>8}", flush=True)
    with tempfile.TemporaryDirectory() as root:
        on = fuzz.bench(pathlib.Path(root))
        for kind in args.kinds:
            seen: collections.Counter[str] = collections.Counter()
            for seed in range(args.first, args.first + round(args.share * COUNTS[kind])):
                outcome = fuzz.one(kind, seed, on)
                seen[outcome.kind] += 1
                if outcome.kind in ("traceback", "silent"):
                    wrong.append(f"{kind} {seed}: {outcome.kind}: {outcome.words}")
            row(kind, seen)
        row("processes", processes(args, on, wrong))
    print(*wrong, sep="\n")
    raise SystemExit(bool(wrong))


def row(kind: str, seen: "collections.Counter[str]") -> None:
    print(
        f"{kind:12}{sum(seen.values()):7}{seen['refused']:9}{seen['taken']:7}{seen['traceback']:11}{seen['silent']:8}",
        flush=True,
    )


def processes(args: argparse.Namespace, on: fuzz.Bench, wrong: list[str]) -> "collections.Counter[str]":
    """Command lines that are refused, whole: imports, one line, status 2, nothing written."""
    known = args.kept.read_text("utf-8").splitlines() if args.kept and args.kept.exists() else []
    kept = {row["seed"]: row for row in map(json.loads, known)}
    seen: collections.Counter[str] = collections.Counter()
    for seed in itertools.count(args.first + 100_000):
        if sum(seen.values()) == args.processes:
            return seen
        found = kept.get(seed) or {"seed": seed, **process(seed, on)}
        if args.kept and seed not in kept:
            with args.kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")
        if found["kind"] == "left out":
            continue
        seen[found["kind"]] += 1
        if found["kind"] != "refused":
            wrong.append(f"process {seed}: {found['words']}")


def process(seed: int, on: fuzz.Bench) -> dict[str, str]:
    """One command line as a process, where it is refused at once in this one; else it is left out."""
    line, added = fuzz.command_line(random.Random(f"process {seed}"), on)
    argv = [*line, *itertools.chain(*added)]
    with tempfile.TemporaryDirectory(dir=on.root) as folder, contextlib.chdir(folder):
        if fuzz.call(argv)[0] != 2 or any("\0" in word for word in argv):
            return {"kind": "left out", "words": ""}
        here = {p for p in pathlib.Path().rglob("*") if p.is_file()}
        command = [sys.executable, "-m", "vrjax.cli", *argv]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        left = [p for p in pathlib.Path().rglob("*") if p.is_file() and p not in here and not p.name.startswith(".")]
    kind = "traceback" if "Traceback" in done.stderr else "silent" if left or done.returncode != 2 else "refused"
    return {"kind": kind, "words": f"{' '.join(argv)}: status {done.returncode}: {done.stderr[-300:]} {left}"}


if __name__ == "__main__":
    main()
