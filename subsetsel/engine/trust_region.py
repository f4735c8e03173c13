"""Descend on expansions of the refitted head: how far each choice may go, and when to stop.

An expansion (`subsetsel.influence.head.expansion`) is exact at one pruned set. A choice made on it
is refitted; where the refit confirms it, the next expansion is made around it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from subsetsel.rows.base import BoolArray

# Exchanges of one choice where the solver's own leave what the expansion predicts, as a share of
# the kept examples; so much more or less where the refit confirms the gain or not.
_FIRST_EXCHANGES, _MORE, _LESS = 0.03, 2.0, 0.25
# Share of a predicted gain that counts as confirmed.
_CONFIRMED = 0.75
_SMALLEST = 1e-300


class Refitted(Protocol):
    """A pruned set that was refitted."""

    @property
    def mask(self) -> BoolArray:
        """True means pruned, shape (n,)."""

    @property
    def change(self) -> float:
        """How far the refitted head has moved."""

    @property
    def predicted(self) -> float:
        """The same by the rows on which the set was chosen."""


Point = TypeVar("Point", bound=Refitted)


@dataclass
class TrustRegion:
    """How many exchanges the next choice may make.

    Attributes
    ----------
    most : int or None
        None as long as the solver's own choices are confirmed.
    can_exchange : bool
        Whether single rows can be read; without them the solver's own choices are all there is.
    """

    most: int | None = None
    can_exchange: bool = True

    def enter(self, num_kept: int) -> None:
        """Leave the solver's own choices for best exchanges, where there are any."""
        if self.most is None and self.can_exchange:
            self.most = max(1, round(_FIRST_EXCHANGES * num_kept))

    def learn(self, old: Refitted, new: Refitted) -> bool:
        """Say whether the refit confirms a choice made on the expansion around ``old``."""
        gained, promised = old.change - new.change, old.change - new.predicted
        is_confirmed = gained >= _CONFIRMED * promised
        if self.most is not None:
            self.most = max(1, round(self.most * (_MORE if is_confirmed else _LESS)))
        elif not is_confirmed:
            self.enter(int((~old.mask).sum()))
        return is_confirmed


def descend(
    best: Point,
    choose: Callable[[Point], Point | None],
    region: TrustRegion,
    *,
    cost: Callable[[Point], float],
    is_over: Callable[[Point], bool],
    is_enough: Callable[[Point, float], bool] = lambda _, __: False,
    pays: float = 1.0,
    most_rounds: int,
) -> Point:
    """Expand around the best set again and again, as long as it pays.

    Parameters
    ----------
    best : Point
        Where to start.
    choose : callable
        Chooses on the expansion around a set, within ``region``, and refits; None for no choice.
    region : TrustRegion
        Updated after each choice.
    cost : callable
        What is to be small.
    is_over : callable
        Whether not to begin another round around this set.
    is_enough : callable
        Whether to end at a better set, given by what factor it is better.
    pays : float
        The least factor for which another round is made.
    most_rounds : int

    Returns
    -------
    Point
        The best set.
    """
    for _ in range(most_rounds):
        if is_over(best):
            break
        before = region.most
        new = choose(best)
        if new is None or (new.mask == best.mask).all():
            break
        gain = cost(best) / max(cost(new), _SMALLEST)
        is_confirmed = region.learn(best, new)
        if gain > 1.0:
            best = new
            if is_enough(best, gain):
                break
        # Fewer exchanges may keep what so many have promised.
        if gain <= pays and (is_confirmed or region.most == before):
            break
    return best
