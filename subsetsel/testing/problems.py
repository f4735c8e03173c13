"""The small problems that every solver is tried on; all can be enumerated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from subsetsel.problem.constraints import LinearConstraint
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import FloatArray

# What a solver must honour to take a problem, by the argument of `Problem` that asks for it.
_NEEDS = {
    "must_prune": "fixed",
    "must_keep": "fixed",
    "max_size": "max_size",
    "group_limits": "constraints",
    "constraints": "constraints",
    "offset": "offset",
}


@dataclass(frozen=True, eq=False)
class SmallProblem:
    """A matrix, a question, and what must come back.

    Attributes
    ----------
    name : str
    S : ndarray of shape (n, d)
    question : dict
        Arguments of `Problem`.
    expected : str or None
        The status that must come back; None where any truthful one will do.
    must_find : bool
        Whether it is a failure to find no feasible subset.
    """

    name: str
    S: FloatArray
    question: dict[str, Any]
    expected: str | None
    must_find: bool

    @property
    def needs(self) -> frozenset[str]:
        """What a solver must honour to take it: some of the values of `SolverSpec.supports`."""
        return frozenset(_NEEDS[name] for name in self.question if name in _NEEDS)

    def build(self) -> Problem:
        """Make the problem anew, so that no test can spoil another's."""
        return Problem(self.S, **self.question)


def gaussian(n: int, d: int, *, seed: int, shift: float = 0.3) -> FloatArray:
    """Rows of independent normal numbers around a common shift."""
    return np.random.default_rng(seed).normal(size=(n, d)) + shift


def small_problems() -> Iterator[SmallProblem]:
    """Every kind of question and of degeneracy, with n <= 12."""
    yield from _plain()
    yield from _limited()
    yield from _grouped()
    yield from _aimed()
    yield from _degenerate_rows()
    yield from _extreme_questions()


def _small(name: str, S: FloatArray, **question: Any) -> SmallProblem:
    return SmallProblem(name, S, question, _EXPECTED.get(name), name != "must_prune_needs_company")


_EXPECTED = {
    "infeasible_must_prune": "infeasible",
    "contradicting_groups": "infeasible",
    "offset_too_far": "infeasible",
    "one_row_eq4": "optimal",
    "size_zero": "optimal",
    "size_n": "optimal",
}


def _plain() -> Iterator[SmallProblem]:
    S = gaussian(10, 3, seed=1)
    yield _small("eq3_full", S, epsilon=1.5)
    yield _small("eq3_kept", S, epsilon=2.5, normalization="kept")
    yield _small("eq4", S, size=5)
    yield _small("eq4_kept", S, num_kept=4, normalization="kept")
    heavy = S * np.exp(np.random.default_rng(2).normal(size=(10, 1)) * 2)
    yield _small("heavy_tailed_eq3", heavy, epsilon=1.0)
    yield _small("heavy_tailed_eq4", heavy, size=7)
    centred = S - S.mean(axis=0)
    yield _small("zero_sum_kept", centred, epsilon=1.0, normalization="kept")
    yield _small("zero_sum_eq4", centred, size=6)
    yield _small("tiny_units", 1e-6 * S, epsilon=1.5e-6)
    yield _small("huge_units", 1e6 * S, epsilon=1.5e6)


def _limited() -> Iterator[SmallProblem]:
    S = gaussian(10, 3, seed=3)
    lengths = np.linalg.norm(S, axis=1)
    shortest, longest, rest = int(np.argmin(lengths)), int(np.argmax(lengths)), list(range(3, 10))
    yield _small("max_size_full", S, epsilon=2.0, max_size=3)
    yield _small("max_size_kept", S, epsilon=4.0, max_size=4, normalization="kept")
    yield _small("must_keep_eq3", S, epsilon=2.0, must_keep=[0, 4])
    yield _small("must_keep_eq4", S, size=4, must_keep=[1, 2, 3])
    yield _small("must_prune_eq3", S, epsilon=2.5, must_prune=[shortest])
    yield _small("must_prune_eq4", S, size=6, must_prune=[2, 9])
    yield _small("must_prune_needs_company", S, epsilon=1.8, must_prune=[longest])
    yield _small("everything_fixed", S, size=3, must_prune=[0, 1, 2], must_keep=rest)
    everything = list(range(10))
    yield _small(
        "everything_must_be_kept", S, epsilon=2.0, must_keep=everything, normalization="kept"
    )
    yield _small("infeasible_must_prune", np.abs(S) + 1.0, epsilon=0.5, must_prune=[0, 1])


def _grouped() -> Iterator[SmallProblem]:
    S = gaussian(10, 3, seed=4)
    labels = np.arange(10) % 3
    names = np.array(list("abc"))[labels]
    some, two_each = {0: (0, 1), 2: (None, 2)}, dict.fromkeys(range(3), (2, 2))
    named = {"a": (1, 3), "b": (1, None)}
    too_many = {0: (2, 4), 1: (2, 4)}
    yield _small("groups_at_most", S, epsilon=2.5, groups=labels, group_limits=some)
    yield _small("groups_equal_kept", S, size=6, groups=labels, group_limits=two_each)
    yield _small(
        "groups_at_least_kept",
        S,
        epsilon=6.0,
        normalization="kept",
        groups=names,
        group_limits=named,
    )
    weights = np.random.default_rng(5).normal(size=10)
    cut = LinearConstraint(weights, -1.0, 1.0, "cut")
    yield _small("linear_eq3", S, epsilon=2.5, constraints=[cut])
    yield _small("linear_eq4", S, size=5, constraints=[(weights, -np.inf, 0.2)])
    yield _small("contradicting_groups", S, size=2, groups=labels, group_limits=too_many)


def _aimed() -> Iterator[SmallProblem]:
    """Problems with an offset: some of whose rows bring back, and one that none does."""
    S = gaussian(10, 3, seed=10)
    chosen = S[[1, 4, 5, 8]].sum(axis=0)
    labels = np.arange(10) % 2
    yield _small("offset_eq3", S, epsilon=1.5, offset=-0.5 * chosen)
    # Pruning nothing is too far away.
    yield _small("offset_beyond_epsilon", S, epsilon=0.8, offset=-1.05 * chosen)
    yield _small("offset_eq3_kept", S, epsilon=2.5, normalization="kept", offset=-chosen)
    yield _small("offset_eq4", S, size=4, offset=-chosen)
    yield _small("offset_eq4_many", S, size=7, offset=3.0 * S[0])
    yield _small(
        "offset_and_limits",
        S,
        epsilon=2.0,
        offset=-chosen,
        max_size=6,
        must_keep=[3],
        groups=labels,
        group_limits={0: (1, 3)},
    )
    yield _small("offset_and_fixed_eq4", S, size=5, offset=-chosen, must_prune=[0], must_keep=[1])
    # Rows of a plane, and an offset that leaves it.
    flat = np.column_stack([S[:, :2], np.zeros(10)])
    yield _small("offset_outside_the_rows", flat, epsilon=1.6, offset=[0.3, -0.4, 1.2])
    yield _small("offset_alone", np.zeros((6, 2)), size=3, offset=[1.0, -2.0])
    yield _small("offset_too_far", S, epsilon=1.0, offset=[60.0, 0.0, 0.0])


def _degenerate_rows() -> Iterator[SmallProblem]:
    S = gaussian(10, 3, seed=6)
    zeros = S.copy()
    zeros[[1, 5, 6]] = 0.0
    yield _small("zero_rows_eq3", zeros, epsilon=1.5)
    yield _small("zero_rows_eq4", zeros, size=4)
    yield _small("only_zero_rows_eq4", np.zeros((6, 2)), size=3)
    twins = np.repeat(S[:4], 3, axis=0)
    yield _small("duplicate_rows_eq3", twins, epsilon=3.0)
    yield _small("duplicate_rows_eq4", twins, size=5)
    wide = gaussian(6, 20, seed=7, shift=0.1)
    yield _small("fewer_rows_than_columns_eq3", wide, epsilon=8.0)
    yield _small("fewer_rows_than_columns_eq4", wide, size=3)
    column = gaussian(12, 1, seed=8)
    yield _small("one_column_eq3", column, epsilon=0.05)
    yield _small("one_column_eq4", column, size=6)


def _extreme_questions() -> Iterator[SmallProblem]:
    S = gaussian(9, 2, seed=9)
    one = np.array([[2.0, 1.0]])
    yield _small("one_row_full", one, epsilon=1.0)
    yield _small("one_row_kept", one, epsilon=9.0, normalization="kept")
    yield _small("one_row_eq4", one, size=1)
    # Whole numbers cancel exactly, in whatever order they are added.
    pairs = np.array([[1.0, 2], [-1, -2], [3, 0], [-3, 0], [5, 7], [1, 1], [0, 0], [9, -4]])
    yield _small("epsilon_zero_full", pairs, epsilon=0.0)
    yield _small("epsilon_zero_kept", pairs, epsilon=0.0, normalization="kept")
    yield _small("size_zero", S, size=0)
    yield _small("size_n", S, size=9)
    yield _small("nothing_fits", np.abs(S) + 1.0, epsilon=0.1)
