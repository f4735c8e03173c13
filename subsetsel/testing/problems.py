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
    expected: str | None = None
    must_find: bool = True

    @property
    def needs(self) -> frozenset[str]:
        """What a solver must honour to take it: some of "constraints", "fixed", "max_size"."""
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
    yield from _degenerate_rows()
    yield from _extreme_questions()


def _plain() -> Iterator[SmallProblem]:
    S = gaussian(10, 3, seed=1)
    yield SmallProblem("eq3_full", S, {"epsilon": 1.5})
    yield SmallProblem("eq3_kept", S, {"epsilon": 2.5, "normalization": "kept"})
    yield SmallProblem("eq4", S, {"size": 5})
    yield SmallProblem("eq4_kept", S, {"num_kept": 4, "normalization": "kept"})
    heavy = S * np.exp(np.random.default_rng(2).normal(size=(10, 1)) * 2)
    yield SmallProblem("heavy_tailed_eq3", heavy, {"epsilon": 1.0})
    yield SmallProblem("heavy_tailed_eq4", heavy, {"size": 7})
    centred = S - S.mean(axis=0)
    yield SmallProblem("zero_sum_kept", centred, {"epsilon": 1.0, "normalization": "kept"})
    yield SmallProblem("zero_sum_eq4", centred, {"size": 6})
    yield SmallProblem("tiny_units", 1e-6 * S, {"epsilon": 1.5e-6})
    yield SmallProblem("huge_units", 1e6 * S, {"epsilon": 1.5e6})


def _limited() -> Iterator[SmallProblem]:
    S = gaussian(10, 3, seed=3)
    lengths = np.linalg.norm(S, axis=1)
    shortest, longest = int(np.argmin(lengths)), int(np.argmax(lengths))
    yield SmallProblem("max_size_full", S, {"epsilon": 2.0, "max_size": 3})
    yield SmallProblem("max_size_kept", S, {"epsilon": 4.0, "max_size": 4, "normalization": "kept"})
    yield SmallProblem("must_keep_eq3", S, {"epsilon": 2.0, "must_keep": [0, 4]})
    yield SmallProblem("must_keep_eq4", S, {"size": 4, "must_keep": [1, 2, 3]})
    yield SmallProblem("must_prune_eq3", S, {"epsilon": 2.5, "must_prune": [shortest]})
    yield SmallProblem("must_prune_eq4", S, {"size": 6, "must_prune": [2, 9]})
    yield SmallProblem(
        "must_prune_needs_company",
        S,
        {"epsilon": 1.8, "must_prune": [longest]},
        must_find=False,
    )
    yield SmallProblem(
        "everything_fixed",
        S,
        {"size": 3, "must_prune": [0, 1, 2], "must_keep": list(range(3, 10))},
    )
    yield SmallProblem(
        "everything_must_be_kept",
        S,
        {"epsilon": 2.0, "must_keep": list(range(10)), "normalization": "kept"},
    )
    yield SmallProblem(
        "infeasible_must_prune",
        np.abs(S) + 1.0,
        {"epsilon": 0.5, "must_prune": [0, 1]},
        expected="infeasible",
    )


def _grouped() -> Iterator[SmallProblem]:
    S = gaussian(10, 3, seed=4)
    labels = np.arange(10) % 3

    def grouped(limits: dict[int, Any], **goal: Any) -> dict[str, Any]:
        return {"groups": labels, "group_limits": limits, **goal}

    yield SmallProblem("groups_at_most", S, grouped({0: (0, 1), 2: (None, 2)}, epsilon=2.5))
    yield SmallProblem("groups_equal_kept", S, grouped(dict.fromkeys(range(3), (2, 2)), size=6))
    yield SmallProblem(
        "groups_at_least_kept",
        S,
        {
            "epsilon": 6.0,
            "normalization": "kept",
            "groups": np.array(list("abc"))[labels],
            "group_limits": {"a": (1, 3), "b": (1, None)},
        },
    )
    weights = np.random.default_rng(5).normal(size=10)
    cut = LinearConstraint(weights, -1.0, 1.0, "cut")
    yield SmallProblem("linear_eq3", S, {"epsilon": 2.5, "constraints": [cut]})
    yield SmallProblem("linear_eq4", S, {"size": 5, "constraints": [(weights, -np.inf, 0.2)]})
    yield SmallProblem(
        "contradicting_groups",
        S,
        grouped({0: (2, 4), 1: (2, 4)}, size=2),
        expected="infeasible",
    )


def _degenerate_rows() -> Iterator[SmallProblem]:
    S = gaussian(10, 3, seed=6)
    zeros = S.copy()
    zeros[[1, 5, 6]] = 0.0
    yield SmallProblem("zero_rows_eq3", zeros, {"epsilon": 1.5})
    yield SmallProblem("zero_rows_eq4", zeros, {"size": 4})
    yield SmallProblem("only_zero_rows_eq4", np.zeros((6, 2)), {"size": 3})
    twins = np.repeat(S[:4], 3, axis=0)
    yield SmallProblem("duplicate_rows_eq3", twins, {"epsilon": 3.0})
    yield SmallProblem("duplicate_rows_eq4", twins, {"size": 5})
    wide = gaussian(6, 20, seed=7, shift=0.1)
    yield SmallProblem("fewer_rows_than_columns_eq3", wide, {"epsilon": 8.0})
    yield SmallProblem("fewer_rows_than_columns_eq4", wide, {"size": 3})
    column = gaussian(12, 1, seed=8)
    yield SmallProblem("one_column_eq3", column, {"epsilon": 0.05})
    yield SmallProblem("one_column_eq4", column, {"size": 6})


def _extreme_questions() -> Iterator[SmallProblem]:
    S = gaussian(9, 2, seed=9)
    one = np.array([[2.0, 1.0]])
    yield SmallProblem("one_row_full", one, {"epsilon": 1.0})
    yield SmallProblem("one_row_kept", one, {"epsilon": 9.0, "normalization": "kept"})
    yield SmallProblem("one_row_eq4", one, {"size": 1}, expected="optimal")
    # Whole numbers cancel exactly, in whatever order they are added.
    pairs = np.array([[1.0, 2], [-1, -2], [3, 0], [-3, 0], [5, 7], [1, 1], [0, 0], [9, -4]])
    yield SmallProblem("epsilon_zero_full", pairs, {"epsilon": 0.0})
    yield SmallProblem("epsilon_zero_kept", pairs, {"epsilon": 0.0, "normalization": "kept"})
    yield SmallProblem("size_zero", S, {"size": 0}, expected="optimal")
    yield SmallProblem("size_n", S, {"size": 9}, expected="optimal")
    yield SmallProblem("nothing_fits", np.abs(S) + 1.0, {"epsilon": 0.1})
