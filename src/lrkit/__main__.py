"""`python -m lrkit` is the command line."""

from lrkit.output.cli import main

if __name__ == "__main__":
    main()
