"""Eight seeds, and four for what takes longest without a primary claim; registered claims in
experiments/inverse/claims.json.

Command:        python -m experiments.inverse --full
Expected time:  about six and a half hours on one core; `--only K ...` measures some of the seeds, one process a core.
"""

from experiments.inverse.config import Inverse


def config() -> Inverse:
    """The config of the run."""
    return Inverse(name="inverse_full", seeds=tuple(range(8)), few=4)
