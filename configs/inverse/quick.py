"""One seed of the experiments that take no long, at small sizes: it shows, it does not prove.

Command:        python -m experiments.inverse
Expected time:  five minutes on two cores.
"""

from experiments.inverse import names
from experiments.inverse.config import Elliptic, Evidence, Fit, Gaussian, Guided, Inverse, Line


def config() -> Inverse:
    """The config of the run."""
    return Inverse(
        name="inverse_quick",
        quick=True,
        seeds=(0, 1),
        experiments=(names.GAUSSIAN, names.LINE, names.EVIDENCE, names.COUNTEREXAMPLE, names.BOUNDS)
        + (names.ELLIPTIC, names.GUIDED),
        gaussian=Gaussian(sizes=tuple(2**k for k in range(5, 12)), repeats=16, plan_dimensions=(2,), plan_steps=400),
        line=Line(sizes=(32, 64, 128, 256, 512), repeats=16, fits=2, large_from=1024, nodes=2048),
        evidence=Evidence(fit=Fit(restarts=1), nodes=8192),
        elliptic=Elliptic(
            truths=1,
            sizes=(64, 256),
            rank=16,
            widths=(64,),
            latents=(128,),
            steps=200,
            restarts=1,
            fields=1024,
            burn=100,
            rows=900,
            directions=64,
            known_to=256,
        ),
        guided=Guided(
            dimensions=(2,),
            problems=(3, 0),
            draws=(256, 256),
            pairs=(8, 8),
            validation=1,
            validation_draws=256,
            arms=(
                "pigdm",
                "tmpd",
                "dps likelihood",
                "dps normalised",
                "flowdps",
                "flowchef",
                "smc",
                "latent tempered_smc",
            ),
        ),
        resamples=2000,
    )
