"""How many trainings a selection takes."""

from __future__ import annotations

from dataclasses import dataclass

NUM_TRIALS = {"scratch": 24, "trained": 7}
"""Compositions that are tried by default: a search, and the fixed rules with the joint ones."""

NUM_CHECKS = 2
"""Trainings that tell whether ``train`` follows its seed."""

NUM_CONFIRMED = 2
"""Compositions that are trained on fresh seeds beside random."""

# How many of the best are trained a second time, so that no lucky seed wins; more of them where
# the first time was a part of a whole training.
_NUM_AGAIN, _NUM_AGAIN_AFTER_CHEAP = 4, 8


@dataclass(frozen=True)
class Trainings:
    """The most trainings that there will be.

    Attributes
    ----------
    num_trials : int
    num_seeds : int
        Fresh ones, with which the best are confirmed.
    takes_budget : bool
        Whether trials take a part of a whole training.
    """

    num_trials: int
    num_seeds: int
    takes_budget: bool = False

    @property
    def num_again(self) -> int:
        """How many are trained a second time."""
        most = _NUM_AGAIN_AFTER_CHEAP if self.takes_budget else _NUM_AGAIN
        return min(most, self.num_trials)

    @property
    def num_confirming(self) -> int:
        """The best and random, on every fresh seed."""
        return self.num_seeds * (NUM_CONFIRMED + 1)

    @property
    def num_whole(self) -> int:
        """Those that come after the search and take no part of a training."""
        return self.num_again + self.num_confirming

    @property
    def num_all(self) -> int:
        """All of them."""
        return self.num_trials + NUM_CHECKS + self.num_whole
