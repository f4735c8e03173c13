"""Options of the annealer: all that a user can tell it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from subsetsel.engine.options import require_integer
from subsetsel.errors import OptionError

StartName = Literal["relax", "random"]
Proposals = Literal["norm", "plain"]

_NAMES = {"start": ("relax", "random"), "proposals": ("norm", "plain")}
_FEWEST_FLIPS = 0.01
_SHARES = {"start_share", "tilt", "few_share", "flip_share", "closing_share"}


@dataclass(frozen=True)
class AnnealOptions:
    """Options of the annealer, in the order in which a search meets them.

    What is not told here follows from n, d, the row norms and the limits of the call.
    Temperatures are squared norms, as the energy is.

    Parameters
    ----------
    start : {"relax", "random"}
        Where the first chain starts: at the end of the continuation, or at a random subset (Eq. 3:
        the smallest one) at the highest temperature, as in the paper.
    num_stages : int
        Stages of the continuation without a time limit; with one they fill ``start_share``. Twice
        as many take twice as long and lower the norm by some per cent. Default 120.
    start_share : float, optional
        Share of the time or the iterations for the continuation. By default 0.8 under Eq. 4, where
        it decides the norm, and 0.5 under Eq. 3, where chains follow in several generations.
    tilt : float
        Eq. 4, rows that sum to zero (a head with its ridge): how much more often the smaller of
        pruned and kept gets small rows than large ones; 0 treats all alike, 1 is the most. More
        lowers the norm, and the kept rows have less curvature. Default 0.7.
    few_share : float
        Where at most this share of all examples is pruned or kept, best insertions are tried as a
        start too. Default 0.05.
    proposals : {"norm", "plain"}
        What is proposed: examples that the temperature lets move, or everyone alike, on the rows
        themselves and without closing exchanges, as in the paper.
    num_proposals : int, optional
        Length of a chain. By default 2,000 for each example of a core with a Gram matrix and 60
        for each on rows, and as many as there is time for under a time limit.
    num_chains : int, optional
        Chains without a time limit, by default 6 under Eq. 3 and 1 under Eq. 4; with a limit a
        hundred times as many at most.
    core_size : int
        Eq. 3: most examples in the core, whose Gram matrix takes ``8 core_size^2`` bytes. Default
        2,000; larger ones were no better on 28 instances.
    heat : float
        First temperature, in units of the one whose equilibrium is the energy of the start. Below
        1 the chain cannot leave the start, far above 2 it forgets the start. Default 2.
    cold : float
        Last temperature, in units of a small row's squared norm (the 5 % quantile). Default 0.02.
    reach : float
        Rows whose squared norm is above this many temperatures are not proposed. Default 30.
    core_reach : float
        Examples whose flip costs more than this many first temperatures are not in the core.
        Default 5.
    flip_share : float
        Eq. 3: share of flips among the proposals, the rest are swaps. Default 0.5.
    closing_share : float
        Share of the remaining time for best exchanges at the end, where they are made. Default 0.5.
    patience : int
        Closing exchanges in a row without a smaller norm before they end. Default 300.

    Raises
    ------
    OptionError
        If a value is out of its range.
    """

    start: StartName = "relax"
    num_stages: int = 120
    start_share: float | None = None
    tilt: float = 0.7
    few_share: float = 0.05
    proposals: Proposals = "norm"
    num_proposals: int | None = None
    num_chains: int | None = None
    core_size: int = 2000
    heat: float = 2.0
    cold: float = 0.02
    reach: float = 30.0
    core_reach: float = 5.0
    flip_share: float = 0.5
    closing_share: float = 0.5
    patience: int = 300

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None or field.default is not None:
                _check(field.name, value)


def _check(name: str, value: Any) -> None:
    """Raise for a value out of its range."""
    if name in _NAMES:
        if value not in _NAMES[name]:
            first, second = _NAMES[name]
            raise OptionError(f"{name} must be {first!r} or {second!r}, got {value!r}.")
        return
    if not name.startswith(("num_", "core_size", "patience")):
        is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        # Without flips no subset would change its size.
        least = _FEWEST_FLIPS if name == "flip_share" else 0
        if name in _SHARES and not (is_number and least <= value <= 1):
            raise OptionError(f"{name} must be a number from {least} to 1, got {value!r}.")
        if not (is_number and value >= 0):
            raise OptionError(f"{name} must be a number >= 0, got {value!r}.")
        return
    require_integer(name, value, 1)
