"""The smallest study, shared by the tests of the RealDPO study."""

from experiments.realdpo.config import Study

TINY = Study(
    name="tiny",
    bases=2,
    dim=16,
    layers=1,
    heads=1,
    base_steps=2,
    base_batch=2,
    base_clips=16,
    reals=16,
    batch=4,
    steps=6,
    warmup=2,
    sampler_steps=2,
    conditions=3,
    noises=2,
    held_noises=2,
    looks=2,
    look_conditions=2,
    group=2,
    prompts=2,
    resamples=200,
)
