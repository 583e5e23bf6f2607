"""`python -m sparsecli` is `sparse`."""

from sparsecli.cli.app import main

if __name__ == "__main__":
    main()
