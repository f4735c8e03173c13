"""Tiny problems and their optimum, for the solvers' own tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from subsetsel import Problem
from subsetsel.testing import enumerate_optimum


def best(problem: Problem) -> float:
    """Largest feasible size (Eq. 3) or smallest norm (Eq. 4); -inf or inf without any."""
    optimum = enumerate_optimum(problem)
    if optimum is None:
        return -np.inf if problem.size is None else np.inf
    return float(optimum.size) if problem.size is None else optimum.norm


def tiny(seed: int, n: int = 10, d: int = 3, shift: float = 0.3) -> NDArray[np.float64]:
    """Rows with a common drift, so that not everything can go."""
    return np.random.default_rng(seed).normal(size=(n, d)) + shift
