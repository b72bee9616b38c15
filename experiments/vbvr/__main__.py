"""`python -m experiments.vbvr`."""

import sys

from experiments.vbvr.study import main

if __name__ == "__main__":
    sys.exit(main())
