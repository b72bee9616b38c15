"""One file per reasoner."""
