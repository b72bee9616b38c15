"""The parts of `experiments.chain_of_steps`: each file measures one question on one subject and returns tables."""
