"""RealDPO (arXiv 2510.14955) in a world with an exact judge: do preferences against a model's own samples beat SFT?

    python -m experiments.realdpo                    a few arms on two bases, in a few minutes on two cores
    python -m experiments.realdpo --full             eight bases, every arm, 800 samples each (about 40 core minutes)
    python -m experiments.realdpo --full --only 0 1  these bases alone, into the same folder: one process a core

Discs move in a box under exact physics. A base model has seen clips half of which break physics in four ways; then it
is post-trained on a few true clips, by RealDPO (true clips win against the base's own samples), by supervised
fine-tuning at equal compute, and by their relatives and null models. An exact simulator judges every sample.

Writes `runs/<name>/`: `report.html`, `results.json` (claims with intervals and verdicts), `arms.md` (every arm),
`realdpo.png`. Every arm of every base is kept as soon as it is done; the same command goes on after a kill.
"""

import argparse
import pathlib
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from experiments.realdpo import page, suite, tuning, verdicts
from experiments.realdpo.config import RealDPO
from experiments.realdpo.suite import Suite
from vrjax.files import writing
from vrjax.study import claims, command, registration, shares
from vrjax.study.tables import Tables, made_of, running


def run(
    study: RealDPO, root: pathlib.Path, *, fresh: bool, console: Console, only: Sequence[int] | None = None
) -> pathlib.Path:
    """Measures what is missing, judges, and writes the run folder, which is returned.

    Args:
        only: measure these bases (0 is the first) and stop; other processes may measure others meanwhile.

    Raises:
        ValueError: no such base.
    """
    mine = shares.of(range(study.bases), (), only=only, word="base")
    folder = root / study.name
    asked = registration.read(__file__, seeds=None if study.quick else study.bases)
    how: dict[str, Any] = {"fresh": fresh, "console": console, "registered": asked.keep, "shared": mine.some}
    with running(folder, made_of(study), kind="realdpo", **how) as here:
        tables: dict[str, Tables] = {}
        for index in mine.seeds:
            say = lambda text, index=index: console.print(f"base {index + 1} of {study.bases}, {text}")
            tables |= Suite(study.of(study.seeds[index]), here).run(say)
        if not mine.some:
            console.print("judging and drawing")
            measured = suite.gather(study, tables)
            rows = verdicts.gather(study, measured)
            found, missing = verdicts.claims(study, asked, rows, measured)
            page.write(folder, study, asked, measured, rows, found, missing)
            claims.tell(console, [*found, *claims.missing(asked, found)])
    return folder


def tune(root: pathlib.Path, *, fresh: bool, console: Console) -> pathlib.Path:
    """The search on the validation split; writes `tuning.md` and returns the run folder."""
    study = tuning.study()
    folder = root / study.name
    with running(folder, made_of(study), kind="realdpo", fresh=fresh, console=console) as here:
        writing.text(folder / "tuning.md", tuning.run(Suite(study, here), console.print))
    console.print(f"all settings: {folder / 'tuning.md'}; the chosen ones stand in experiments/realdpo/config.py")
    return folder


def job(study: RealDPO, options: argparse.Namespace, console: Console) -> None:
    """What was asked for: the study, or its search."""
    if options.tune:
        tune(options.out, fresh=options.fresh, console=console)
    else:
        run(study, options.out, fresh=options.fresh, console=console, only=options.only)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    options = {
        "search": {"--tune": {"action": "store_true", "help": "the search for rates and betas, validation split"}},
        "processes": {"--only": shares.options("base")["part of the study"]["--only"]},
    }
    full = "eight bases, every arm, powered comparisons"
    return command.main(
        "realdpo", __doc__, job, argv, full=full, judged=verdicts.judged, drawn=page.drawn, options=options
    )
