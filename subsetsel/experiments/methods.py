"""The ways of choosing what to keep, all from what one scorer says.

Every method keeps the same number (Eq. 4 of the paper), so that they compare. ``joint`` is the
paper's method.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from subsetsel.experiments.scorer import Scorer
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import IndexArray
from subsetsel.scores import Score, class_mean, herding, influence, select
from subsetsel.selection.chooser import Chooser
from subsetsel.selection.composition import CHOICES, Composition, reference_rules

# Weight decay of the softmax head on a network's features: small enough to leave them their say.
_HEAD_L2 = 1e-3


class Selector:
    """Keeps what a method asks for; what is expensive is computed once and shared.

    Parameters
    ----------
    scorer : Scorer
    seed : int
        Of every random choice and of the solver.
    is_balanced : bool
        Whether scores rank within classes, of which as many each are kept.
    num_proposals : int, optional
        Of the annealing of every joint choice; by default the solver's own budget.
    device : str
        Where the influence on the head is computed, see `Problem.from_features`.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        seed: int,
        is_balanced: bool = False,
        num_proposals: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.scorer, self.seed = scorer, seed
        self._is_balanced, self._device = is_balanced, device
        self._solve_options: dict[str, Any] = {}
        if num_proposals is not None:
            self._solve_options["num_proposals"] = num_proposals

    @cached_property
    def problem(self) -> Problem:
        """The influence of every example on a softmax head on the scorer's features."""
        features, labels = self.scorer.features, self.scorer.labels
        return Problem.from_features(features, labels, l2=_HEAD_L2, size=1, device=self._device)

    @cached_property
    def herding(self) -> Score:
        """The whole order of herding: it costs the square of the largest class."""
        return herding(self.scorer.features, self.scorer.labels)

    def choose(self, method: str, num_kept: int) -> IndexArray:
        """Choose what to keep.

        Parameters
        ----------
        method : str
            One of `METHODS`.

        Returns
        -------
        ndarray of int64, shape (num_kept,)
            Sorted.

        Raises
        ------
        SolverError
            If a joint choice finds nothing.
        """
        labels = self.scorer.labels
        if method in RANKINGS:
            found = select(
                RANKINGS[method](self),
                num_kept=num_kept,
                labels=labels,
                balanced=self._is_balanced,
                seed=self.seed,
            )
            return found.kept
        composition = compositions(num_kept, len(labels), len(np.unique(labels)))[method]
        # The rows cost more than all draws, so they are made where they decide.
        rows = self.problem if composition.is_joint else None
        options = self._solve_options
        chooser = Chooser({"el2n": self.scorer.el2n}, labels, rows, solve_options=options)
        return chooser.choose(composition, num_kept, seed=self.seed)


def compositions(num_kept: int, n: int, num_classes: int) -> dict[str, Composition]:
    """Say what is kept by methods that are no rankings, as `select_for_training` says it."""
    rules = reference_rules("el2n", num_kept, n, num_classes, CHOICES)
    return {
        "random": rules["random"],
        "random_classes": rules["class-balanced"],
        "strata": rules["strata"],
        "strata_gentle": rules["gentle strata"],
        "joint": rules["joint"],
        # With the quotas of random_classes, so that the two differ in nothing else.
        "joint_classes": replace(rules["joint in classes"], class_balance=1.0),
        "joint_both_gentle": rules["joint in cells"],
    }


RANKINGS: dict[str, Callable[[Selector], Score]] = {
    "class_mean": lambda s: class_mean(s.scorer.features, s.scorer.labels),
    "herding": lambda s: s.herding,
    "forgetting": lambda s: Score("forgetting", s.scorer.forgetting, "highest"),
    "el2n": lambda s: Score("el2n", s.scorer.el2n, "highest"),
    "grand": lambda s: Score("grand", s.scorer.grand, "highest"),
    "influence": lambda s: influence(s.problem),
}
"""Name -> the score whose end is kept: the baselines of the paper."""

METHODS = (*compositions(num_kept=1, n=2, num_classes=1), *RANKINGS)
"""Names of all methods; docs/experiments.md has a sentence on each."""
