"""`python -m spadsr`."""

from spadsr.cli import main

main()
