"""`python -m experiments.chain_of_steps`."""

import sys

from experiments.chain_of_steps.study import main

if __name__ == "__main__":
    sys.exit(main())
