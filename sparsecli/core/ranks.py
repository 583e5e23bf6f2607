"""Which process of a torchrun this is, by the environment that torchrun makes."""

from __future__ import annotations

import os


def rank() -> int:
    """From 0; 0 without torchrun. The first alone writes and prints."""
    return int(os.environ.get("RANK", "0"))


def count() -> int:
    """How many processes work together; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))
