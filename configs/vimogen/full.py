"""Eight seeds of five trainings each, registered claims (experiments/vimogen/claims.json).

Command:        python -m experiments.vimogen --full
Expected time:  about five hours on one core; `--only K ...` measures some of the seeds, one process a core.
"""

from experiments.vimogen.config import Gate, ViMoGen


def config() -> ViMoGen:
    """The config of the run."""
    gate = Gate(jitter=0.04, cosine=0.8)  # `experiments.vimogen.search`, on pilot seeds
    # Of kicks and jumping jacks the rules call nothing solved that a film leads (`tuning.md`): these are the bound.
    return ViMoGen(name="vimogen_full", seeds=tuple(range(8)), gate=gate, distilled=("throw",))
