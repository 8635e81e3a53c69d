"""`python -m recjobs`: the command line."""

from recjobs.cli import main

main()
