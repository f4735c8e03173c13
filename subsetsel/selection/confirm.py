"""Whether a composition is ahead of random: trained beside it on fresh seeds, paired."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from subsetsel.selection.composition import Composition

CONFIDENCE = 0.95
MIN_PAIRS = 3


@dataclass(frozen=True)
class Confirmation:
    """A composition beside random.

    Attributes
    ----------
    rule : str
    composition : Composition
    values, random : list of float
        Scores of both, pair by pair: the same held-out part and the same seed.
    difference : float
        Mean of the differences.
    interval : (float, float)
        Of the paired t-test, at 95 %.
    is_ahead : bool
        Whether the interval lies above zero.
    """

    rule: str
    composition: Composition
    values: list[float]
    random: list[float]
    difference: float
    interval: tuple[float, float]
    is_ahead: bool

    @classmethod
    def of_pairs(
        cls, rule: str, composition: Composition, values: list[float], random: list[float]
    ) -> Confirmation:
        """Test `MIN_PAIRS` pairs or more."""
        difference = float(np.mean(np.subtract(values, random)))
        if np.ptp(np.subtract(values, random)) == 0:
            low = high = difference  # no spread, of which the test would make NaN
        else:
            test = stats.ttest_rel(values, random).confidence_interval(CONFIDENCE)
            low, high = float(test.low), float(test.high)
        return cls(rule, composition, values, random, difference, (low, high), low > 0)

    def record(self) -> dict[str, Any]:
        """Plain values by name."""
        return {**asdict(self), "interval": list(self.interval)}
