"""`hactl`, the command line."""

from hactrl.cli.commands import main

__all__ = ["main"]
