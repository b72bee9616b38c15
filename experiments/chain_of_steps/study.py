"""Chain-of-Steps (Demystifying Video Reasoning, arXiv 2603.16870): does a video model think along its denoising steps?

    python -m experiments.chain_of_steps            the shipped specialists, a few minutes on two cores
    python -m experiments.chain_of_steps --full     eight training seeds, trained, measured and judged as registered
    python -m experiments.chain_of_steps --full --only 0 2 4 6     these seeds, and stop: one such command a core
    python -m experiments.chain_of_steps --judge    the committed tables of the full run, judged again in seconds
    python -m experiments.chain_of_steps --model Wan2.2-I2V-A14B --bench VBVR-Bench --tasks O-39 --limit 2
                                                    the instruments on public weights (`real.py`)

Writes `runs/<name>/`: `report.html` (open it: scrub the steps), `results.json` (claims with intervals, nulls and
verdicts), figures and videos. Every part is kept as soon as it is measured; the same command goes on after a kill. The
specialists of `--full` stand beside it (`runs/reasoner-0`, ...), trained by `training.py` where they are not.
"""

import argparse
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console

from experiments.chain_of_steps import (
    drawing,
    measuring,
    page,
    primaries,
    real,
    specialists,
    training,
    trajectories,
    verdicts,
)
from experiments.chain_of_steps.config import ChainOfSteps
from experiments.chain_of_steps.measuring import Model
from vrjax.files import writing
from vrjax.parallel.mesh import reuse_host_memory
from vrjax.report import claims as claim_files
from vrjax.study import claims, command, registration, subjects
from vrjax.study.tables import Bench, Tables, made_of, running


def run(study: ChainOfSteps, root: pathlib.Path, *, fresh: bool, only: Sequence[int] | None, console: Console) -> None:
    """Trains and measures what is missing, judges, and writes the run folder. `only`: these training seeds and stop."""
    recipes = {name: writing.to_dict(recipe) for name, recipe in specialists.recipes(study).items()}
    about = made_of(study, training=recipes)
    asked = registration.read(__file__, seeds=None if study.quick else len(study.training))
    how: dict[str, Any] = {"fresh": fresh, "console": console, "group": study.group, "shared": only is not None}
    how["registered"] = None if study.quick else asked.keep
    with running(root / study.name, about, kind="chain_of_steps", **how) as here:
        seeds: Sequence[int | None] = study.training or (None,)
        tables: dict[str, Tables] = {}
        pairs = []
        for index, seed in enumerate(seeds):
            if only is not None and seed not in only:
                continue
            if seed is not None:
                console.print(f"training seed {seed} ({index + 1} of {len(seeds)})")
            pair, rates = specialists.pair(study, root, seed)
            pairs.append(pair)
            tables |= measuring.of_seed(here, study, verdicts.parts(study), pair, index)
            tables |= controls(here, study, root, pair, index, wait=only is None)
            if rates:
                found = {world: np.array(rate) for world, rate in rates.items()}
                tables[f"{index}-gates"] = here.part(
                    f"{index}-gates", lambda found=found: found, code=training, of=rates
                )
        if only is not None:
            console.print(f"tables of training seeds {list(only)} are in {here.folder / 'tables'}")
            return
        measured = verdicts.gather(study, tables)
        console.print(f"dose of the ensemble, by validation: {measured.dose}")
        found, missing = verdicts.claims(study, asked, measured)
        shows = verdicts.tables(study, measured) | {"Bill": verdicts.bill(asked)}
        details = {"dose": measured.dose, "gates": measured.gates, "bill": dict(asked.bill), "tables": shows}
        claim_files.write(here.folder, found, details=details, registered=asked.claims)
        cases = shown(here, study, pairs[0], measured)
        page.write(here.folder, study, found, measured, cases, tables=shows, notes=missing)
        (told,) = claim_files.gather([here.folder]).values()
        claims.tell(console, told)


def controls(
    bench: Bench, study: ChainOfSteps, root: pathlib.Path, pair: Mapping[str, Model], index: int, *, wait: bool
) -> dict[str, Tables]:
    """The control networks that are measured on the clips of seed number `index`: untrained ones on those of the first,
    the frame-causal reasoners, each on those of one seed. `wait`: train those that are missing, else leave them out."""
    out: dict[str, Tables] = {}
    others = {"untrained": measuring.untrained(pair)} if index == 0 else {}
    if index < len(study.causal) and (causal := specialists.causal(study, root, study.causal[index], wait=wait)):
        others["causal"] = causal
    for who, models in others.items():
        out |= measuring.of_control(bench, study, verdicts.parts(study), who, models, index)
    return out


def shown(bench: Bench, study: ChainOfSteps, pair: Mapping[str, Model], measured: verdicts.Measured) -> list[Any]:
    """The cases of the page: a clip or two of every world of the first seed, see `telling`."""
    grid: dict[str, Any] = {"steps": study.steps, "shift": study.shift}
    one, cases = measured.of["model"][0], []
    for world, specialist in primaries.WORLDS.items():
        model, table = pair[specialist], one[f"{world}/trajectories"]
        first = study.skipped * study.block
        suite = subjects.suite(world, study.split, study.trajectories, study.noises, model.cfg, first=first)
        for i, seed, note in telling(table, study.shown):
            few, name = suite.only([i]), f"shown-{world}-{i}"
            seen = lambda few=few, who=model.subject: trajectories.showcase(bench, who, few, **grid)
            of = {"model": model.fingerprint, "first": first}
            films = bench.part(name, seen, code=trajectories, of=of, packed=False)
            told = {k: v[i : i + 1] for k, v in table.items()}
            cases.append(page.case(few, films, told, **grid, first=seed, note=note))
    return cases


def telling(table: Tables, n: int) -> list[tuple[int, int, str]]:
    """Clips to show, by a rule and not by taste: the first that corrects itself, the first that fails for some seed,
    else the first of all. Each with the first seed of which this is said, and a sentence that says it."""
    solved = table["solved"]
    corrects, fails = ~solved[..., 0] & solved[..., -1], ~solved[..., -1]
    out: list[tuple[int, int, str]] = []
    if corrects.any():
        i = int(corrects.any(1).argmax())
        seed = int(corrects[i].argmax())
        out.append((i, seed, f"The first test clip on which a seed, {seed}, ends right and does not start so."))
    if fails.any() and (i := int(fails.any(1).argmax())) not in [clip for clip, *_ in out]:
        seed = int(fails[i].argmax())
        out.append((i, seed, f"The first test clip that some seed, {seed}, does not solve."))
    rest = [i for i in range(len(solved)) if i not in [clip for clip, *_ in out]]
    return (out + [(i, 0, "The first test clips of this world.") for i in rest])[:n]


def job(study: ChainOfSteps, options: argparse.Namespace, console: Console) -> None:
    """What was asked for: the study, or its instruments on real weights."""
    if options.model is not None or options.bench is not None:
        if options.model is None or options.bench is None or options.values != "quick" or options.only:
            raise ValueError("--model DIR and --bench DIR go together, without --full, --pilot and --only")
        real.run(options, console)
        return
    if options.only and not set(options.only) <= set(study.training):
        raise ValueError(f"--only: expected training seeds among {list(study.training)}, found {options.only}")
    if study.training:
        reuse_host_memory()  # before anything is computed, as `vrjax train` does
    run(study, options.out, fresh=options.fresh, only=options.only, console=console)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    text = "train and measure these training seeds (0, 1, ...) and stop: one process per core"
    pilot = {"dest": "values", "action": "store_const", "const": "pilot", "help": "pilot seeds on validation clips"}
    only = {"type": int, "nargs": "+", "metavar": "K", "help": text}
    options = {"in parts": {"--only": only, "--pilot": pilot}, **real.OPTIONS}
    full = "eight training seeds of each specialist, as registered"
    how = {"full": full, "judged": verdicts.judged, "drawn": drawing.picture}
    return command.main("chain_of_steps", __doc__, job, argv, **how, options=options)
