"""The small problems every solver is tried on; all can be enumerated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from subsetsel.problem.constraints import LinearConstraint
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import FloatArray

FREE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SmallProblem:
    """A problem and what a solver must be able to honour to take it.

    Attributes
    ----------
    name : str
    build : callable
        Makes the problem anew, so that no test can spoil another's.
    needs : frozenset of {"constraints", "fixed", "max_size"}
    expected : str or None
        The status that must come back; None where any truthful one will do.
    must_find : bool
        A feasible subset exists and is near at hand: not finding one is a failure.
    """

    name: str
    build: Callable[[], Problem]
    needs: frozenset[str] = FREE
    expected: str | None = None
    must_find: bool = True


def gaussian(n: int, d: int, *, seed: int, shift: float = 0.3) -> FloatArray:
    """Rows of independent normal numbers around a common shift.

    Returns
    -------
    ndarray of shape (n, d), float64
    """
    return np.random.default_rng(seed).normal(size=(n, d)) + shift


def small_problems() -> Iterator[SmallProblem]:
    """Every kind of question and of degeneracy, with n <= 12.

    Yields
    ------
    SmallProblem
    """
    yield from _plain()
    yield from _limited()
    yield from _grouped()
    yield from _degenerate_rows()
    yield from _extreme_questions()


def _plain() -> Iterator[SmallProblem]:
    S = gaussian(10, 3, seed=1)
    yield SmallProblem("eq3_full", lambda: Problem(S, epsilon=1.5))
    yield SmallProblem("eq3_kept", lambda: Problem(S, epsilon=2.5, normalization="kept"))
    yield SmallProblem("eq4", lambda: Problem(S, size=5))
    yield SmallProblem("eq4_kept", lambda: Problem(S, num_kept=4, normalization="kept"))
    heavy = S * np.exp(np.random.default_rng(2).normal(size=(10, 1)) * 2)
    yield SmallProblem("heavy_tailed_eq3", lambda: Problem(heavy, epsilon=1.0))
    yield SmallProblem("heavy_tailed_eq4", lambda: Problem(heavy, size=7))
    centred = S - S.mean(axis=0)
    yield SmallProblem("zero_sum_kept", lambda: Problem(centred, epsilon=1.0, normalization="kept"))
    yield SmallProblem("zero_sum_eq4", lambda: Problem(centred, size=6))
    tiny, huge = 1e-6 * S, 1e6 * S
    yield SmallProblem("tiny_units", lambda: Problem(tiny, epsilon=1.5e-6))
    yield SmallProblem("huge_units", lambda: Problem(huge, epsilon=1.5e6))


def _limited() -> Iterator[SmallProblem]:
    S = gaussian(10, 3, seed=3)
    cap, fixed = frozenset({"max_size"}), frozenset({"fixed"})
    yield SmallProblem("max_size_full", lambda: Problem(S, epsilon=2.0, max_size=3), cap)
    yield SmallProblem(
        "max_size_kept", lambda: Problem(S, epsilon=4.0, max_size=4, normalization="kept"), cap
    )
    yield SmallProblem("must_keep_eq3", lambda: Problem(S, epsilon=2.0, must_keep=[0, 4]), fixed)
    yield SmallProblem("must_keep_eq4", lambda: Problem(S, size=4, must_keep=[1, 2, 3]), fixed)
    easy = int(np.argmin(np.linalg.norm(S, axis=1)))
    yield SmallProblem("must_prune_eq3", lambda: Problem(S, epsilon=2.5, must_prune=[easy]), fixed)
    yield SmallProblem("must_prune_eq4", lambda: Problem(S, size=6, must_prune=[2, 9]), fixed)
    yield SmallProblem(
        "must_prune_needs_company",
        lambda: Problem(S, epsilon=1.8, must_prune=[int(np.argmax(np.linalg.norm(S, axis=1)))]),
        fixed,
        must_find=False,
    )
    yield SmallProblem(
        "everything_fixed",
        lambda: Problem(S, size=3, must_prune=[0, 1, 2], must_keep=list(range(3, 10))),
        fixed,
    )
    yield SmallProblem(
        "everything_must_be_kept",
        lambda: Problem(S, epsilon=2.0, must_keep=list(range(10)), normalization="kept"),
        fixed,
    )
    yield SmallProblem(
        "infeasible_must_prune",
        lambda: Problem(np.abs(S) + 1.0, epsilon=0.5, must_prune=[0, 1]),
        fixed,
        expected="infeasible",
    )


def _grouped() -> Iterator[SmallProblem]:
    S = gaussian(10, 3, seed=4)
    labels = np.arange(10) % 3
    needs = frozenset({"constraints"})
    yield SmallProblem(
        "groups_at_most",
        lambda: Problem(S, epsilon=2.5, groups=labels, group_limits={0: (0, 1), 2: (None, 2)}),
        needs,
    )
    yield SmallProblem(
        "groups_equal_kept",
        lambda: Problem(S, size=6, groups=labels, group_limits={0: (2, 2), 1: (2, 2), 2: (2, 2)}),
        needs,
    )
    yield SmallProblem(
        "groups_at_least_kept",
        lambda: Problem(
            S,
            epsilon=6.0,
            normalization="kept",
            groups=np.array(list("abc"))[labels],
            group_limits={"a": (1, 3), "b": (1, None)},
        ),
        needs,
    )
    weights = np.random.default_rng(5).normal(size=10)
    yield SmallProblem(
        "linear_eq3",
        lambda: Problem(S, epsilon=2.5, constraints=[LinearConstraint(weights, -1.0, 1.0, "cut")]),
        needs,
    )
    yield SmallProblem(
        "linear_eq4", lambda: Problem(S, size=5, constraints=[(weights, -np.inf, 0.2)]), needs
    )
    yield SmallProblem(
        "contradicting_groups",
        lambda: Problem(S, size=2, groups=labels, group_limits={0: (2, 4), 1: (2, 4)}),
        needs,
        expected="infeasible",
    )


def _degenerate_rows() -> Iterator[SmallProblem]:
    S = gaussian(10, 3, seed=6)
    zeros = S.copy()
    zeros[[1, 5, 6]] = 0.0
    yield SmallProblem("zero_rows_eq3", lambda: Problem(zeros, epsilon=1.5))
    yield SmallProblem("zero_rows_eq4", lambda: Problem(zeros, size=4))
    yield SmallProblem("only_zero_rows_eq4", lambda: Problem(np.zeros((6, 2)), size=3))
    twins = np.repeat(S[:4], 3, axis=0)
    yield SmallProblem("duplicate_rows_eq3", lambda: Problem(twins, epsilon=3.0))
    yield SmallProblem("duplicate_rows_eq4", lambda: Problem(twins, size=5))
    wide = gaussian(6, 20, seed=7, shift=0.1)
    yield SmallProblem("fewer_rows_than_columns_eq3", lambda: Problem(wide, epsilon=8.0))
    yield SmallProblem("fewer_rows_than_columns_eq4", lambda: Problem(wide, size=3))
    column = gaussian(12, 1, seed=8)
    yield SmallProblem("one_column_eq3", lambda: Problem(column, epsilon=0.05))
    yield SmallProblem("one_column_eq4", lambda: Problem(column, size=6))


def _extreme_questions() -> Iterator[SmallProblem]:
    S = gaussian(9, 2, seed=9)
    one = np.array([[2.0, 1.0]])
    yield SmallProblem("one_row_full", lambda: Problem(one, epsilon=1.0))
    yield SmallProblem("one_row_kept", lambda: Problem(one, epsilon=9.0, normalization="kept"))
    yield SmallProblem("one_row_eq4", lambda: Problem(one, size=1), expected="optimal")
    # Whole numbers cancel exactly, in whatever order they are added.
    pairs = np.array([[1.0, 2], [-1, -2], [3, 0], [-3, 0], [5, 7], [1, 1], [0, 0], [9, -4]])
    yield SmallProblem("epsilon_zero_full", lambda: Problem(pairs, epsilon=0.0))
    yield SmallProblem(
        "epsilon_zero_kept", lambda: Problem(pairs, epsilon=0.0, normalization="kept")
    )
    yield SmallProblem("size_zero", lambda: Problem(S, size=0), expected="optimal")
    yield SmallProblem("size_n", lambda: Problem(S, size=9), expected="optimal")
    yield SmallProblem("nothing_fits", lambda: Problem(np.abs(S) + 1.0, epsilon=0.1))
