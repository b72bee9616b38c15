"""Speed beside PyTorch: the same weights and inputs in vrjax and in diffusers, timed in alternating pairs.

    python -m experiments.bench --out runs/bench          a few minutes on two cores; needs the `parity` extra
    python -m experiments.bench --rows forward train_step --pairs 15
    python -m experiments.bench --compile                 torch.compile as a second baseline
    python -m experiments.bench --profile train_step      where a row's time goes on both sides, a minute
    python -m experiments.bench --rows recording recorded_bytes compiling --pairs 11       vrjax alone, half a minute
    python -m experiments.bench --rows preference_1 preference_3 preference_stored         two minutes
    python -m experiments.bench --rows vae_encode vae_decode        the VAE, minutes
    python -m experiments.bench --rows motion_text motion_reference motion_block motions       minutes
    python -m experiments.bench --rows mixture_loop mixture_vectorised darcy_splu darcy_banded  beside NumPy, minutes
    python -m experiments.bench --rows drive_16 drive_28 drive_worlds       MiniDrive, half a minute
    python -m experiments.bench --rows learned_drive learned_drive_p95      learned, half a minute
    python -m experiments.bench --rows memory             Wan 1.3B's shapes in float32: 6 GB on disk, 6 GB of memory
    python -m experiments.bench --rows memory --layers 2  the same in seconds

Each side runs in a process of its own and idles while the other works, on the same cores with as many threads. Every
ratio is time(vrjax) / time(PyTorch) of neighbouring calls: below 1, vrjax is faster. Before a row is timed both
sides' results are compared; a row whose results differ is an error, not a number. A process keeps its pace (PyTorch's
guided loop takes 0.95 s in one and 1.25 s in the next) and is slower after other work, so that every row has
processes of its own, and fresh ones in each of several rounds.

With several cores vrjax makes each a device (`vrjax.parallel.cores`) and divides sampling over them, the heads of
`forward` (mesh axis tensor) and the branches of guidance (data); --devices 1 leaves it to XLA's threads.

Rows beside PyTorch, all of them by default (CPU: float32, a model of width 256 with 4 blocks unless it says otherwise):
    sgemm                  a 2048 x 2048 product: the two libraries' own matrix products; always taken
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
    vae_encode, vae_decode Wan 2.1's VAE, 33 frames of 128 x 128, beside AutoencoderKLWan; where they are named
    motion_text            16 motions of 3 s by a ViMoGen of width 128 (6 blocks, 3 of the reference's), 20 steps with
                           guidance, everything recorded, beside the same in PyTorch (`torch_motion`); where it is named
    motion_reference       the same from reference motions
    motion_block           the same from text with one block of the public width, 5 steps

Rows beside NumPy and SciPy, where they are named (posteriors by the preconditioned Crank-Nicolson sampler, as many
evaluations of the likelihood on both sides, chains divided over the devices of vrjax):
    mixture_loop           64 chains of 1,000 steps on a mixture of Gaussians in the plane, chain after chain in NumPy
    mixture_vectorised     the same, all chains in every step of NumPy's
    darcy_splu             8 chains of 125 steps on the field of an elliptic problem, 32 x 32 cells, and the search for
                           its mode by adjoint gradients, beside SciPy's sparse factorisation
    darcy_banded           the same beside LAPACK's Cholesky factor of bands, SciPy's fastest way here

With --gpu the rows are those of Wan 2.1 T2V-1.3B in bfloat16: `gemm_bf16` (8192 x 8192), `forward` and `guided_loop`
(4 steps) at 480p x 81 frames, `single` and `ensemble_8` at 240p x 17 frames. Before them every implementation of
attention and its gradients are compared with float64.

Rows of vrjax alone, measured where they are named:
    recording              time, recording x, v and x0 of every step / recording nothing
    recorded_bytes         bytes returned more / bytes of what is recorded
    compiling              compile time, 200 steps / 10 steps (a third of the pairs)
    preference_1, _3       a preference step with as many losers and a live reference, beside a training step on as many
                           clips, over the ratio of their forward passes
    preference_stored      the same with one loser and stored reference errors
    motions                seconds to make 1,000 procedural motions of 3 s, with texts, contacts and 276 channels
    drive_16, drive_28     milliseconds a frame of MiniDrive (a step, then colours, depth and labels of six cameras of
                           48 x 80) with so many boxes in view
    drive_worlds           frames a second of 64 worlds under vmap / of one world after another, colours alone
    learned_drive          milliseconds a frame of the shipped learned MiniDrive (two denoising steps, the cache, the
                           picture of its front camera), median; learned_drive_p95: the 95th of 100 frames
    memory                 peak memory of loading and sampling a large model / what must be there

Writes `results.json` (`rows`: name, ratio, low, high, pairs, rounds (the median of each); low to high is the 95 %
order-statistic interval of the median over all pairs, as if they were independent) and `bench.png` to the folder --out.
"""

import argparse
import os
import pathlib
import platform
import sys
from collections.abc import Collection, Sequence
from typing import Any

from experiments.bench import cases, memory_side, paired, posteriors, profile, timing
from experiments.bench.sides import Failed, Side
from vrjax.files import writing
from vrjax.report import figures, parts


def alone(names: Sequence[str], cores: Sequence[int], options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of vrjax alone, in one process; memory in processes of its own."""
    rows = []
    costs = [name for name in names if name != "memory"]
    if costs:
        with Side("costs", cores, options.gpu) as side:
            rows += [timing.row(name, side.ask("cost", name, options.pairs)) for name in costs]
    if "memory" in names:
        sizes = (options.shape, options.layers, options.dtype, options.steps, options.scratch)
        rows.append(memory_side.row(cores, *sizes))
    return rows


def machine(cores: Sequence[int], beside: Collection[str]) -> dict[str, Any]:
    """What the numbers were measured on."""
    from importlib.metadata import version

    cpu = platform.processor() or platform.machine()
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        cpu = {k.strip(): v.strip() for k, v in lines.items()}.get("model name", cpu)
    names = ["jax", "jaxlib", "flax", "numpy"]
    names += [*(["torch", "diffusers"] if "torch" in beside else []), *(["scipy"] if "numpy" in beside else [])]
    versions = {name: version(name) for name in names}
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
    words = "ratio; beside PyTorch or NumPy: its time is 1  (mfu_forward: share of the best sgemm)"
    lines = [parts.Effect(row["name"], *(row[k] for k in ("ratio", "low", "high", "pairs"))) for row in rows]
    figures.save(figures.forest(parts.Forest("Speed", lines, x_label=words, reference=1.0)), path)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (1 when a side fails or memory is beyond its limit, 2 for a mistake)."""
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
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="only these (all beside PyTorch)")
    parser.add_argument("--cores", type=int, nargs="+", metavar="N", help="only these cores (all that are allowed)")
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile on the PyTorch side (needs a C++ compiler)"
    )
    parser.add_argument("--gpu", action="store_true", help="the GPU table (needs a CUDA torch and jax)")
    watched = parser.add_argument_group("profile")
    watched.add_argument("--profile", metavar="NAME", help="watch this row instead of timing rows")
    watched.add_argument("--calls", type=int, default=3, help="calls that are watched (3)")
    watched.add_argument("--top", type=int, default=12, help="single operations to show (12)")
    memory = parser.add_argument_group("the row memory")
    memory.add_argument("--shape", choices=sorted(memory_side.SHAPES), default="1.3b", help="which model's (1.3b)")
    memory.add_argument("--layers", type=int, help="blocks (the model's own)")
    memory.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the file (float32)")
    memory.add_argument("--steps", type=int, default=3, help="denoising steps (3)")
    memory.add_argument("--scratch", type=pathlib.Path, help="where the checkpoint may lie for a while")
    options = parser.parse_args(argv)
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    cores = options.cores or allowed
    beside: dict[str, Any] = {case.name: case for case in (cases.gpu() if options.gpu else cases.cpu())}
    names = options.rows or ([] if options.profile else list(beside))
    beside |= {case.name: case for case in (*cases.vae(), *cases.motion())}
    watched_rows = list(beside)
    if not options.gpu:
        beside |= {case.name: case for case in posteriors.table()}
    known = [*beside, *cases.COSTS]
    chosen = [beside[name] for name in names if name in beside]
    try:
        if not 1 <= options.rounds <= options.pairs:
            raise ValueError(f"--pairs {options.pairs} --rounds {options.rounds}: expected pairs >= rounds >= 1")
        if options.calls < 1:
            raise ValueError(f"--calls {options.calls}: expected at least 1")
        devices = len(cores) if options.devices is None else options.devices
        if not 1 <= devices <= len(cores):
            raise ValueError(f"--devices {devices}: expected from 1 to {len(cores)}, the number of cores")
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"--rows: unknown {unknown}, expected some of {known}")
        if options.profile and options.profile not in watched_rows:
            raise ValueError(f"--profile: unknown {options.profile!r}, expected one of {watched_rows}")
        if not set(cores) <= set(allowed):
            raise ValueError(f"--cores: {cores} are not all among the cores of this process, {allowed}")
        info = machine(cores, {case.beside for case in chosen} | ({"torch"} if options.profile else set()))
    except ModuleNotFoundError as error:
        print(f"bench: {error}; install the `parity` extra: pip install -e '.[parity]'", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    try:
        if options.profile:
            found = profile.profile(beside[options.profile], cores, options.calls)
            profile.report(options.profile, found, options.top)
            return 0
        rows = alone([name for name in names if name in cases.COSTS], cores, options)
        if chosen:
            rounds = {"rounds": options.rounds, "devices": devices, "compiled": options.compile, "on_gpu": options.gpu}
            rows += paired.measure(chosen, cores, options.pairs, **rounds)
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    for row in rows:
        other = next((row[name] for name in ("torch_s", "numpy_s") if name in row), None)
        spent = f"   {row['vrjax_s']:.3f} s / {other:.3f} s" if other is not None else ""
        print(f"{row['name']:<24}{row['ratio']:7.3f}  [{row['low']:.3f}, {row['high']:.3f}]{spent}", flush=True)
    about = {"machine": info, "devices": devices, "compiled_torch": options.compile}
    writing.json(options.out / "results.json", {"rows": rows, **about})
    draw(rows, options.out / "bench.png")
    print(f"written to {options.out / 'results.json'}")
    return int(not all(row.get("within", True) for row in rows))  # 1: memory beyond its limit
