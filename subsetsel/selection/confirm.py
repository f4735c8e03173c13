"""Whether a composition is ahead of random: trained beside it on fresh seeds, paired."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from subsetsel.selection.composition import Composition
from subsetsel.support.paired import paired

Rule = tuple[str, Composition]

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
        found = paired(values, random)
        num_failed = sum(value is None and random is not None for value, random in both)
        yield Confirmation(
            rule=rule,
            composition=composition,
            values=values,
            random=random,
            difference=found.mean,
            interval=(found.low, found.high),
            is_ahead=found.low > 0 and not num_failed,
            num_failed=num_failed,
        )
