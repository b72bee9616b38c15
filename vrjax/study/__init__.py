"""What every paper's experiment is made of."""
