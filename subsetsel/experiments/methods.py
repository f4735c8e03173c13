"""The ways of choosing what to keep, all from what one scorer says; each returns kept indices.

Cardinality is fixed (Eq. 4 of the paper), so that all keep the same number. ``joint`` is the
paper's method; those below it in `METHODS` are variations on the same solver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

import subsetsel
from subsetsel import scores
from subsetsel.errors import OptionError, SolverError
from subsetsel.experiments.quotas import (
    NUM_STRATA,
    gentle_cut,
    hardest_cut,
    of_both,
    of_classes,
    of_strata_in_classes,
)
from subsetsel.experiments.scorer import Scorer
from subsetsel.problem.constraints import LinearConstraint
from subsetsel.problem.problem import Problem
from subsetsel.problem.solution import Solution
from subsetsel.scores import Score, Strata

Indices = NDArray[np.int64]

# Softmax heads on a network's features: small enough to leave the features their say.
HEAD_L2 = 1e-3


class Selector:
    """Chooses by any of `METHODS`; what is expensive is computed once and shared.

    Parameters
    ----------
    scorer : Scorer
    seed : int
        Of every random choice and of the solver.
    second : Scorer, optional
        Another training of the scorer, for the methods that ask two.
    l2 : float
        Weight decay of the softmax head on the scorer's features.
    is_balanced : bool
        Whether scores rank within classes, each keeping its share.
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
        second: Scorer | None = None,
        l2: float = HEAD_L2,
        is_balanced: bool = False,
        num_proposals: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.scorer, self.second, self.seed, self.l2 = scorer, second, seed, l2
        self.device = device
        self._search: dict[str, Any] = (
            {} if num_proposals is None else {"num_proposals": num_proposals}
        )
        self.is_balanced = is_balanced
        self.labels: Indices = scorer.labels
        self.n = len(self.labels)

    def choose(self, method: str, num_kept: int) -> Indices:
        """Choose what to keep.

        Parameters
        ----------
        method : str
            A key of `METHODS`.
        num_kept : int

        Returns
        -------
        ndarray of int64, shape (num_kept,)
            Sorted.

        Raises
        ------
        OptionError
            If there is no such method, or num_kept is not between 1 and n - 1.
        SolverError
            If the quotas of a method cannot be met.
        """
        if method not in METHODS:
            raise OptionError(f"there is no method {method!r}; choose among {', '.join(METHODS)}.")
        if not 0 < num_kept < self.n:
            raise OptionError(f"num_kept must be between 1 and {self.n - 1}, got {num_kept}.")
        solution = METHODS[method](self, num_kept)
        if not solution.is_feasible:
            raise SolverError(f"{method} found nothing for num_kept={num_kept}: {solution}.")
        return solution.kept

    @cached_property
    def problem(self) -> Problem:
        """The influence of every example on the softmax head of the scorer's features."""
        return self.head_problem(self.scorer.features)

    def head_problem(self, features: NDArray[np.float32], **setting: Any) -> Problem:
        """Rows of S on a softmax head on some features; settings of `Problem.from_features`."""
        return Problem.from_features(
            features, self.labels, l2=self.l2, size=1, device=self.device, **setting
        )

    @cached_property
    def two_problem(self) -> Problem:
        """The influence on the heads of two scorers side by side: rows twice as long.

        Raises
        ------
        OptionError
            Without a second scorer.
        """
        if self.second is None:
            raise OptionError("this method asks two scorers; give second.")
        return _stacked(self.problem, self.head_problem(self.second.features))

    @cached_property
    def paper_problem(self) -> Problem:
        """The letter of the paper: the ridge is left out of the gradients."""
        return self.head_problem(self.scorer.features, formulation="paper")

    @cached_property
    def loss_problem(self) -> Problem:
        """Influence measured by the training objective, not by the parameters."""
        return self.head_problem(self.scorer.features, metric="loss")

    @cached_property
    def checkpoints_problem(self) -> Problem:
        """The influence on the heads of the first epoch and of the last side by side."""
        return _stacked(self.problem, self.head_problem(self.scorer.early_features))

    @cached_property
    def herding_score(self) -> Score:
        """The whole order of herding, found once: it costs the square of the largest class."""
        return scores.herding(self.scorer.features, self.labels)

    def score(self, name: str) -> Score:
        """One of the scores that were read off in training; all keep the highest."""
        return Score(name, getattr(self.scorer, name), "highest")

    def class_limits(self, num_kept: int) -> dict[Any, tuple[int, int]]:
        """Limits that prune the same share of each class."""
        return subsetsel.balanced_limits(self.labels, size=self.n - num_kept)

    def cut(self, num_kept: int, *, is_gentle: bool = False) -> float:
        """Share of the hardest that strata leave out."""
        rule = gentle_cut if is_gentle else hardest_cut
        return rule(num_kept, self.n, len(np.unique(self.labels)))

    def strata(self, num_kept: int, *, is_gentle: bool = False) -> Strata:
        """Coverage strata of EL2N with their quotas."""
        return scores.strata_quotas(
            self.score("el2n"),
            num_kept,
            cut=self.cut(num_kept, is_gentle=is_gentle),
            num_strata=NUM_STRATA,
            seed=self.seed,
        )

    def draw(self, question: Mapping[str, Any]) -> Solution:
        """Keep at random, as quotas allow."""
        return scores.select(scores.random(self.n, self.seed), **question)

    def rank(self, score: Score, num_kept: int) -> Solution:
        """Keep the end that a score keeps, of the whole set or of each class."""
        return scores.select(
            score,
            num_kept=num_kept,
            labels=self.labels,
            balanced="proportional" if self.is_balanced else False,
            seed=self.seed,
        )

    def solve(
        self,
        problem: Problem,
        *,
        size: int,
        groups: ArrayLike | None = None,
        group_limits: Mapping[Any, tuple[int | None, int | None]] | None = None,
        must_prune: ArrayLike | None = None,
        constraints: Sequence[LinearConstraint] | None = None,
    ) -> Solution:
        """Keep so that the joint influence of what is pruned is smallest (Eq. 4)."""
        # Without the limits that `from_features` adds: beside quotas they would overlap them.
        question = Problem(
            problem.rows,
            size=size,
            groups=groups,
            group_limits=group_limits,
            must_prune=must_prune,
            constraints=constraints,
            head=problem.head,
        )
        return subsetsel.solve(question, seed=self.seed, bound=False, **self._search)


def _stacked(*parts: Problem) -> Problem:
    # Each head in units of its own length, so that neither drowns the other.
    scaled = [_dense(part) / np.float32(_theta_norm(part)) for part in parts]
    return Problem(np.hstack(scaled), size=1)


def _dense(problem: Problem) -> NDArray[np.float32]:
    S = problem.rows.dense()
    if S is None:
        raise OptionError(
            f"this method needs S as an array, but the scorer's features are so many (d = "
            f"{problem.d}) that it is kept factored; use a scorer with fewer features."
        )
    return np.asarray(S, dtype=np.float32)


def _theta_norm(problem: Problem) -> float:
    assert problem.head is not None
    return problem.head.theta_norm


def _joint_weighted(s: Selector, k: int) -> Solution:
    # EL2N as the weight of an example: only the mean over what is kept is held to what strata
    # would give, where fifty quotas hold the whole distribution.
    strata, weights = s.strata(k), s.scorer.el2n
    kept = weights[~s.draw(strata.question).mask].sum()
    pruned, slack = float(weights.sum() - kept), 0.01 * float(kept)
    level = LinearConstraint(weights, pruned - slack, pruned + slack, "difficulty")
    return s.solve(s.problem, size=s.n - k, must_prune=strata.must_prune, constraints=[level])


def _joint_centred(s: Selector, k: int) -> Solution:
    # What is kept of the strata should have their means: their composition is settled, so the
    # part of S that only tells strata apart is taken out before anything is balanced.
    question = s.strata(k).question
    centred = _centred(_dense(s.problem), question["groups"])
    return s.solve(Problem(centred, size=1), **question)


def _means_strata(s: Selector, k: int) -> Solution:
    # No influence here: of every class, the features that are kept should have the mean of the
    # cells they were kept from, as directions, so that no example counts for more than another.
    question = of_both(s, k, is_gentle=True)
    lengths = np.linalg.norm(s.scorer.features, axis=1, keepdims=True)
    directions = s.scorer.features / np.maximum(lengths, np.finfo(np.float32).tiny)
    classes, codes = np.unique(s.labels, return_inverse=True)
    rows = np.zeros((s.n, len(classes), directions.shape[1]), dtype=np.float32)
    rows[np.arange(s.n), codes] = _centred(directions, question["groups"])
    return s.solve(Problem(rows.reshape(s.n, -1), size=1), **question)


def _centred(rows: NDArray[np.float32], groups: ArrayLike) -> NDArray[np.float32]:
    """Take the mean of its group out of every row."""
    codes = np.unique(groups, return_inverse=True)[1]
    members = sparse.csr_array((np.ones(len(codes)), (codes, np.arange(len(codes)))))
    means = (members @ rows) / members.sum(axis=1)[:, None]
    centred: NDArray[np.float32] = rows - means[codes].astype(np.float32)
    return centred


METHODS: dict[str, Callable[[Selector, int], Solution]] = {
    "random": lambda s, k: s.draw({"num_kept": k}),
    "random_classes": lambda s, k: s.draw(of_classes(s, k)),
    "class_mean": lambda s, k: s.rank(scores.class_mean(s.scorer.features, s.labels), k),
    "herding": lambda s, k: s.rank(s.herding_score, k),
    "forgetting": lambda s, k: s.rank(s.score("forgetting"), k),
    "el2n": lambda s, k: s.rank(s.score("el2n"), k),
    "grand": lambda s, k: s.rank(s.score("grand"), k),
    "influence": lambda s, k: s.rank(scores.influence(s.problem), k),
    "strata": lambda s, k: s.draw(s.strata(k).question),
    "strata_gentle": lambda s, k: s.draw(s.strata(k, is_gentle=True).question),
    "strata_classes": lambda s, k: s.draw(of_strata_in_classes(s, k)),
    "joint": lambda s, k: s.solve(s.problem, size=s.n - k),
    "joint_paper": lambda s, k: s.solve(s.paper_problem, size=s.n - k),
    "joint_loss": lambda s, k: s.solve(s.loss_problem, size=s.n - k),
    "joint_classes": lambda s, k: s.solve(s.problem, **of_classes(s, k)),
    "joint_strata": lambda s, k: s.solve(s.problem, **s.strata(k).question),
    "joint_centred": _joint_centred,
    "joint_both": lambda s, k: s.solve(s.problem, **of_both(s, k)),
    "joint_both_gentle": lambda s, k: s.solve(s.problem, **of_both(s, k, is_gentle=True)),
    "joint_weighted": _joint_weighted,
    "means_strata": _means_strata,
    "joint_loss_strata": lambda s, k: s.solve(s.loss_problem, **s.strata(k).question),
    "joint_checkpoints": lambda s, k: s.solve(s.checkpoints_problem, size=s.n - k),
    "joint_checkpoints_strata": lambda s, k: s.solve(s.checkpoints_problem, **s.strata(k).question),
    "joint_two": lambda s, k: s.solve(s.two_problem, size=s.n - k),
    "joint_two_strata": lambda s, k: s.solve(s.two_problem, **s.strata(k).question),
}
"""Name -> how it chooses; docs/experiments.md has a sentence on each."""

TWO_SCORERS = frozenset({"joint_two", "joint_two_strata"})
"""The methods that ask two scorers."""
