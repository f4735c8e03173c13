"""Ground truth by enumeration, written independently of the code it judges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np

from subsetsel.problem.problem import Problem
from subsetsel.problem.progress import Limit, Status
from subsetsel.problem.solution import Solution
from subsetsel.rows.base import BoolArray, FloatArray

MAX_ENUMERATED = 16

# What "feasible" means, stated here a second time on purpose.
_NORM_TOLERANCE = 1e-9
_LINEAR_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Optimum:
    """The best subset there is.

    Attributes
    ----------
    mask : ndarray of shape (n,), bool
        True means pruned; the smallest norm among the best where several tie in size.
    size : int
    norm : float
        ||v0 + S^T W||_2 in float64, v0 = 0 without an offset.
    """

    mask: BoolArray
    size: int
    norm: float


def dense_float64(problem: Problem) -> FloatArray:
    """Copy the whole S into one array of shape (n, d)."""
    return np.concatenate([
        np.array(rows, dtype=np.float64) for _, _, rows in problem.rows.blocks()
    ])


def _start(problem: Problem) -> FloatArray:
    """Give what is added to S^T W, shape (d,)."""
    return np.zeros(problem.d) if problem.offset is None else problem.offset


def broken_rules(problem: Problem, masks: BoolArray, norms: FloatArray) -> dict[str, BoolArray]:
    """Say which of k subsets, masks of shape (k, n), break which rule: rule -> shape (k,)."""
    sizes = masks.sum(axis=1)
    rules = {
        "must_prune": (~masks & problem.must_prune).any(axis=1),
        "must_keep": (masks & problem.must_keep).any(axis=1),
        "max_size": sizes > problem.max_size,
    }
    if problem.size is not None:
        rules["size"] = sizes != problem.size
    if problem.epsilon is not None:
        share = np.ones(len(masks)) if problem.normalization == "full" else _kept(problem, masks)
        rules["norm"] = norms > problem.epsilon * share * (1 + _NORM_TOLERANCE)
    if len(problem.constraints):
        values = masks.astype(np.float64) @ problem.constraints.matrix.toarray().T
        for c, name in enumerate(problem.constraints.names):
            lower, upper = problem.constraints.lower[c], problem.constraints.upper[c]
            sides = [abs(limit) for limit in (lower, upper) if np.isfinite(limit)]
            unit = min(1.0, float(abs(problem.constraints.matrix[[c]]).max()))
            slack = _LINEAR_TOLERANCE * max([unit, *sides])
            rules[name] = (values[:, c] < lower - slack) | (values[:, c] > upper + slack)
    return rules


def _kept(problem: Problem, masks: BoolArray) -> FloatArray:
    """Share that k subsets, masks of shape (k, n), keep: of the weight where there are weights."""
    weights = np.ones(problem.n)
    if problem.head is not None and problem.head.objective_function.weights is not None:
        weights = problem.head.objective_function.weights.cpu().numpy()
    kept: FloatArray = (~masks @ weights) / weights.sum()
    return kept


def feasible_subsets(problem: Problem) -> tuple[BoolArray, FloatArray]:
    """All feasible subsets of a tiny problem.

    Parameters
    ----------
    problem : Problem
        With n <= 16.

    Returns
    -------
    masks : ndarray of shape (k, n), bool
    norms : ndarray of shape (k,)
        ||v0 + S^T W||_2 of each, float64.

    Raises
    ------
    ValueError
        If n is larger.
    """
    if problem.n > MAX_ENUMERATED:
        raise ValueError(f"enumeration is for n <= {MAX_ENUMERATED}, got n = {problem.n}.")
    codes = np.arange(2**problem.n)[:, None]
    masks = (codes >> np.arange(problem.n)) & 1 == 1
    norms = np.linalg.norm(
        masks.astype(np.float64) @ dense_float64(problem) + _start(problem), axis=1
    )
    is_broken = np.any(list(broken_rules(problem, masks, norms).values()), axis=0)
    return masks[~is_broken], norms[~is_broken]


def enumerate_optimum(problem: Problem) -> Optimum | None:
    """Solve a tiny problem by looking at every subset.

    Parameters
    ----------
    problem : Problem
        With n <= 16.

    Returns
    -------
    Optimum or None
        None where no subset is feasible.

    Raises
    ------
    ValueError
        If n is larger.
    """
    masks, norms = feasible_subsets(problem)
    if not len(masks):
        return None
    sizes = masks.sum(axis=1)
    order = np.lexsort((norms, -sizes)) if problem.form == "max_size" else np.argsort(norms)
    best = int(order[0])
    return Optimum(masks[best], int(sizes[best]), float(norms[best]))


def require(condition: object, message: str) -> None:
    """Raise AssertionError with the message unless the condition holds, also under ``-O``."""
    if not condition:
        raise AssertionError(message)


def check_solution(problem: Problem, solution: Solution) -> None:
    """Check every claim of a solution against the problem, independently of the core.

    For n <= 16 optimality, infeasibility and the bound are compared with enumeration.

    Raises
    ------
    AssertionError
        Naming the claim that does not hold.
    """
    _check_shape(problem, solution)
    S = dense_float64(problem)
    mask = solution.mask
    start = _start(problem)
    norm = float(np.linalg.norm(mask.astype(np.float64) @ S + start))
    if not solution.is_feasible and not mask.any():
        norm = 0.0
    rounding = 1e-13 * (1.0 + problem.n) * float(np.abs(S).sum() + np.abs(start).sum())
    require(
        abs(solution.norm - norm) <= 1e-12 * norm + rounding,
        f"norm says {solution.norm!r}, recomputed it is {norm!r}",
    )
    if solution.is_feasible:
        rules = broken_rules(problem, mask[None, :], np.array([solution.norm]))
        broken = [name for name, is_broken in rules.items() if is_broken[0]]
        require(not broken, f"status {solution.status!r}, but it breaks {', '.join(broken)}")
    else:
        require(not mask.any(), f"status {solution.status!r}, but something is pruned")
        require(solution.norm == 0.0, f"status {solution.status!r}, but norm {solution.norm}")
    _check_bound(problem, solution)
    if problem.n <= MAX_ENUMERATED:
        _check_against_enumeration(problem, solution, rounding)


def _check_shape(problem: Problem, solution: Solution) -> None:
    mask, pruned, kept = solution.mask, solution.pruned, solution.kept
    require(mask.dtype == np.bool_ and mask.shape == (problem.n,), "mask is not Boolean (n,)")
    require(pruned.dtype == np.int64 and kept.dtype == np.int64, "indices are not int64")
    require(np.array_equal(pruned, np.flatnonzero(mask)), "pruned contradicts mask")
    require(np.array_equal(kept, np.flatnonzero(~mask)), "kept contradicts mask")
    require(solution.size == len(pruned), "size contradicts pruned")
    require(solution.status in get_args(Status), f"unknown status {solution.status!r}")
    is_known = solution.limit in {None, *get_args(Limit)}
    require(is_known, f"unknown limit {solution.limit!r}")
    require(solution.epsilon == problem.epsilon, "epsilon is not the problem's")
    require(solution.target_size == problem.size, "target_size is not the problem's")
    require(solution.normalization == problem.normalization, "normalization is not the problem's")


def _check_bound(problem: Problem, solution: Solution) -> None:
    bound, size, norm = solution.bound, solution.size, solution.norm
    if bound is None or not solution.is_feasible:
        return
    if problem.form == "max_size":
        require(np.floor(bound) >= size, f"bound {bound} is below the size {size}")
        require(solution.gap is not None and solution.gap >= 0, f"gap is {solution.gap}")
    else:
        require(bound <= norm * (1 + 1e-9), f"bound {bound} is above the norm {norm}")


def _check_against_enumeration(problem: Problem, solution: Solution, rounding: float) -> None:
    bound, status, size, norm = solution.bound, solution.status, solution.size, solution.norm
    best = enumerate_optimum(problem)
    if best is None:
        is_truthful = status in {"infeasible", "unknown"}
        require(is_truthful, f"no subset is feasible, but status is {status!r}")
        return
    require(status != "infeasible", "status 'infeasible', but a feasible subset exists")
    if problem.form == "max_size":
        is_valid = bound is None or np.floor(bound) >= best.size
        require(is_valid, f"bound {bound} is below the optimum {best.size}")
        is_true = status != "optimal" or size == best.size
        require(is_true, f"'optimal' with size {size}, the optimum is {best.size}")
    else:
        largest = best.norm * (1 + 1e-9) + rounding
        is_valid = bound is None or bound <= largest
        require(is_valid, f"bound {bound} is above the optimum {best.norm}")
        is_true = status != "optimal" or norm <= largest
        require(is_true, f"'optimal' with norm {norm}, the optimum is {best.norm}")
