"""Measurements that belong together in pairs: what they differ by, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

_CONFIDENCE = 0.95
_ROUNDING = 1e-12

Group = Mapping[int, float]
"""Seed -> what was measured with it."""


@dataclass(frozen=True)
class Paired:
    """The differences of pairs.

    Attributes
    ----------
    mean : float
    low, high : float
        The 95 % interval of the mean (Student's); NaN of a single pair.
    p : float
        Of the paired t-test; NaN of a single pair.
    """

    mean: float
    low: float
    high: float
    p: float

    @property
    def sign(self) -> int:
        """1 where it is surely above zero, -1 where it is surely below, 0 where nothing is sure."""
        return int(np.sign(self.mean)) if self.p < 1 - _CONFIDENCE else 0

    def __str__(self) -> str:
        """Write shares as points of percent."""
        mean, low, high = (100 * value for value in (self.mean, self.low, self.high))
        return f"{mean:+.2f} ({low:+.2f} to {high:+.2f}), {self.p:.2g}"


def paired(ours: Sequence[float], others: Sequence[float]) -> Paired:
    """Compare two lists pair by pair."""
    differences: Any = np.subtract(ours, others)
    # Two roundings of one number are no difference, and no spread, of which the test makes NaN.
    least = _ROUNDING * float(np.abs([ours, others]).max())
    mean = float(differences.mean())
    mean = mean if abs(mean) > least else 0.0
    if len(differences) < 2:
        return Paired(mean, float("nan"), float("nan"), float("nan"))
    if np.ptp(differences) <= least:
        return Paired(mean, mean, mean, float(not mean))
    test = stats.ttest_1samp(differences, 0)
    interval = test.confidence_interval(_CONFIDENCE)
    return Paired(mean, float(interval.low), float(interval.high), float(test.pvalue))


def paired_with(rival: Group, groups: Mapping[str, Group]) -> dict[str, Paired]:
    """Compare groups with a rival, each over the seeds that both have, of which it needs two.

    The p of each is corrected by Holm for the number of groups.
    """
    found = {}
    for name, mine in groups.items():
        seeds = sorted(mine.keys() & rival.keys())
        if len(seeds) > 1:
            found[name] = paired([mine[s] for s in seeds], [rival[s] for s in seeds])
    corrected = holm([one.p for one in found.values()])
    return {
        name: replace(one, p=p) for (name, one), p in zip(found.items(), corrected, strict=True)
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number: Holm's step-down, at most 1 and never out of order."""
    order = np.argsort(p_values)
    factors = np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(factors * np.take(p_values, order)), 1.0)
    return corrected.tolist()
