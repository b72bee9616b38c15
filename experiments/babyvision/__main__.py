"""`python -m experiments.babyvision`."""

import sys

from experiments.babyvision.study import main

if __name__ == "__main__":
    sys.exit(main())
