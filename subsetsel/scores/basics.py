"""The two scores that need no network: chance, and the length of a row of S."""

from __future__ import annotations

from typing import Any

import numpy as np

from subsetsel.problem.problem import Problem
from subsetsel.rows import as_rows
from subsetsel.scores.checks import check_count
from subsetsel.scores.score import Score


def random(n: int, seed: int = 0) -> Score:
    """Keep each subset of the size asked for with the same probability.

    Parameters
    ----------
    n : int
        Number of examples.
    seed : int

    Returns
    -------
    Score
        ``values`` is a permutation of 0 to n - 1; keeps the highest.

    Raises
    ------
    ProblemError
        If n is not a positive integer.
    """
    values = np.random.default_rng(seed).permutation(check_count(n, "n")).astype(np.float64)
    return Score("random", values, "highest", {"seed": int(seed)})


def influence(problem: Any) -> Score:
    """Length of each row of S: what leaving out one example alone does to the parameters.

    The baseline "influence-score" of the paper (section 6.3 f): the same S as the joint problem,
    without the effect of the group.

    Parameters
    ----------
    problem : Problem or array_like of shape (n, d)

    Returns
    -------
    Score
        ||S_i||_2, in the unit of the parameters; keeps the highest.
    """
    rows = problem.rows if isinstance(problem, Problem) else as_rows(problem)
    return Score("influence", np.sqrt(rows.squared_norms), "highest", {"d": rows.d})
