"""Speed beside PyTorch: the same weights and inputs in vrjax and in diffusers, timed in alternating pairs.

    python -m experiments.bench --out runs/bench          a few minutes on two cores; needs the `parity` extra
    python -m experiments.bench --rows forward train_step --pairs 15
    python -m experiments.bench --compile                 torch.compile as a second baseline

Each side runs in a process of its own and idles while the other works, on the same cores with as many threads. Every
ratio is time(vrjax) / time(PyTorch) of neighbouring calls: below 1, vrjax is faster. Before a row is timed both
sides' results are compared; a row whose results differ is an error, not a number. A process keeps its pace (PyTorch's
guided loop takes 0.95 s in one and 1.25 s in the next) and is slower after other work, so that every row has
processes of its own, and fresh ones in each of several rounds.

With several cores vrjax makes each a device (`vrjax.parallel.cores`) and divides sampling over them, the heads of
`forward` (mesh axis tensor) and the branches of guidance (data); --devices 1 leaves it to XLA's threads.

Rows (CPU: float32, a model of width 256 with 4 blocks unless it says otherwise):
    sgemm                  a 2048 x 2048 product: the two libraries' own matrix products
    forward                one forward pass, 1,280 tokens
    train_step             flow matching, gradient and AdamW, 1,280 tokens
    guided_loop            20 Euler steps with guidance, 320 tokens, x, v and x0 of every step kept on both sides
    single                 10 Euler steps, one seed, 320 tokens
    ensemble_8             the same for 8 seeds whose block 1 is averaged over seeds at every step (`lax.pmean`),
                           beside PyTorch's batch of 8 with a hook
    *_embedded             the shape of the shipped model: width 64, 6 blocks, 225 tokens; training in batches of 32
    ensemble_8_vs_single   time of ensemble_8 / (8 times single), both vrjax
    mfu_forward            operations a second of `forward` (`vrjax.models.wan.flops`) / those of the best sgemm of the
                           same run and library: a share, not a ratio to PyTorch
On a machine with a GPU the rows are those of Wan 2.1 T2V-1.3B at 480p x 81 frames in bfloat16.

Writes `results.json` (`rows`: name, ratio, low, high, pairs, rounds (the median of each); low to high is the 95 %
order-statistic interval of the median over all pairs, as if they were independent) and `bench.png` to the folder --out.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import pathlib
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from experiments.bench import cases as tables
from experiments.bench.cases import Case

SIDES = ("vrjax", "torch")
SGEMM = 2048
PAUSE = 0.3  # seconds before every timed call: the other side's threads spin for a while before they sleep
TOLERANCE = {"float32": 2e-3, "bfloat16": 5e-2}  # of whole loops, relative to the largest value


class Failed(Exception):
    """A side could not do its part; the message says why."""


def serve(pipe: Any, side: str, cores: Sequence[int], compiled: bool, on_gpu: bool, devices: int) -> None:
    """The loop of one side's process: builds a case, or times one call of it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    module: Any = __import__(f"experiments.bench.{side}_side", fromlist=["build"])
    module.start(len(cores), 1 if on_gpu else devices)
    call: Any = None
    while True:
        request, *args = pipe.recv()
        try:
            if request == "stop":
                return
            if request == "initialise":
                answer = module.initialise(*args)
            elif request == "sgemm":
                call = module.sgemm(*args)
                answer = None
            elif request == "build":
                call = None  # frees the last case first
                call = module.build(*args, compiled)
                answer = call()
            else:  # time
                time.sleep(PAUSE)
                wall, cpu = time.perf_counter(), time.process_time()
                call()
                answer = time.perf_counter() - wall, time.process_time() - cpu
            pipe.send(("done", answer))
        except Exception as error:
            pipe.send(("failed", f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-3)}"))


@contextlib.contextmanager
def _environment(side: str, cores: Sequence[int], on_gpu: bool) -> Iterator[None]:
    """What a side's process finds in its environment when it starts, before it imports anything."""
    wanted = {"OMP_NUM_THREADS": str(len(cores))}
    wanted |= {} if on_gpu else {"JAX_PLATFORMS": "cpu"}
    wanted |= {"VRJAX_HOST_MEMORY": "system"} if side == "torch" else {}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class Side:
    """One side's process, asked over a pipe."""

    def __init__(self, side: str, cores: Sequence[int], compiled: bool = False, on_gpu: bool = False, devices: int = 1):
        self.name = side
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, side, cores, compiled, on_gpu, devices), daemon=True)
        with _environment(side, cores, on_gpu):
            self.process.start()
        theirs.close()

    def ask(self, *request: Any) -> Any:
        """Sends a request and waits for its answer; Failed if it could not be done."""
        try:
            self.pipe.send(request)
            status, answer = self.pipe.recv()
        except (EOFError, BrokenPipeError):
            self.process.join(5)
            raise Failed(
                f"{self.name}: its process ended (exit status {self.process.exitcode}); out of memory?"
            ) from None
        if status == "failed":
            raise Failed(f"{self.name}: {answer}")
        return answer

    def stop(self) -> None:
        """Ends the process."""
        try:
            self.pipe.send(("stop",))
        except (OSError, ValueError):
            pass
        self.process.join(10)
        if self.process.is_alive():
            self.process.kill()


def compare(case: Case, ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference relative to the largest value; Failed if the sides did not do the same work."""
    if ours.shape != theirs.shape:
        raise Failed(f"{case.name}: results of shapes {ours.shape} and {theirs.shape}")
    difference = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    if not difference <= TOLERANCE[case.dtype]:
        raise Failed(f"{case.name}: results differ by {difference:.2g}, expected at most {TOLERANCE[case.dtype]}")
    return difference


def pairs(sides: Sequence[Side], count: int) -> dict[str, np.ndarray]:
    """Wall and CPU seconds (count, 2) of alternating calls, after one warm-up call of each side."""
    for side in sides:
        side.ask("time")
    rows = []
    for i in range(count):
        turn = list(sides) if i % 2 == 0 else list(sides)[::-1]  # neither side always comes first
        taken = {side.name: side.ask("time") for side in turn}
        rows.append([taken[side.name] for side in sides])
    both = np.asarray(rows)
    return {"wall": both[..., 0], "cpu": both[..., 1]}


def row(name: str, values: np.ndarray, **more: Any) -> dict[str, Any]:
    """A line of the table: median and its interval."""
    low, high = tables.order_interval(values)
    return {"name": name, "ratio": float(np.median(values)), "low": low, "high": high, "pairs": len(values), **more}


def measure(
    chosen: Sequence[Case],
    cores: Sequence[int],
    count: int,
    *,
    rounds: int = 1,
    devices: int = 1,
    compiled: bool = False,
    on_gpu: bool = False,
) -> list[dict[str, Any]]:
    """Every row of the table: `count` pairs of each, taken in `rounds` fresh pairs of processes a row."""
    ratios: dict[str, list[np.ndarray]] = {}
    taken: dict[str, list[np.ndarray]] = {}  # wall seconds (pairs, 2) of each round
    about: dict[str, dict[str, Any]] = {}

    def keep(name: str, values: np.ndarray) -> None:
        ratios.setdefault(name, []).append(values)
        print(f"  round {turn + 1} of {rounds}   {name:<24}{np.median(values):7.3f}", flush=True)

    def timed(name: str, sides: Sequence[Side], pairs_now: int, **more: Any) -> None:
        found = pairs(sides, pairs_now)
        wall, cpu = found["wall"], found["cpu"]
        taken.setdefault(name, []).append(wall)
        cpu_ratio = float(np.median(cpu[:, 0] / cpu[:, 1]))
        about.setdefault(name, more)["cpu_ratio"] = cpu_ratio
        keep(name, wall[:, 0] / wall[:, 1])

    @contextlib.contextmanager
    def both() -> Iterator[list[Side]]:
        sides: list[Side] = []
        try:
            for side in SIDES:
                sides.append(Side(side, cores, compiled and side == "torch", on_gpu, devices))
            yield sides
        finally:
            for side in sides:
                side.stop()

    for turn in range(rounds):
        now = count // rounds + (turn < count % rounds)
        with both() as sides:
            for side in sides:
                side.ask("sgemm", SGEMM)
            timed("sgemm", sides, now)
        best = 2 * SGEMM**3 / taken["sgemm"][-1][:, 0].min()
        for case in chosen:
            with both() as sides, tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder)
                sides[1].ask("initialise", case, path)
                results = [side.ask("build", case, path) for side in sides]
                timed(case.name, sides, now, difference=compare(case, *results))
            if case.name == "forward" and case.dtype == "float32":
                keep("mfu_forward", operations(case) / taken["forward"][-1][:, 0] / best)
        if "single" in taken and "ensemble_8" in taken:
            keep("ensemble_8_vs_single", taken["ensemble_8"][-1][:, 0] / (8 * taken["single"][-1][:, 0]))

    rows = []
    for name, values in ratios.items():
        more: dict[str, Any] = dict(about.get(name, {}))
        more["rounds"] = [float(np.median(v)) for v in values]
        if name in taken:
            more["vrjax_s"], more["torch_s"] = (float(x) for x in np.median(np.concatenate(taken[name]), 0))
        rows.append(line := row(name, np.concatenate(values), **more))
        spent = f"   {line['vrjax_s']:.3f} s / {line['torch_s']:.3f} s" if "torch_s" in line else ""
        print(f"{name:<24}{line['ratio']:7.3f}  [{line['low']:.3f}, {line['high']:.3f}]{spent}", flush=True)
    return rows


def operations(case: Case) -> float:
    """Operations of one call."""
    from vrjax.models import wan
    from vrjax.models.wan import flops

    cfg = wan.WanConfig(
        dim=case.dim,
        ffn_dim=case.ffn_dim,
        heads=case.heads,
        layers=case.layers,
        in_channels=case.latent[-1],
        out_channels=case.latent[-1],
        text_dim=case.text[1],
    )
    return flops.forward(cfg, case.tokens, case.text[0]) * tables.evaluations(case)


def machine(cores: Sequence[int]) -> dict[str, Any]:
    """What the numbers were measured on."""
    from importlib.metadata import version

    cpu = platform.processor() or platform.machine()
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        cpu = {k.strip(): v.strip() for k, v in lines.items()}.get("model name", cpu)
    versions = {name: version(name) for name in ("jax", "jaxlib", "flax", "torch", "diffusers", "numpy")}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "cpu": cpu,
        "cores": len(cores),
        "load_before": load,
        "python": platform.python_version(),
        "versions": versions,
    }


def draw(rows: Sequence[dict[str, Any]], path: pathlib.Path) -> None:
    """Ratios with their intervals, the line of equal speed between them."""
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(6, 0.42 * len(rows) + 1.2))
    for i, line in enumerate(rows):
        ax.plot([line["low"], line["high"]], [i, i], color="C0", lw=2)
        ax.plot(line["ratio"], i, "o", color="C0")
    ax.axvline(1.0, color="0.5", lw=1, ls="--")
    ax.set_yticks(range(len(rows)), [line["name"] for line in rows])
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    ax.set_xlabel("time of vrjax / time of PyTorch  (mfu_forward: share of the best sgemm)")
    fig.tight_layout()
    fig.savefig(path, dpi=150)
    plt.close(fig)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (1 when a side fails, 2 for a mistake in what was asked)."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/bench"), help="folder (runs/bench)")
    parser.add_argument("--pairs", type=int, default=15, help="timed calls of each side a row (15)")
    parser.add_argument("--rounds", type=int, default=3, help="fresh pairs of processes that they are taken in (3)")
    parser.add_argument(
        "--devices", type=int, metavar="N", help="into how many devices vrjax divides the CPU (one for each core)"
    )
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="only these cases")
    parser.add_argument("--cores", type=int, nargs="+", metavar="N", help="only these cores (all that are allowed)")
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile on the PyTorch side (needs a C++ compiler)"
    )
    parser.add_argument("--gpu", action="store_true", help="the GPU table (needs a CUDA torch and jax)")
    options = parser.parse_args(argv)
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    cores = options.cores or allowed
    known = {case.name: case for case in (tables.gpu() if options.gpu else tables.cpu())}
    try:
        if not 1 <= options.rounds <= options.pairs:
            raise ValueError(f"--pairs {options.pairs} --rounds {options.rounds}: expected pairs >= rounds >= 1")
        devices = len(cores) if options.devices is None else options.devices
        if not 1 <= devices <= len(cores):
            raise ValueError(f"--devices {devices}: expected from 1 to {len(cores)}, the number of cores")
        unknown = [name for name in options.rows or () if name not in known]
        if unknown:
            raise ValueError(f"--rows: unknown {unknown}, expected some of {list(known)}")
        if not set(cores) <= set(allowed):
            raise ValueError(f"--cores: {cores} are not all among the cores of this process, {allowed}")
        info = machine(cores)
    except ModuleNotFoundError as error:
        print(f"bench: {error}; install the `parity` extra: pip install -e '.[parity]'", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    chosen = [known[name] for name in options.rows] if options.rows else list(known.values())
    try:
        rows = measure(
            chosen,
            cores,
            options.pairs,
            rounds=options.rounds,
            devices=devices,
            compiled=options.compile,
            on_gpu=options.gpu,
        )
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    options.out.mkdir(parents=True, exist_ok=True)
    from vrjax.files.writing import atomic

    with atomic(options.out / "results.json") as scratch:
        about = {"machine": info, "devices": devices, "compiled_torch": options.compile}
        scratch.write_text(json.dumps({"rows": rows, **about}, indent=2))
    draw(rows, options.out / "bench.png")
    print(f"written to {options.out / 'results.json'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
