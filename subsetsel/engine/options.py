"""The options that all solvers share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from subsetsel.errors import OptionError
from subsetsel.problem.progress import Progress

COMMON_OPTIONS = (
    "time_limit",
    "max_iterations",
    "target",
    "gap",
    "seed",
    "initial_guess",
    "callback",
    "num_workers",
    "progress",
    "bound",
    "trace",
)


Callback = Callable[[Progress], Any]


@dataclass(frozen=True)
class Limits:
    """The options all solvers share, checked in one place."""

    time_limit: float | None = None
    max_iterations: int | None = None
    target: float | None = None
    gap: float = 0.0
    seed: int = 0
    initial_guess: Any = None
    callback: Callback | None = None
    num_workers: int = 1
    progress: Callback | None = None
    bound: bool | Literal["tight"] = True
    trace: bool = False

    def __post_init__(self) -> None:
        for name in ("time_limit", "target"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and value >= 0):
                raise OptionError(f"{name} must be a finite number >= 0 or None, got {value!r}.")
        if not (_is_number(self.gap) and 0 <= self.gap < 1):
            raise OptionError(f"gap must be between 0 and 1, got {self.gap!r}.")
        for name, least in (("seed", 0), ("num_workers", 1), ("max_iterations", 0)):
            value = getattr(self, name)
            if name == "max_iterations" and value is None:
                continue
            require_integer(name, value, least)
        if not isinstance(self.bound, bool) and self.bound != "tight":
            raise OptionError(f"bound must be True, False or 'tight', got {self.bound!r}.")
        for name in ("callback", "progress"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise OptionError(f"{name} must be callable, got {getattr(self, name)!r}.")


def require_integer(name: str, value: Any, least: int) -> None:
    """Refuse what is no whole number or below the least.

    Raises
    ------
    OptionError
        Naming the option.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise OptionError(f"{name} must be an integer >= {least}, got {value!r}.")


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, (int, float, np.integer, np.floating))
        and not isinstance(value, bool)
        and bool(np.isfinite(value))
    )
