"""A kept table is measured again when anything changes that the code which measures imports. So that code imports
nothing that judges, tells or draws: else a change of a page makes hours of measuring void."""

import pytest

from experiments.chain_of_steps import verdicts
from experiments.inverse import study as inverse
from vrjax.files import kept
from vrjax.study import command

JUDGES = ("vrjax.study.archive", "vrjax.study.claims", "vrjax.study.command", "vrjax.study.judging", "vrjax.study.page")
JUDGES += ("vrjax.study.readme", "vrjax.study.registration", "vrjax.report.html", "vrjax.report.judge", "vrjax.cli")
OWN = ("page", "drawing", "verdicts", "study", "listings", "reading", "calibrated")


def chain_of_steps():
    return sorted({part.measure.__module__ for part in verdicts.parts(command.values("chain_of_steps", "full"))})


INVERSE = sorted({measure.__module__ for measure in inverse.MEASURE.values()})
OTHERS = ["experiments.realdpo.suite", "experiments.vchain.suite", "experiments.vimogen.arms"]
WORLDS = [f"experiments.world_model.{name}" for name in ("strays", "chances", "settled", "plans", "forcing")]


@pytest.mark.parametrize("module", [*chain_of_steps(), *OTHERS, *INVERSE, *WORLDS])
def test_what_measures_imports_nothing_that_judges_or_draws(module):
    paper = module.rpartition(".")[0]
    barred = (*JUDGES, *(f"{paper}.{name}" for name in OWN))
    found = [
        name for name in kept.reached(module) if name.startswith(tuple(f"{one}." for one in barred)) or name in barred
    ]
    assert module in kept.reached(module) and found == []
