"""Chain-of-Steps (Demystifying Video Reasoning, arXiv 2603.16870): does a video model think along its denoising steps?

    python -m experiments.chain_of_steps            the shipped model, a few minutes on two cores
    python -m experiments.chain_of_steps --full     all shipped training seeds, powered (about an hour on two cores)
    python -m experiments.chain_of_steps --model Wan2.2-I2V-A14B --bench VBVR-Bench --tasks O-39 --limit 2
                                                    the instruments on public weights (`real.py`)

Writes `runs/<name>/`: `report.html` (open it: scrub the steps), `results.json` (claims with intervals, nulls and
verdicts), figures and videos. Every part is kept as soon as it is measured; the same command goes on after a kill.
"""

import dataclasses
import hashlib
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from experiments.chain_of_steps import config as configs
from experiments.chain_of_steps import ensembles, layers, page, perturbations, probes, real, trajectories, verdicts
from vrjax.models.embedded import shipped
from vrjax.reasoning.instruments import arms as arm_table
from vrjax.report import claims as claim_files
from vrjax.report import parts
from vrjax.study import clips as suite
from vrjax.study import (
    command,
    subjects,
)
from vrjax.study.tables import Bench, Tables

Config = configs.ChainOfSteps

INTRO = """A video diffusion model starts from noise and removes it step by step. At every step its velocity implies
a guess
of the finished video: the clean estimate. Scrub through the steps below and watch that guess form: walls first, then
paths, sometimes wrong ones that fade.

Whether this is reasoning needs a null model: the exact denoiser that knows every possible answer of a puzzle and
averages
them by Bayes' rule. It searches nothing, and still it looks undecided early and committed late. Only what a trained
model does beyond it counts here."""

NOTES = (
    "Intervals are 95 % hierarchical bootstraps over training seeds, instances and noises; levels that do not vary "
    "are not "
    "resampled. With one model they speak of that model only.",
    "Statistics were fixed before any test clip was sampled (the sizes of the quick run were not): margins and the "
    "ensemble's steps and blocks "
    "stand in "
    "experiments/chain_of_steps/verdicts.py and experiments/chain_of_steps/config.py.",
    "The clips shown are chosen by a rule: the first that corrects itself, the first that some seed does not solve.",
)


def models(config: Config) -> list[subjects.Subject]:
    """The trained models of the study, in the order of their training seeds."""
    return [subjects.load(name, shipped.path(name)) for name in config.models]


def measure(
    bench: Bench, config: Config, subject: subjects.Subject, index: int, null: bool = True
) -> dict[str, Tables]:
    """Every part for one model and, where it has one, for the null model on the same instances and noises."""
    cfg = subject.weights.cfg
    out: dict[str, Tables] = {}

    def clips(world: str, n: int, seeds: int = config.seeds) -> suite.Suite:
        return suite.make(world, config.split, n, seeds, cfg, first=index * n)

    def part(name: str, who: subjects.Subject, make) -> None:
        key = f"{who.name}/{name}"
        label = who.name if who is subject else f"{who.name}@{subject.name}"
        out[key] = bench.part(f"{label}-{name.replace('/', '-')}", make)

    both = [subject, subjects.NULL] if null else [subject]
    grid: dict[str, Any] = dict(steps=config.steps, shift=config.shift)
    for world in config.worlds:
        here = clips(world, config.readouts_maze if world == "maze" else config.readouts)
        for who in both:
            part(f"{world}/trajectories", who, lambda w=who, h=here: trajectories.measure(bench, w, h, **grid))
    disturbed: dict[str, Any] = dict(steps=config.disturbed_steps, shift=config.shift, every=config.disturbed_every)
    for world in ("maze", "maze_goals") if subject.name != "untrained" else ():  # it has no answer to change
        here = clips(world, config.disturbed, 1)
        for who in both:
            part(f"{world}/perturbations", who, lambda w=who, h=here: perturbations.measure(bench, w, h, **disturbed))
    if subject.kind == "model":
        here = clips("maze", config.transplants)
        part("maze/transplants", subject, lambda h=here: perturbations.transplants(bench, subject, h, **disturbed))
        few: dict[str, Any] = dict(steps=config.layer_steps, shift=config.shift)
        here = clips("pick", config.swaps, 1)
        part("pick/swaps", subject, lambda h=here: layers.swaps(bench, subject, h, **few))
        here = clips("maze", config.ablations, 1)
        part("maze/ablation", subject, lambda h=here: layers.ablation(bench, subject, h, **few))
        here = suite.make("maze", "val", config.probes, 1, cfg, first=index * config.probes)
        part("maze/probes", subject, lambda h=here: probes.measure(bench, subject, h, **few))
        here, rows = clips("maze", config.ensembles), arms(config, subject.layers)
        part("maze/ensembles", subject, lambda h=here: ensembles.measure(bench, subject, h, rows, shift=config.shift))
    return out


def arms(config: Config, blocks: int) -> tuple[arm_table.Arm, ...]:
    """The rows of the ensemble table."""
    return arm_table.arms(
        config.ensemble_steps, blocks, members=config.seeds, early=config.early, mid=config.mid, temperatures=(0.3,)
    )


def run(config: Config, root: pathlib.Path, *, fresh: bool, only: Sequence[int] | None, console: Console) -> None:
    """Measures what is missing, judges, and writes the run folder. `only`: measure these models and stop."""
    began = time.monotonic()
    folder = root / config.name
    trained = models(config)
    command.settle(folder, command.made_of(config, weights=weights(config)), fresh=fresh)
    columns = (TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bench = Bench(folder / "tables", group=config.group, progress=progress)
        tables: dict[str, list[Tables]] = {}
        nulls: dict[str, list[Tables]] = {}
        for i, subject in enumerate(trained):
            if only is not None and i not in only:
                continue
            console.print(f"model {i + 1} of {len(trained)}: {subject.name}")
            for key, table in measure(bench, config, subject, i).items():
                who, name = key.split("/", 1)
                (nulls if who == "null" else tables).setdefault(name, []).append(table)
        if only is not None:
            console.print(f"tables of models {list(only)} are in {bench.folder}")
            return
        controls = {}
        for control in controlled(config, trained[0]):
            console.print(f"control: {control.name}")
            found = measure(bench, config, control, 0, null=False)
            controls[control.name] = {k.split("/", 1)[1]: [t] for k, t in found.items()}
        console.print("judging and drawing")
        cases = []
        for world in config.worlds:
            n = config.readouts_maze if world == "maze" else config.readouts
            here = suite.make(world, config.split, n, config.seeds, trained[0].weights.cfg)
            table = tables[f"{world}/trajectories"][0]
            for i, note in telling(table, 2 if world == "maze" else 1):
                few = chosen(here, i)
                shown = bench.part(
                    f"{trained[0].name}-{world}-shown-{i}",
                    lambda f=few: page.showcase(bench, trained[0], f, steps=config.steps, shift=config.shift),
                )
                line = {k: v[i : i + 1] for k, v in table.items()}
                cases.append(page.case(few, shown, line, 0, steps=config.steps, shift=config.shift, note=note))
        write(folder, config, trained, tables, nulls, controls, cases)
    report = claim_files.read(folder)
    for row in report:
        low, high = row.interval
        number = f"{row.estimate:+.3f} [{low:+.3f}, {high:+.3f}]"
        console.print(f"  {row.id:<30} {number:<28} n={row.n:<6} {row.verdict}", highlight=False)
    minutes = (time.monotonic() - began) / 60
    console.print(f"done in {minutes:.1f} min. Look at it: {folder / 'report.html'}")


def controlled(config: Config, like: subjects.Subject) -> list[subjects.Subject]:
    """The control networks: untrained, and causal where one is shipped."""
    out = [subjects.untrained(like)]
    if config.causal is not None:
        out.append(subjects.load("causal", shipped.path(config.causal), kind="control"))
    return out


def chosen(here: suite.Suite, i: int) -> suite.Suite:
    """The suite of one clip."""
    rows = {k: v[i : i + 1] for k, v in here.rows.items()}
    return suite.Suite(here.world, here.clips[i : i + 1], rows, here.films[i : i + 1])


def telling(table: Tables, n: int) -> list[tuple[int, str]]:
    """Clips to show, by a rule and not by taste: the first that corrects itself, the first that fails for some seed,
    else
    the first of all; with a sentence that says which."""
    solved = table["solved"]
    corrects = np.flatnonzero((~solved[..., 0] & solved[..., -1]).any(1))
    fails = np.flatnonzero(~solved[..., -1].all(1))
    out: list[tuple[int, str]] = []
    if len(corrects):
        out.append((int(corrects[0]), "The first test clip on which a seed starts wrong and ends right."))
    if len(fails) and (not out or fails[0] != out[0][0]):
        out.append((int(fails[0]), "The first test clip that some seed does not solve."))
    out += [(i, "The first test clips of this world.") for i in range(len(solved)) if i not in [c for c, _ in out]]
    return out[:n]


def weights(config: Config) -> str:
    """SHA-256 of all weights that are measured."""
    digest = hashlib.sha256()
    for name in (*config.models, *([config.causal] if config.causal else [])):
        for file in sorted(shipped.path(name).iterdir()):
            digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def write(
    folder: pathlib.Path,
    config: Config,
    trained: Sequence[subjects.Subject],
    tables: Mapping[str, list[Tables]],
    nulls: Mapping[str, list[Tables]],
    controls: Mapping[str, Mapping[str, list[Tables]]],
    cases: Sequence[parts.Case],
) -> None:
    """Claims, tables, figures, page."""
    blocks = trained[0].layers
    found, missing = verdicts.claims(tables, nulls, members=config.seeds, resamples=config.resamples, blocks=blocks)
    rows = verdicts.ensemble_table(tables["maze/ensembles"], config.resamples)
    worlds = verdicts.world_table(tables, nulls, controls, config.resamples)
    depth = verdicts.layer_table(tables, blocks)
    details: dict[str, Any] = {"ensembles": rows, "worlds": worlds, "layers": depth}
    claim_files.write(folder, found, details=details)
    head = ["arm", "evaluations", "solved", "minus single", "95 %", "pairs", "p (Holm)"]
    body = [
        [
            r["arm"],
            r["nfe"],
            f"{r['solved']:.3f}",
            f"{r['difference']:+.3f}",
            f"{r['low']:+.3f} to {r['high']:+.3f}",
            r["pairs"],
            f"{r['holm']:.2g}" if "holm" in r else "",
        ]
        for r in rows
    ]
    sheets = [
        parts.Table("Ensemble arms", head, body, "Unique maze. Every seed is continued once; all arms that were run."),
        parts.Table(
            "Worlds", list(worlds[0]), [list(w.values()) for w in worlds], "Solved means: the last frame is right."
        ),
        parts.Table("Blocks", list(depth[0]), [list(d.values()) for d in depth], "One line per transformer block."),
    ]
    page.write(
        folder,
        scrubber=parts.Scrubber(cases),
        claims=found,
        all_curves=[*page.curves(tables, nulls, controls, config.resamples), *page.site_curves(tables, nulls)],
        all_maps=page.maps(tables, nulls, config.disturbed_steps),
        arms=page.forest(rows),
        tables=sheets,
        config=dataclasses.asdict(config),
        intro=INTRO,
        notes=[*NOTES, *missing],
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    parser = command.parser("chain_of_steps", __doc__)
    parser.add_argument("--full", action="store_true", help="all shipped training seeds, powered comparisons")
    parser.add_argument(
        "--only",
        type=int,
        nargs="+",
        metavar="K",
        help="measure these models (0, 1, ...) and stop: one process per core",
    )
    real.add(parser)
    options = parser.parse_args(argv)
    console = Console()

    def job() -> None:
        if options.model is not None or options.bench is not None:
            if options.model is None or options.bench is None or options.full or options.only:
                raise ValueError("--model DIR and --bench DIR go together, without --full and --only")
            real.run(options, console)
            return
        config = configs.full() if options.full else configs.quick()
        if options.only and not all(0 <= k < len(config.models) for k in options.only):
            raise ValueError(f"--only: expected numbers from 0 to {len(config.models) - 1}, found {options.only}")
        run(config, options.out, fresh=options.fresh, only=options.only, console=console)

    return command.status("chain_of_steps", job)


if __name__ == "__main__":
    raise SystemExit(main())
