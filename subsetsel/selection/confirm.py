"""Whether a composition is ahead of random: trained beside it on fresh seeds, paired."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from subsetsel.rows.base import FloatArray
from subsetsel.selection.composition import Composition

Rule = tuple[str, Composition]

CONFIDENCE = 0.95
MIN_PAIRS = 3
_ROUNDING = 1e-12


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
        Whether the interval lies above zero, and no training of it failed.
    num_failed : int
        Trainings that gave no score where that of random did. The pairs that are left are the lucky
        ones, and no ground to choose by.
    """

    rule: str
    composition: Composition
    values: list[float]
    random: list[float]
    difference: float
    interval: tuple[float, float]
    is_ahead: bool
    num_failed: int = 0

    def record(self) -> dict[str, Any]:
        """Plain values by name."""
        return {**asdict(self), "interval": list(self.interval)}


def compare(rules: list[Rule], pairs: list[list[float | None]]) -> Iterator[Confirmation]:
    """Test every rule against the first, by the rows in which both have a value."""
    for column, (rule, composition) in enumerate(rules[1:], 1):
        both = [(row[column], row[0]) for row in pairs]
        known = [(value, random) for value, random in both if None not in {value, random}]
        if len(known) < MIN_PAIRS:
            continue
        values, random = (list(map(float, side)) for side in zip(*known, strict=True))
        difference, interval = _interval(np.subtract(values, random), np.abs([values, random]))
        num_failed = sum(value is None and random is not None for value, random in both)
        yield Confirmation(
            rule=rule,
            composition=composition,
            values=values,
            random=random,
            difference=difference,
            interval=interval,
            is_ahead=interval[0] > 0 and not num_failed,
            num_failed=num_failed,
        )


def _interval(differences: FloatArray, sizes: FloatArray) -> tuple[float, tuple[float, float]]:
    """Give the mean and the interval of the t-test."""
    # Two roundings of one number are no difference, and no spread, of which the test makes NaN.
    least = _ROUNDING * float(sizes.max())
    mean = float(differences.mean())
    mean = mean if abs(mean) > least else 0.0
    if np.ptp(differences) <= least:
        return mean, (mean, mean)
    test = stats.ttest_1samp(differences, 0).confidence_interval(CONFIDENCE)
    return mean, (float(test.low), float(test.high))
