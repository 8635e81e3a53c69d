"""The `recjobs` command line."""

from recjobs.cli.app import main

__all__ = ["main"]
