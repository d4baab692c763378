"""UsageError: what a training command is asked for cannot be done."""

from __future__ import annotations


class UsageError(ValueError):
    """What was asked for on the command line cannot be done here."""
