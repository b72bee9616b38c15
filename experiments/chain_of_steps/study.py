"""Chain-of-Steps (Demystifying Video Reasoning, arXiv 2603.16870): does a video model think along its denoising steps?

    python -m experiments.chain_of_steps            the shipped model, a few minutes on two cores
    python -m experiments.chain_of_steps --full     all shipped training seeds, powered (about an hour on two cores)
    python -m experiments.chain_of_steps --model Wan2.2-I2V-A14B --bench VBVR-Bench --tasks O-39 --limit 2
                                                    the instruments on public weights (`real.py`)

Writes `runs/<name>/`: `report.html` (open it: scrub the steps), `results.json` (claims with intervals, nulls and
verdicts), figures and videos. Every part is kept as soon as it is measured; the same command goes on after a kill.
"""

import argparse
import pathlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from rich.console import Console

from experiments.chain_of_steps import ensembles, layers, page, perturbations, real, trajectories, verdicts
from experiments.chain_of_steps.config import ChainOfSteps
from vrjax import files
from vrjax.models.embedded import shipped
from vrjax.reasoning.instruments import arms as table_of_arms
from vrjax.report import claims as claim_files
from vrjax.study import claims, command, registration, subjects
from vrjax.study.subjects import Subject
from vrjax.study.tables import Bench, Tables, made_of, running


def measure(bench: Bench, study: ChainOfSteps, subject: Subject, index: int, null: bool = True) -> dict[str, Tables]:
    """Every part for one model and, where it has one, for the null model on the same instances and noises."""
    out: dict[str, Tables] = {}

    def part(
        name: str,
        how: ModuleType,
        n: int,
        make: Callable | None = None,
        *,
        seeds: int = 1,
        split: str = study.split,
        alone: bool = False,
        **given: Any,
    ) -> None:
        task = name.partition("/")[0]
        on = subjects.suite(task, split, n, seeds, subject.weights.cfg, first=index * n)
        for who in [subject, subjects.NULL] if null and not alone else [subject]:
            label = who.name if who is subject else f"{who.name}@{subject.name}"
            run = lambda who=who: (make or how.measure)(bench, who, on, shift=study.shift, **given)
            out[f"{who.name}/{name}"] = bench.part(f"{label}-{name.replace('/', '-')}", run, code=how)

    noises: dict[str, Any] = {"seeds": study.seeds}
    for task in study.tasks:
        n = study.readouts_maze if task == "maze" else study.readouts
        part(f"{task}/trajectories", trajectories, n, steps=study.steps, **noises)
    disturbed: dict[str, Any] = {"steps": study.disturbed_steps, "every": study.disturbed_every}
    for task in ("maze", "maze_goals") if subject.name != "untrained" else ():  # it has no answer to change
        part(f"{task}/perturbations", perturbations, study.disturbed, **disturbed)
    if subject.kind == "model":
        few: dict[str, Any] = {"steps": study.layer_steps, "alone": True}
        noises["alone"] = True
        part("maze/transplants", perturbations, study.transplants, perturbations.transplants, **noises, **disturbed)
        part("pick/swaps", layers, study.swaps, layers.swaps, **few)
        part("maze/ablation", layers, study.ablations, layers.ablation, **few)
        part("maze/probes", layers, study.probes, layers.probed, split="val", **few)
        part("maze/ensembles", ensembles, study.ensembles, rows=arms(study, subject.layers), **noises)
    return out


def arms(study: ChainOfSteps, blocks: int) -> tuple[table_of_arms.Arm, ...]:
    """The rows of the ensemble table."""
    how: dict[str, Any] = {"members": study.seeds, "early": study.early, "mid": study.mid, "temperatures": (0.3,)}
    return table_of_arms.arms(study.ensemble_steps, blocks, **how)


def run(study: ChainOfSteps, root: pathlib.Path, *, fresh: bool, only: Sequence[int] | None, console: Console) -> None:
    """Measures what is missing, judges, and writes the run folder. `only`: measure these models and stop."""
    trained = [Subject(name, shipped.load(name)) for name in study.models]
    names = (*study.models, *([study.causal] if study.causal else []))
    about = made_of(study, weights={name: files.fingerprint(shipped.path(name)) for name in names})
    asked = registration.read(__file__, seeds=None if study.quick else len(study.models))
    how: dict[str, Any] = {"fresh": fresh, "console": console, "group": study.group, "shared": only is not None}
    with running(root / study.name, about, kind="chain_of_steps", registered=asked.keep, **how) as here:
        tables: dict[str, list[Tables]] = {}
        nulls: dict[str, list[Tables]] = {}
        for i, subject in enumerate(trained):
            if only is not None and i not in only:
                continue
            console.print(f"model {i + 1} of {len(trained)}: {subject.name}")
            for key, table in measure(here, study, subject, i).items():
                who, name = key.split("/", 1)
                (nulls if who == "null" else tables).setdefault(name, []).append(table)
        if only is not None:
            console.print(f"tables of models {list(only)} are in {here.folder / 'tables'}")
            return
        controls = {}
        for control in controlled(study, trained[0]):
            console.print(f"control: {control.name}")
            found = measure(here, study, control, 0, null=False)
            controls[control.name] = {k.split("/", 1)[1]: [t] for k, t in found.items()}
        console.print("judging and drawing")
        measured = verdicts.Measured(tables, nulls, controls)
        cases = shown(here, study, trained[0], tables)
        page.write(here.folder, study, asked, measured, cases, blocks=trained[0].layers)
        (found,) = claim_files.gather([here.folder]).values()
        claims.tell(console, found)


def controlled(study: ChainOfSteps, like: Subject) -> list[Subject]:
    """The control networks: untrained, and causal where one is shipped."""
    out = [subjects.untrained(like)]
    if study.causal is not None:
        out.append(Subject("causal", shipped.load(study.causal), "control"))
    return out


def shown(bench: Bench, study: ChainOfSteps, subject: Subject, tables: verdicts.Parts) -> list[Any]:
    """The cases of the page: a clip or two of every task, see `telling`."""
    grid: dict[str, Any] = {"steps": study.steps, "shift": study.shift}
    cases = []
    for task in study.tasks:
        n = study.readouts_maze if task == "maze" else study.readouts
        suite = subjects.suite(task, study.split, n, study.seeds, subject.weights.cfg)
        table = tables[f"{task}/trajectories"][0]
        for i, note in telling(table, 2 if task == "maze" else 1):
            few = suite.only([i])
            seen = lambda few=few: trajectories.showcase(bench, subject, few, **grid)
            films = bench.part(f"{subject.name}-{task}-shown-{i}", seen, code=trajectories)
            cases.append(page.case(few, films, {k: v[i : i + 1] for k, v in table.items()}, **grid, note=note))
    return cases


def telling(table: Tables, n: int) -> list[tuple[int, str]]:
    """Clips to show, by a rule and not by taste: the first that corrects itself, the first that fails for some seed,
    else the first of all; with a sentence that says which."""
    solved = table["solved"]
    corrects = np.flatnonzero((~solved[..., 0] & solved[..., -1]).any(1))
    fails = np.flatnonzero(~solved[..., -1].all(1))
    out: list[tuple[int, str]] = []
    if len(corrects):
        out.append((int(corrects[0]), "The first test clip on which a seed starts wrong and ends right."))
    if len(fails) and (not out or fails[0] != out[0][0]):
        out.append((int(fails[0]), "The first test clip that some seed does not solve."))
    out += [(i, "The first test clips of this task.") for i in range(len(solved)) if i not in [c for c, _ in out]]
    return out[:n]


def job(study: ChainOfSteps, options: argparse.Namespace, console: Console) -> None:
    """What was asked for: the study, or its instruments on real weights."""
    if options.model is not None or options.bench is not None:
        if options.model is None or options.bench is None or options.values == "full" or options.only:
            raise ValueError("--model DIR and --bench DIR go together, without --full and --only")
        real.run(options, console)
        return
    if options.only and not all(0 <= k < len(study.models) for k in options.only):
        raise ValueError(f"--only: expected numbers from 0 to {len(study.models) - 1}, found {options.only}")
    run(study, options.out, fresh=options.fresh, only=options.only, console=console)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    text = "measure these models (0, 1, ...) and stop: one process per core"
    options = {"in parts": {"--only": {"type": int, "nargs": "+", "metavar": "K", "help": text}}, **real.OPTIONS}
    full = "all shipped training seeds, powered comparisons"
    return command.main("chain_of_steps", __doc__, job, argv, full=full, options=options)
