"""How each exploratory number is read from the tables of one training seed: [instance] or [instance, noise]."""

import numpy as np

from experiments.chain_of_steps.measuring import One
from vrjax.reasoning.instruments import arms, counts
from vrjax.study.tables import Tables
from vrjax.tasks import Entrant

HELD = 0.2  # weight from which a path counts as held by an estimate
ALL, SECOND = 0, 1  # of `lengths.films`: the whole film, every second frame


def held(one: One) -> np.ndarray:
    """Whether some estimate of the first third of the steps holds at least two paths, minus whether the calibrated
    believer's does, on the same noise: [instance, noise]."""
    both = (one["maze/paths"][name] for name in ("second", "believer_second"))
    early = [(second[..., _third(second.shape[-1], 0)] >= HELD).any(-1).astype(float) for second in both]
    return early[0] - early[1]


def superposition(one: One) -> np.ndarray:
    """Superposition of the goals' paths, mean over the first third of the steps: [instance, noise]."""
    mixed = one["maze_goals/trajectories"]["superposition"]
    return mixed[..., _third(mixed.shape[-1], 0)].mean(-1)


def fades(one: One) -> np.ndarray:
    """Ink on wrong branches beyond the placebo's at equal distance, first third of the steps minus last third; NaN
    where no distance has both: [instance, noise]."""
    table = one["maze/paths"]
    beyond = table["branch_ink"].astype(float) - table["placebo_ink"]
    steps = beyond.shape[-1]
    return beyond[..., _third(steps, 0)].mean(-1) - beyond[..., _third(steps, 2)].mean(-1)


def decided(table: Tables, door: str, what: str = "look") -> np.ndarray:
    """The step from which the look (or its "colour", or "shape") at a door reads the same to the end: [instance,
    noise]."""
    look, shapes = table[door].astype(int), Entrant().shapes
    return counts.commitment({"look": look, "colour": look // shapes, "shape": look % shapes}[what])


def placed(table: Tables, door: int = 1) -> np.ndarray:
    """The step from which something stands in a door (the exit: 1) to the end; all steps where nothing does in the end:
    [instance, noise]."""
    there = table["there"][..., door]
    return np.where(there[..., -1], counts.commitment(there), there.shape[-1])


def perception(one: One) -> np.ndarray:
    """Steps by which colour and shape at the entrance are decided before those at the exit are: [instance, noise]."""
    table = one["entrant/trajectories"]
    return (decided(table, "exit") - decided(table, "entrance")).astype(float)


def perception_of_place(one: One) -> np.ndarray:
    """Steps by which colour and shape at the entrance are decided before anything stands at the exit: [instance,
    noise]."""
    table = one["entrant/trajectories"]
    return (placed(table) - decided(table, "entrance")).astype(float)


def within(table: Tables) -> np.ndarray:
    """Standard deviation, over the frames of a run but the first, of the step from which they are final: [instance,
    noise]."""
    return table["settled"][..., 1:].astype(float).std(-1)


def mixed(table: Tables) -> np.ndarray:
    """`within` of films whose every frame is another clip's run: frame f that of the clip f places on."""
    steps = table["settled"]
    return within({"settled": np.stack([np.roll(steps[..., f], -f, axis=0) for f in range(steps.shape[-1])], axis=-1)})


def together(one: One, part: str = "maze_goals/trajectories") -> np.ndarray:
    """How much closer the frames of a run settle than frames of different runs do, in steps: [instance, noise]."""
    return mixed(one[part]) - within(one[part])


def over_cells(one: One) -> np.ndarray:
    """Answers changed by noise at one step minus those by as many cells at random over spread steps: [instance]."""
    table = one["maze_goals/perturbations"]
    changed = lambda name: (table[name] != table["clean"][:, None]).mean(1)
    return changed("step_equal") - changed("shuffled")


def saved(one: One) -> np.ndarray:
    """A failing run is given the last half of a succeeding run's frames at one step: solved, when that is in the first
    third of the steps, minus in the last third: [instance]."""
    late = one["maze/transplants"]["solved"][:, 1].astype(float)
    first, last = (_third(late.shape[1], k) for k in (0, 2))
    return late[:, first].mean(1) - late[:, last].mean(1)


def fewer_frames(one: One) -> np.ndarray:
    """Solved with every second frame minus with all of them: [instance, noise]."""
    solved = one["maze/frames"]["solved"].astype(float)
    return solved[..., SECOND] - solved[..., ALL]


def steps_for_length(one: One) -> np.ndarray:
    """What 20 steps solve beyond 4, on a long path minus on a short one: the shortest is paired with the longest, and
    so on: [pair, noise]; NaN where both are equally long."""
    table = one["maze/lengths"]
    at = [int(np.flatnonzero(table["steps"] == k)[0]) for k in (4, 20)]
    gain = table["solved"][..., at[1]].astype(float) - table["solved"][..., at[0]]
    order, half = np.argsort(table["length"], kind="stable"), len(gain) // 2
    short, long = order[:half], order[::-1][:half]
    differs = table["length"][long] > table["length"][short]
    return np.where(differs[:, None], gain[long] - gain[short], np.nan)


def foreground(one: One) -> np.ndarray:
    """Growth of the foreground's energy beside the rest, from the first third of the blocks to the others, minus the
    same of another clip's foreground; mean over steps: [instance]."""
    table = one["maze/energy"]
    size = (table["own"] - table["other"]).mean(1)
    first = np.isin(np.arange(size.shape[1]), _third(size.shape[1], 0))
    return size[:, ~first].mean(1) - size[:, first].mean(1)


def first_step(one: One) -> np.ndarray:
    """Answers flipped by swapping the stream of one block, any but the first, at the first step: [pair]."""
    table = one["maze/swaps"]
    dose = int(np.flatnonzero(table["first"] == 1)[0])
    return np.where(table["usable"], table["stream_flip"][:, dose, 3:].mean(1), np.nan)


def ablated(one: One) -> np.ndarray:
    """Solved with one outer block skipped minus solved with one middle block skipped: [instance]."""
    solved = one["maze/ablation"]["solved"].astype(float)
    middle = np.isin(np.arange(solved.shape[1]), _third(solved.shape[1], 1))
    return solved[:, ~middle].mean(1) - solved[:, middle].mean(1)


def answer_gain(one: One) -> np.ndarray:
    """What probes for the answer gain from the first to the second half of the blocks, minus the same in an untrained
    network: [test instance]."""
    table = one["maze/probes"]
    return table["answer_gain"] - table["answer_gain_untrained"]


def arm(one: One, name: str, part: str = "maze/rivals") -> np.ndarray:
    """Solved by an arm: [instance, noise]."""
    table = one[part]
    return table["solved"][[str(n) for n in table["arms"]].index(name)].astype(float)


def over_majority(one: One) -> np.ndarray:
    """Solved with the hidden mean at its best dose minus by a majority of as many runs: [instance, noise]."""
    votes = next(name for name in map(str, one["maze/rivals"]["arms"]) if name.startswith("majority"))
    return arm(one, one["dose"], "maze/ensembles") - arm(one, votes)


def noise_free(one: One) -> np.ndarray:
    """Solved from a start without noise minus single: [instance, noise]."""
    return arm(one, "noise-free start") - arm(one, "single")


def renoised(one: One) -> np.ndarray:
    """Solved after re-noising to the same level at a quarter or at half of the run, minus single: [instance, noise]."""
    names = [name for name in map(str, one["maze/rivals"]["arms"]) if name.startswith("re-noised")]
    return np.mean([arm(one, name) for name in names], axis=0) - arm(one, "single")


def _third(count: int, k: int) -> list[int]:
    return list(arms.thirds(count)[k])
