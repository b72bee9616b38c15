"""What self-forcing changes: from the same teacher-forced world, equally many updates on its own rollouts or as before.

Horizon and planning are those of the plain world, calibration that of the slippery one; episodes are those of the other
parts, in which the world that both go on from was measured.
"""

from experiments.world_model import chances, names, plans, strays
from experiments.world_model.asking import Worlds
from experiments.world_model.config import WorldModel
from vrjax.study.tables import Bench, Tables


def measure(study: WorldModel, here: Bench, seed: int, trained: Worlds) -> Tables:
    """The table of a seed: of `longer` and `self-forced` what `strays`, `plans` and `chances` keep of an arm."""
    plain = [names.further(names.PLAIN, how) for how in names.FURTHER]
    slippery = [names.further(names.SLIPPERY, how) for how in names.FURTHER]

    def make() -> Tables:
        out: Tables = {}
        for how, first, second in zip(names.FURTHER, plain, slippery, strict=True):
            w = trained.world(first)
            out |= strays.told(how, strays.strayed(study, here, seed, w, how))
            out |= plans.controlled(study, here, seed, w, how, tasks=False)
            out[how] = chances.drawn(study, here, seed, trained.world(second), how)
        return out

    return here.part(names.part(seed, names.FORCING), make, of={"seed": seed, "mark": trained.mark(*plain, *slippery)})
