"""vrjax beside another library: every row in fresh processes in each of several rounds, results compared before timing.

On a GPU the rows of a round share their processes: there is no pace that a CPU's process keeps, and starting them costs
more than the rows.
"""

import contextlib
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.bench import cases, posteriors, timing
from experiments.bench.cases import Case
from experiments.bench.posteriors import Posterior
from experiments.bench.sides import Failed, Side

GEMM = {"sgemm": (2048, "float32", 1), "gemm_bf16": (8192, "bfloat16", 50)}  # size, dtype, how often
TOLERANCE = {"float32": 2e-3, "bfloat16": 5e-2}  # of whole loops, relative to the largest value
ATTENTION_TOLERANCE = 1e-2  # of half precision beside float64, relative to the largest value


def compare(case: Case | Posterior, ours: Any, theirs: Any) -> float:
    """Largest difference relative to the largest value (of posteriors, see `posteriors.compare`); Failed if the sides
    did not do the same work."""
    if isinstance(case, Posterior):
        return posteriors.compare(case, ours, theirs)
    if ours.shape != theirs.shape:
        raise Failed(f"{case.name}: results of shapes {ours.shape} and {theirs.shape}")
    difference = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    if not difference <= TOLERANCE[case.dtype]:
        raise Failed(f"{case.name}: results differ by {difference:.2g}, expected at most {TOLERANCE[case.dtype]}")
    return difference


def check_attention(
    sides: Sequence[Side], dtype: str = "bfloat16", impls: Sequence[str] = ("cudnn", "tiled", "xla")
) -> None:
    """Compares implementations of attention and their gradients with PyTorch in float64.

    Raises:
        Failed: one is off by more than 1 % of the largest value.
    """
    ours, theirs = sides
    for shape in cases.ATTENTION:
        arrays = cases.attention(shape)
        exact = theirs.ask("attention", arrays, dtype)
        for impl in impls:
            found = ours.ask("attention", arrays, dtype, impl)
            errors = [float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(found, exact, strict=True)]
            words = "  ".join(
                f"{name} {error:.1e}" for name, error in zip(("out", "dq", "dk", "dv"), errors, strict=True)
            )
            print(f"  attention {shape} {dtype} {impl:<6} off by {words}", flush=True)
            if not max(errors) <= ATTENTION_TOLERANCE:
                raise Failed(f"attention {shape} by {impl}: {words}, expected at most {ATTENTION_TOLERANCE}")


def measure(
    chosen: Sequence[Case | Posterior],
    cores: Sequence[int],
    count: int,
    *,
    rounds: int = 1,
    devices: int = 1,
    compiled: bool = False,
    on_gpu: bool = False,
) -> list[dict[str, Any]]:
    """Every row of the table: `count` pairs of each, taken in `rounds` fresh pairs of processes a row; beside PyTorch,
    the two libraries' matrix products as well."""
    ratios: dict[str, list[np.ndarray]] = {}
    taken: dict[str, list[np.ndarray]] = {}  # wall seconds (pairs, 2) of each round
    about: dict[str, dict[str, Any]] = {}

    def keep(name: str, values: np.ndarray) -> None:
        ratios.setdefault(name, []).append(values)
        low, high = timing.order_interval(values)
        now = f"{np.median(values):7.3f}  [{low:.3f}, {high:.3f}]"
        print(f"  round {turn + 1} of {rounds}   {name:<24}{now}", flush=True)

    def timed(name: str, sides: Sequence[Side], pairs_now: int, **more: Any) -> None:
        ours, theirs = (lambda side=side: side.ask("time") for side in sides)
        found = timing.pairs(ours, theirs, pairs_now)
        wall, cpu = found["wall"], found["cpu"]
        taken.setdefault(name, []).append(wall)
        cpu_ratio = float(np.median(cpu[:, 0] / cpu[:, 1]))
        about.setdefault(name, more)["cpu_ratio"] = cpu_ratio
        keep(name, wall[:, 0] / wall[:, 1])

    def processes(stack: contextlib.ExitStack, other: str = "torch") -> list[Side]:
        return [stack.enter_context(Side(side, cores, on_gpu, devices)) for side in ("vrjax", other)]

    def built(case: Case | Posterior, sides: Sequence[Side]) -> float:
        path = pathlib.Path(scratch, weights(case))
        if case.beside == "torch" and not path.exists():
            sides[1].ask("initialise", case, path)
        return compare(case, *[side.ask("build", case, path, compiled) for side in sides])

    torch = any(case.beside == "torch" for case in chosen)
    product = "gemm_bf16" if on_gpu else "sgemm"
    size, precision, often = GEMM[product]
    with tempfile.TemporaryDirectory() as scratch:
        for turn in range(rounds):
            now = count // rounds + (turn < count % rounds)
            with contextlib.ExitStack() as shared:
                sides, best = [], float("nan")
                if torch:
                    sides = processes(shared)
                    if on_gpu and turn == 0:
                        check_attention(sides)
                    for side in sides:
                        side.ask("gemm", size, precision, often)
                    timed(product, sides, now)
                    best = often * 2 * size**3 / taken[product][-1][:, 0].min()
                if not on_gpu:
                    shared.close()
                for case in chosen:
                    with contextlib.ExitStack() as own:
                        sides = sides if on_gpu else processes(own, case.beside)
                        timed(case.name, sides, now, difference=built(case, sides), beside=case.beside)
                    if isinstance(case, Case) and case.name == "forward" and case.dtype == precision:
                        keep("mfu_forward", operations(case) / taken["forward"][-1][:, 0] / best)
            if "single" in taken and "ensemble_8" in taken:
                keep("ensemble_8_vs_single", taken["ensemble_8"][-1][:, 0] / (8 * taken["single"][-1][:, 0]))

    rows = []
    for name, values in ratios.items():
        more: dict[str, Any] = dict(about.get(name, {}))
        more["rounds"] = [float(np.median(v)) for v in values]
        if name in taken:
            seconds = np.median(np.concatenate(taken[name]), 0)
            more["vrjax_s"], more[f"{more.pop('beside', 'torch')}_s"] = (float(x) for x in seconds)
        rows.append(timing.row(name, np.concatenate(values), **more))
    return rows


def weights(case: Case | Posterior) -> str:
    """The folder of the random weights of a case's model: cases of one shape share it, posteriors have none."""
    if isinstance(case, Posterior):
        return case.name
    if case.vae:
        return f"vae-{case.width}"
    if case.work == "motion":
        return f"motion-{case.dim}-{case.layers}"
    return "-".join(
        str(n) for n in (case.heads, case.head_dim, case.ffn_dim, case.layers, case.latent[-1], case.text[1])
    )


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
    return flops.forward(cfg, case.tokens, case.text[0]) * cases.evaluations(case)
