"""`python -m duomi` is the command `duomi`."""

from duomi.cli import main

if __name__ == "__main__":
    main()
