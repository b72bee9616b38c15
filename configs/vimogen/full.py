"""Eight seeds of five trainings each, registered claims (experiments/vimogen/claims.json).

Command:        python -m experiments.vimogen --full
Expected time:  about five hours on one core; `--only K ...` measures some of the seeds, one process a core.
"""

from experiments.vimogen.config import ViMoGen


def config() -> ViMoGen:
    """The config of the run."""
    return ViMoGen(name="vimogen_full", seeds=tuple(range(8)))
