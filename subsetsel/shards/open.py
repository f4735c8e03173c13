"""From what users call an engine to the workers behind it."""

from __future__ import annotations

from typing import Any

from subsetsel.errors import OptionError
from subsetsel.shards.workers import Serial, Workers


def open_workers(engine: Any = None) -> Workers:
    """Give the workers of an engine.

    Raises
    ------
    OptionError
        If it is no engine.
    """
    if engine is None:
        return Serial()
    raise OptionError(f"engine must be None, got {engine!r}; leave it out.")
