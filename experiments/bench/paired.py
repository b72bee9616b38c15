"""vrjax beside PyTorch: every row in fresh processes in each of several rounds, results compared before timing."""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from experiments.bench import cases, timing
from experiments.bench.cases import Case
from experiments.bench.sides import Failed, Side

SIDES = ("vrjax", "torch")
SGEMM = 2048
TOLERANCE = {"float32": 2e-3, "bfloat16": 5e-2}  # of whole loops, relative to the largest value


def compare(case: Case, ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference relative to the largest value; Failed if the sides did not do the same work."""
    if ours.shape != theirs.shape:
        raise Failed(f"{case.name}: results of shapes {ours.shape} and {theirs.shape}")
    difference = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    if not difference <= TOLERANCE[case.dtype]:
        raise Failed(f"{case.name}: results differ by {difference:.2g}, expected at most {TOLERANCE[case.dtype]}")
    return difference


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
        ours, theirs = (lambda side=side: side.ask("time") for side in sides)
        found = timing.pairs(ours, theirs, pairs_now)
        wall, cpu = found["wall"], found["cpu"]
        taken.setdefault(name, []).append(wall)
        cpu_ratio = float(np.median(cpu[:, 0] / cpu[:, 1]))
        about.setdefault(name, more)["cpu_ratio"] = cpu_ratio
        keep(name, wall[:, 0] / wall[:, 1])

    @contextlib.contextmanager
    def both() -> Iterator[list[Side]]:
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(Side(side, cores, on_gpu, devices)) for side in SIDES]

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
                results = [side.ask("build", case, path, compiled) for side in sides]
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
        rows.append(timing.row(name, np.concatenate(values), **more))
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
    return flops.forward(cfg, case.tokens, case.text[0]) * cases.evaluations(case)
