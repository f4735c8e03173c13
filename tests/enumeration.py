"""Oracle for tiny problems: every subset is looked at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from subsetsel import Problem


def best(problem: Problem) -> float:
    """Largest feasible size (Eq. 3) or smallest norm (Eq. 4); -inf or inf without any."""
    masks = (np.arange(2**problem.n)[:, None] >> np.arange(problem.n)) % 2 == 1
    sizes = masks.sum(axis=1)
    norms = np.linalg.norm(masks @ problem.rows.take(np.arange(problem.n)), axis=1)
    is_size = problem.size is not None
    for position in np.argsort(norms if is_size else -sizes, kind="stable"):
        if is_size and sizes[position] != problem.size:
            continue
        if not is_size and norms[position] > problem.radius(int(sizes[position])) * (1 + 1e-6):
            continue
        if problem.is_feasible(masks[position]):
            return problem.norm(masks[position]) if is_size else float(sizes[position])
    return np.inf if is_size else -np.inf


def tiny(seed: int, n: int = 10, d: int = 3, shift: float = 0.3) -> NDArray[np.float64]:
    """Rows with a common drift, so that not everything can go."""
    return np.random.default_rng(seed).normal(size=(n, d)) + shift
