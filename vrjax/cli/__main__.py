"""`python -m vrjax.cli`."""

from vrjax.cli import main

if __name__ == "__main__":
    main()
