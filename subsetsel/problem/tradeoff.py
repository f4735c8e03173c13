"""Points of a trade-off curve: for one size, the change that was predicted and the one measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Point:
    """One size: what was predicted and what an exact refit measured.

    Attributes
    ----------
    share : float
        Of the examples that are pruned.
    predicted, change : float
    random : tuple of float
        Changes after pruning as many at random; empty where that was not measured.
    is_chosen : bool
        Whether this is the subset that the page is about.
    """

    share: float
    predicted: float
    change: float
    random: tuple[float, ...] = ()
    is_chosen: bool = False


def points_of_record(
    curve: Sequence[Mapping[str, Any]], n: int, check: Mapping[str, Any] | None
) -> list[Point]:
    """Take the points, by share, that a verified search recorded in ``solution.stats["curve"]``.

    Of several subsets of one size it takes the one that moves the head least; ``check`` is the
    record of the subset that was chosen.
    """
    best: dict[int, Point] = {}
    for one in curve:
        point = Point(one["m"] / n, one["predicted_kept"], one["change"])
        if one["m"] and (one["m"] not in best or point.change < best[one["m"]].change):
            best[one["m"]] = point
    if check is not None and check.get("num_pruned"):
        m = check["num_pruned"]
        best[m] = Point(m / n, check["predicted_kept"], check["change"], is_chosen=True)
    return [best[m] for m in sorted(best)]
