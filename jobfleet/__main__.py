"""`python -m jobfleet`, the same as the command `jobfleet`."""

from jobfleet.cli.main import main

if __name__ == "__main__":  # a spawned child or a module walk imports this file and must not run it
    main()
