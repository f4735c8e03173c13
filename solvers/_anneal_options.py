"""Options of the annealer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from subsetsel.errors import OptionError

Start = Literal["relax", "random"]
Proposals = Literal["norm", "plain"]


@dataclass(frozen=True)
class AnnealOptions:
    """Options of the annealer.

    Parameters
    ----------
    start : {"relax", "random"}
        Eq. 3: begin at the rounded relaxation and anneal its core, or at a random subset.
    proposals : {"norm", "plain"}
        Eq. 4: propose what the temperature lets move, or everything alike.
    num_proposals : int, optional
        Length of one chain; set from n and d otherwise.
    num_chains : int, optional
        How many chains without a limit; each starts from the best so far or afresh.
    core_size : int, optional
        Examples in the core; chosen and adapted from the relaxation otherwise.
    penalty : float, optional
        For ``start="random"``: items per unit of norm outside the ball; 1.5 times a dual norm
        otherwise.

    Raises
    ------
    OptionError
        If a value is out of its range.
    """

    start: Start = "relax"
    proposals: Proposals = "norm"
    num_proposals: int | None = None
    num_chains: int | None = None
    core_size: int | None = None
    penalty: float | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("start", ("relax", "random")), ("proposals", ("norm", "plain"))):
            if getattr(self, name) not in allowed:
                raise OptionError(
                    f"{name} must be {allowed[0]!r} or {allowed[1]!r}, got {getattr(self, name)!r}."
                )
        for name, least in (("num_proposals", 1), ("num_chains", 1), ("core_size", 2)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not value >= least):
                raise OptionError(f"{name} must be an integer >= {least}, got {value!r}.")
        if self.penalty is not None and not self.penalty > 0:
            raise OptionError(f"penalty must be positive, got {self.penalty!r}.")
