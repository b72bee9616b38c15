"""What arviz says of some draws: `python -m tests.inverse.inverse_arviz` writes arviz.json anew (needs arviz)."""

import json
import pathlib

import numpy as np

FILE = pathlib.Path(__file__).parent / "arviz.json"


def chains() -> dict[str, np.ndarray]:
    """Draws (4, K) of which some are good and some are not."""
    rng = np.random.default_rng(7)

    def walk(memory, k=400):
        noise = rng.normal(size=(4, k))
        out = np.empty_like(noise)
        out[:, 0] = noise[:, 0]
        for t in range(1, k):
            out[:, t] = memory * out[:, t - 1] + np.sqrt(1 - memory**2) * noise[:, t]
        return out

    slow = walk(0.9)
    return {
        "independent": walk(0.0),
        "slow": slow,
        "antithetic": walk(-0.5),
        "odd": walk(0.5, 401),
        "heavy": rng.standard_cauchy((4, 400)),
        "trend": walk(0.0) + np.linspace(-1, 1, 400),  # the R-hat of 1992 sees nothing here
        "scale": walk(0.0) * np.array([[1.0], [1.0], [1.0], [4.0]]),  # nor here
        "apart": walk(0.0) + np.array([[0.0], [0.0], [0.0], [1.0]]),
        "indicator": (slow > 0.5).astype(float),
    }


def ratios() -> dict[str, np.ndarray]:
    """Log importance ratios (1000,) of N(0, 1) with proposals of other scales."""
    rng = np.random.default_rng(8)
    out = {}
    for name, scale in (("wide", 1.5), ("near", 0.9), ("narrow", 0.5), ("narrowest", 0.25)):
        z = scale * rng.normal(size=1000)
        out[name] = -0.5 * z**2 + 0.5 * (z / scale) ** 2
    return out


def say() -> dict:
    """What arviz makes of them."""
    import arviz

    told = {name: {"rhat": float(arviz.rhat(z)), "ess": float(arviz.ess(z))} for name, z in chains().items()}
    smoothed = {}
    for name, ratio in ratios().items():
        weights, khat = arviz.psislw(ratio)
        weights = np.asarray(weights)
        smoothed[name] = {
            "khat": float(khat),
            "ess": float(1 / np.exp(2 * (weights - np.logaddexp.reduce(weights))).sum()),
        }
    return {"arviz": arviz.__version__, "chains": told, "ratios": smoothed}


if __name__ == "__main__":
    FILE.write_text(json.dumps(say(), indent=1) + "\n", "utf-8")
