"""One base that comes with the paper, for the notebook and for a look: the pilot's, on which no claim rests.

python -m experiments.realdpo.shipped            # trains it again, about two minutes of one core
"""

import dataclasses
import pathlib
import sys
from typing import Any

import jax
from flax import nnx
from rich.progress import Progress

from experiments.realdpo import network
from experiments.realdpo.config import RealDPO
from vrjax.files import writing
from vrjax.models import wan
from vrjax.train.state import Network

FOLDER = pathlib.Path(__file__).parent / "base1000"
SEED = 1000


def study(**sizes: Any) -> RealDPO:
    """The study of the one shipped base: its seed, and the validation split; `sizes` replaces other fields."""
    return dataclasses.replace(RealDPO(name="realdpo_shipped"), first=SEED, bases=1, split="val", **sizes)


def params() -> Any:
    """Weights of the shipped base, stacked on a leading axis of one as `network.stack` gives them."""
    graph = nnx.state(wan.load_dit(FOLDER))
    return network.stack(study(), [network.flatten(nnx.to_pure_dict(graph))])


def main() -> int:
    """Trains the base and writes its folder; returns the exit status."""
    made = study()
    with Progress() as progress:
        task = progress.add_task(f"training base {SEED}", total=made.base_steps)
        base = network.train_base(made, SEED, lambda done: progress.update(task, advance=done))
    weights = jax.tree.map(lambda leaf: leaf[0], network.stack(made, [base]))
    dit = Network(network.base_config(made, SEED), {}).build(weights, {})
    wan.save_dit(dit, FOLDER)
    errors = [float(mean) for mean in base["relative"].reshape(-1, 50).mean(1)]
    writing.json(FOLDER / "training.json", {"errors": errors}, indent=1)  # over predicting zero, means of 50 updates
    return 0


if __name__ == "__main__":
    sys.exit(main())
