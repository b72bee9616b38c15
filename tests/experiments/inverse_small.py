"""The inverse study so small that each of its experiments on the line and in closed form runs in seconds."""

from experiments.inverse import config
from vrjax.study.tables import Bench

FIT = config.Fit(widths=(3,), latents=16, steps=4)
STUDY = config.Inverse(
    name="inverse_small",
    quick=True,
    seeds=(0,),
    gaussian=config.Gaussian(
        dimensions=(1, 2),
        sizes=(16, 32),
        repeats=2,
        directions=8,
        plan_dimensions=(2,),
        plan_size=12,
        plan_latents=16,
        plan_steps=20,
        plan_longer=2,
    ),
    line=config.Line(sizes=(16,), repeats=3, fits=2, fit=FIT, large=FIT, nodes=16, y=(0.1, 0.9), noise_std=(0.4,)),
    width=config.Width(widths=(2, 3), activations=("relu",), inits=3, latents=16, steps=4, data=256, nodes=16),
    evidence=config.Evidence(size=16, fit=FIT, nodes=16, y=(0.1, 0.9), noise_std=(0.4,), places=21),
    counterexample=config.Counterexample(far=(4.0, 32.0), pairs=3, bulk=6, tail=2),
    bounds=config.Bounds(pairs=500, atoms=6),
)


def bench(folder) -> Bench:
    """Where it measures."""
    return Bench(folder)
