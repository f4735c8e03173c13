"""Options of the annealer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from subsetsel.errors import OptionError

StartName = Literal["relax", "random"]
Proposals = Literal["norm", "plain"]


@dataclass(frozen=True)
class AnnealOptions:
    start: StartName = "relax"
    proposals: Proposals = "norm"
    num_proposals: int | None = None
    num_chains: int | None = None
    core_size: int = 4000
    num_stages: int = 120
    tilt: float = 0.7
    heat: float = 2.0
    cold: float = 0.02
    reach: float = 30.0
    core_reach: float = 5.0
    flip_share: float = 0.5
    start_share: float = 0.3
    close_share: float = 0.5
    few: float = 0.05
    patience: int = 300

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
