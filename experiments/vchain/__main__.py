"""`python -m experiments.vchain`."""

import sys

from experiments.vchain.study import main

if __name__ == "__main__":
    sys.exit(main())
