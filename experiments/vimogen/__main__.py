"""`python -m experiments.vimogen`."""

import sys

from experiments.vimogen.study import main

if __name__ == "__main__":
    sys.exit(main())
