"""`python -m experiments.inverse`."""

import sys

from experiments.inverse.study import main

if __name__ == "__main__":
    sys.exit(main())
