"""Eq. 4 with the Hessian of what is kept."""

from __future__ import annotations

from typing import Any

import subsetsel
from subsetsel.influence import influence_rows


def solve_relinearised(problem: Any, *, seed: int = 0, rounds: int = 2) -> tuple[Any, Any]:
    """Solve, and solve again with rows that have the Hessian of what was kept."""
    solution = subsetsel.solve(problem, bound=False, seed=seed)
    for _ in range(rounds):
        kept = problem.head.kept(~solution.mask)
        rows = influence_rows(problem.head, dtype=problem.rows.dtype, inverse=kept.inverse)
        question = problem.with_rows(rows)
        solution = subsetsel.solve(question, bound=False, seed=seed, initial_guess=solution.mask)
    return solution, question.rows
