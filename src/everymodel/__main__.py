"""`python -m everymodel` is the command line."""

from everymodel.interfaces.cli import main

if __name__ == "__main__":
    main()
