"""The parts of `experiments.realdpo`."""
