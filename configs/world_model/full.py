"""Eight seeds of two trained worlds and five trainings that go on, registered claims
(experiments/world_model/claims.json).

Command:        python -m experiments.world_model --full
Expected time:  40 minutes of one core a seed, whose neighbour did another, up to 75 where other work disturbed them;
                `--only K ...` measures some of the seeds, one process a core.
"""

from experiments.world_model import names
from experiments.world_model.config import Methods, Planning, Search, Trainings, WorldModel


def pairs() -> tuple[tuple[Search, Search], ...]:
    """CEM and gradient + CEM of equal model calls: each at what did best on the exact world for so few calls, whose
    horizons differ (`tuning.md`)."""
    cem = Search(horizon=4, candidates=15, iterations=2, elites=3)
    both = Search(method=names.BOTH, horizon=6, candidates=2, iterations=1, elites=1, refine=6, rate=0.2)
    return ((cem, both),)


def config() -> WorldModel:
    """The config of the run."""
    return WorldModel(
        name="world_model_full",
        seeds=tuple(range(8, 16)),
        trainings=Trainings(updates=2000, slippery=3000, extra=200, forced_lr=2e-4, regressor=400),
        planning=Planning(act=1, goals=2, search=Search(horizon=6, candidates=32, iterations=2, elites=4)),
        methods=Methods(pairs=pairs(), act=3),
    )
