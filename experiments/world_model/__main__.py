"""`python -m experiments.world_model`."""

import sys

from experiments.world_model.study import main

if __name__ == "__main__":
    sys.exit(main())
