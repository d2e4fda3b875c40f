"""`python -m duomi` is the command `duomi`."""

from duomi.cli import main

main()
