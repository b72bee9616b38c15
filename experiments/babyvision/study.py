"""Basic visual skills, procedurally: which does a small video model learn to answer by drawing, and when?

    python -m experiments.babyvision                     one skill, short: minutes on two cores
    python -m experiments.babyvision --full              registered claims, eight seeds of one skill (hours); resumes
    python -m experiments.babyvision --full --only K ...         some of the seeds, one process a core, into one folder
    python -m experiments.babyvision --judge             every claim again from the committed tables, or from a run's

Question and answer are two frames; the second one is the first with a circle, a line, dots or letters drawn over it.
One network learns one subtype of puzzles (`vrjax.tasks.puzzles`), and what it draws over held-out questions is read
exactly. Beside it stand solvers that understand nothing, heads that answer without drawing, and what goes on from it:
more of the same, preferences of right over wrong drawings, and other skills.

A *seed* is a training of its own. The first skill of a study is learned with all seeds, the others with a few.

Writes `runs/<name>/`: `results.json` (claims with intervals and verdicts), tables as markdown, `babyvision.png`,
`report.html`. Every part is kept as soon as it is measured; the same command goes on after a kill, in the middle of a
training too, and nothing is measured twice.
"""

from collections.abc import Callable, Mapping, Sequence

from experiments.babyvision import drawings, further, heads, listings, names, page, verdicts
from experiments.babyvision.config import BabyVision
from experiments.babyvision.drawings import Models
from experiments.babyvision.training import Trained
from vrjax.study import seeded
from vrjax.study.tables import Bench, Tables

MEASURE: Mapping[str, Callable[[BabyVision, Bench, int, str, Models], Tables]] = {
    names.DRAWN: drawings.measure,
    names.ANSWERED: heads.measure,
    names.FURTHER: further.measure,
}
"""Parts in the order in which they are measured; the last fall away first where time is short."""
MODELS = "models"
"""The folder of a run in which trainings are."""


def measure(study: BabyVision, here: Bench, seeds: Sequence[int]) -> seeded.Measure:
    """Parts of these seeds: a table for each of a seed's skills."""
    models = {seed: Trained(study, here.folder / MODELS, seed) for seed in seeds}

    def each(name: str, seed: int) -> dict[str, Tables]:
        skills = [skill.task for skill in study.of(seed) if name != names.FURTHER or further.arms(study, skill.task)]
        return {names.part(seed, task, name): MEASURE[name](study, here, seed, task, models[seed]) for task in skills}

    return each


PAPER = seeded.Paper(
    name="babyvision",
    home=__file__,
    parts=lambda study: [name for name in MEASURE if name in study.parts],
    measure=measure,
    listed=listings.listed,
    claims=verdicts.claims,
    page=page.write,
    judged=verdicts.judged,
    drawn=page.drawn,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    return seeded.main(PAPER, __doc__, argv)
