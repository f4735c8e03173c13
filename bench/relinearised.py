"""Eq. 4 with the Hessian of what is kept, in place of that of all examples."""

from __future__ import annotations

import subsetsel
from subsetsel.influence import influence_rows
from subsetsel.rows.base import Rows

# How often the rows are computed anew.
_ROUNDS = 2


def solve_again(problem: subsetsel.Problem, seed: int = 0) -> tuple[subsetsel.Solution, Rows]:
    """Solve; compute the rows with the Hessian of what was kept; solve again from there; repeat.

    Returns
    -------
    Solution
    Rows
        Those that were searched last.
    """
    assert problem.head is not None
    question = problem
    solution = subsetsel.solve(problem, bound=False, seed=seed)
    for _ in range(_ROUNDS):
        inverse = problem.head.kept(~solution.mask).inverse
        question = problem.with_rows(
            influence_rows(problem.head, dtype=problem.rows.dtype, inverse=inverse)
        )
        solution = subsetsel.solve(question, bound=False, seed=seed, initial_guess=solution)
    return solution, question.rows
