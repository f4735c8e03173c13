"""What one scorer says of every example, as rankings, quotas and rows of S."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subsetsel.engine.solve import solve
from subsetsel.experiments.scorer import Scorer
from subsetsel.problem.problem import Problem
from subsetsel.problem.solution import Solution
from subsetsel.scores import Score, Strata, herding, random, select, strata_quotas
from subsetsel.scores.strata import gentle_cut, hardest_cut

Indices = NDArray[np.int64]
Question = dict[str, Any]
"""Size, groups and quotas: keyword arguments that `select` and `Problem` both take."""

NUM_STRATA = 50

# Weight decay of the softmax head on a network's features: small enough to leave them their say.
_HEAD_L2 = 1e-3


class Selector:
    """Answers questions about what to keep; what is expensive is computed once and shared.

    Parameters
    ----------
    scorer : Scorer
    seed : int
        Of every random choice and of the solver.
    is_balanced : bool
        Whether scores rank within classes, each of which keeps its share.
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
        self.scorer, self.seed, self.is_balanced = scorer, seed, is_balanced
        self.labels: Indices = scorer.labels
        self.n = len(self.labels)
        self._device = device
        self._search: dict[str, Any] = {}
        if num_proposals is not None:
            self._search["num_proposals"] = num_proposals

    @cached_property
    def problem(self) -> Problem:
        """The influence of every example on a softmax head on the scorer's features."""
        features = self.scorer.features
        return Problem.from_features(
            features, self.labels, l2=_HEAD_L2, size=1, device=self._device
        )

    @cached_property
    def herding_score(self) -> Score:
        """The whole order of herding: it costs the square of the largest class."""
        return herding(self.scorer.features, self.labels)

    def score(self, name: str) -> Score:
        """One of the scores that were read off in training; all keep the highest."""
        return Score(name, getattr(self.scorer, name), "highest")

    def cut(self, num_kept: int, *, is_gentle: bool = False) -> float:
        """Give the share of the hardest that strata leave out."""
        rule = gentle_cut if is_gentle else hardest_cut
        return rule(num_kept, self.n, len(np.unique(self.labels)))

    def strata(self, num_kept: int, *, is_gentle: bool = False) -> Strata:
        """Lay strata of EL2N over all examples."""
        cut = self.cut(num_kept, is_gentle=is_gentle)
        return strata_quotas(self.score("el2n"), num_kept, cut, NUM_STRATA, seed=self.seed)

    def draw(self, question: Question) -> Solution:
        """Keep at random, as quotas allow."""
        return select(random(self.n, self.seed), **question)

    def rank(self, score: Score, num_kept: int) -> Solution:
        """Keep the end that a score keeps, of the whole set or of each class."""
        return select(
            score,
            num_kept=num_kept,
            labels=self.labels,
            balanced="proportional" if self.is_balanced else False,
            seed=self.seed,
        )

    def solve(self, question: Question) -> Solution:
        """Keep so that the joint influence of what is pruned is smallest (Eq. 4)."""
        # A new problem, because from_features adds limits of its own, which would overlap quotas.
        problem = Problem(self.problem.rows, head=self.problem.head, **question)
        return solve(problem, seed=self.seed, bound=False, **self._search)
