"""`python -m experiments.realdpo`."""

import sys

from experiments.realdpo.study import main

if __name__ == "__main__":
    sys.exit(main())
