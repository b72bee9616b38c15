"""What papers do with a trajectory: perturb, read out, probe, swap, ensemble, and the null model. Import the
submodule you need."""
