"""``python -m cellgennet_qupath``: the command line where no ``cellgennet`` lies on the path."""

from .cli import main

if __name__ == "__main__":
    main()
