"""How far a reader walks from a command to its first compiled program: files entered, and returns to files left.

    python experiments/bench/walks.py                            # train, align and the main study of this tree
    python experiments/bench/walks.py --model FOLDER             # and `sample --prompt` with a Wan model's folder
    python experiments/bench/walks.py --root OLD -m vrjax.cli train configs/smoke.py --root walked     # any command

The command runs in a process of its own under `sys.setprofile`. What is counted:

- **A stop** is a function or method of vrjax or experiments when it is called for the first time: a reader reads it
  once. Lambdas and comprehensions belong to the function they stand in. What runs while a module is imported, and what
  JAX or Flax call back (the traced mathematics), is not on the way: the walk is that of the host's code.
- It begins with the command's own `run` (for a study: its first function), after the arguments are parsed, and ends
  where a function of vrjax or experiments is executed as a compiled program for the first time.
- **Files**: in how many files the stops lie. **Returns**: how often a stop lies in another file than the one before and
  that file was entered before: the reader goes back.

Caches of earlier runs shorten a walk (an encoded prompt is not encoded again), so each is given an empty one.
"""

import argparse
import json
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMANDS = {
    "vrjax train": ["vrjax.cli", "train", "configs/chain_of_steps/smoke.py", "--root", "{out}"],
    "vrjax align": ["vrjax.cli", "align", "configs/realdpo/smoke.py", "--root", "{out}"],
    "vrjax sample --prompt": [
        *("vrjax.cli", "sample", "--prompt", "a cat", "--model", "{model}", "--frames", "5", "--size", "32x32"),
        *("--steps", "2", "--out", "{out}"),
    ],
    "the main job": ["experiments.chain_of_steps", "--out", "{out}"],
}


class Walk:
    """Follows one process: the stops, until the first compiled program of the watched folders runs."""

    def __init__(self, root: pathlib.Path, found: pathlib.Path):
        self.watched = tuple(f"{root / top}{os.sep}" for top in ("vrjax", "experiments"))
        self.root, self.found = root, found
        self.stops: dict[tuple[str, str], None] = {}
        self.aside: dict[int, bool] = {}  # frames on the stack -> below an import or a trace
        self.kinds: dict[str, str] = {}

    def kind(self, file: str) -> str:
        if file not in self.kinds:
            aside = "importlib" in file or f"{os.sep}jax{os.sep}" in file or f"{os.sep}flax{os.sep}" in file
            self.kinds[file] = "ours" if file.startswith(self.watched) else "aside" if aside else "other"
        return self.kinds[file]

    def __call__(self, frame: Any, event: str, _: Any) -> None:
        code = frame.f_code
        if self.kind(code.co_filename) == "ours":
            if event == "call":
                self.enter(frame)
            elif event == "return":
                self.aside.pop(id(frame), None)
        elif event == "call" and code.co_name == "cache_miss" and code.co_filename.endswith("pjit.py"):
            # What jax.jit's C++ calls when it meets new arguments outside a trace: to compile and to execute.
            if self.is_ours(frame.f_locals.get("fun")) and self.stops:
                self.end()

    def enter(self, frame: Any) -> None:
        aside, back = False, frame.f_back
        while back is not None and not aside:
            kind = self.kind(back.f_code.co_filename)
            if kind == "ours":
                aside = self.aside.get(id(back), False)
                break
            aside, back = kind == "aside", back.f_back
        self.aside[id(frame)] = aside
        name = frame.f_code.co_qualname
        if not aside and not name.rpartition(".")[2].startswith("<"):
            self.stops.setdefault((os.path.relpath(frame.f_code.co_filename, self.root), name))

    def is_ours(self, fun: Any) -> bool:
        while hasattr(fun, "__wrapped__") or hasattr(fun, "func"):
            fun = getattr(fun, "__wrapped__", None) or fun.func
        return hasattr(fun, "__code__") and self.kind(fun.__code__.co_filename) == "ours"

    def end(self) -> None:
        sys.setprofile(None)
        self.found.write_text(json.dumps(list(self.stops)))
        os._exit(0)


def walk(root: pathlib.Path, command: list[str]) -> list[list[str]]:
    """The stops (file, function) of a command.

    Raises:
        RuntimeError: it ended before anything compiled ran; with its last words.
    """
    with tempfile.TemporaryDirectory() as scratch:
        found = pathlib.Path(scratch) / "stops.json"
        environment = os.environ | {"PYTHONPATH": str(root), "XDG_CACHE_HOME": scratch, "JAX_PLATFORMS": "cpu"}
        child = [sys.executable, __file__, "--child", str(found), "--root", str(root), "-m", *command]
        done = subprocess.run(child, cwd=root, env=environment, capture_output=True, text=True, check=False)
        if not found.exists():
            last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
            raise RuntimeError(f"{' '.join(command)}: ended before anything compiled ran: {last}")
        stops = json.loads(found.read_text())
    first = next((i for i, (file, name) in enumerate(stops) if name == "run" and f"cli{os.sep}" in file), 0)
    return stops[first:]


def count(stops: list[list[str]]) -> tuple[list[str], int]:
    """The files in the order of the walk, one after another, and how many of them are returns."""
    files = [file for file, _ in stops]
    order = [file for i, file in enumerate(files) if i == 0 or files[i - 1] != file]
    return order, len(order) - len(set(order))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="the tree that is walked (this one)")
    parser.add_argument("--model", type=pathlib.Path, help="a Wan model's folder, for sample --prompt")
    parser.add_argument("--list", action="store_true", help="print every stop")
    parser.add_argument("--child", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("-m", dest="command", nargs=argparse.REMAINDER, help="module and arguments of another command")
    args = parser.parse_args()
    root = args.root.resolve()
    if args.child:
        sys.path[0] = str(root)  # not this script's folder
        sys.argv = args.command
        sys.setprofile(Walk(root, args.child))
        runpy.run_module(args.command[0], run_name="__main__", alter_sys=True)
        return
    commands = {" ".join(args.command[:2]): args.command} if args.command else dict(COMMANDS)
    print(f"{'command':24s} files returns stops")
    for name, words in commands.items():
        if "{model}" in words and not args.model:
            continue
        with tempfile.TemporaryDirectory() as out:
            model = args.model.resolve() if args.model else ""
            stops = walk(root, [word.format(out=f"{out}/runs", model=model) for word in words])
        order, returns = count(stops)
        print(f"{name:24s} {len(set(order)):5d} {returns:7d} {len(stops):5d}")
        for file, function in stops if args.list else ():
            print(f"    {file}: {function}")


if __name__ == "__main__":
    main()
