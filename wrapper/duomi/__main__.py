"""`python -m duomi` is the command `duomi`."""

from duomi._cli import main

main()
