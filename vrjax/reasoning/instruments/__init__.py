"""Looking into a run and intervening in it. Import the submodule you need."""
