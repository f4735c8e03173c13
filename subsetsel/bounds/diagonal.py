"""Bounds on Eq. 3 that know W to be binary: a diagonal moved out of the quadratic form.

For W in {0, 1}^n and any diagonal D, W_i^2 = W_i gives

    ||S^T W||^2  =  W^T (S S^T - D) W + D . W.

Where S S^T - D is positive semidefinite the right side is convex, and between 0 and 1 it is larger
than ||S^T w||^2 by sum_i D_i w_i (1 - w_i): the relaxation with it is tighter. With n > d this
takes D_i < 0 for most examples, which costs nothing where w_i is 0 or 1 for good (`semidefinite`).

What is claimed rests on two inequalities that are checked here in float64 with every rounding
error on the safe side, whoever proposes D and w:

1. S S^T - D >= 0. Let P hold the examples with D_i > 0, N the others, and
   M = I + sum_N s_i s_i^T / |D_i|. Minimizing over x_N, the form is nonnegative if
   S_P M^-1 S_P^T >= D_P; and for any B, S_P M^-1 S_P^T >= S_P B + B^T S_P^T - B^T M B, so that an
   inexact inverse proves as well.
2. The tangent of a convex function lies below it: for any w and lam > 0 the size is at most
   (epsilon^2 + w^T (S S^T - D) w) / (2 lam) + sum_i max(0, 1 - c_i / lam) with the slopes
   c_i = s_i . S^T w + D_i (1 / 2 - w_i).

References
----------
Poljak, Rendl, Wolkowicz, A recipe for semidefinite relaxation for (0,1)-quadratic programming,
J. Global Optim. 7 (1995). Billionnet, Elloumi, Plateau, Improving the performance of standard
solvers for quadratic 0-1 programs by a tight convex reformulation, Discrete Appl. Math. 157 (2009).
Rump, Verification of positive definiteness, BIT 46 (2006).
"""

from __future__ import annotations

import numpy as np
from numpy.linalg import norm
from scipy import linalg

from subsetsel.bounds.dual import Dual, best_scale, limits_of
from subsetsel.problem.problem import FEASIBILITY, Problem
from subsetsel.rows.base import UNIT, FloatArray, IndexArray, Rows, euclidean

# Attempts to prove definiteness, each with ten times the margin of the one before.
_NUM_ATTEMPTS = 4


class Medium:
    """How the examples with D_i < 0 weaken the quadratic form of the examples with D_i > 0.

    Parameters
    ----------
    rows : Rows
    raised : ndarray of shape (k,), int64
        P: those that may get D_i > 0.
    lowered : ndarray of int64
        N: all other free examples.
    drops : ndarray of float64
        |D_i| > 0 of these.

    Attributes
    ----------
    raised_rows : ndarray of shape (k, d), float64
        S_P.
    response : ndarray of shape (d, k)
        B, about M^-1 S_P^T.
    softened : ndarray of shape (k, k)
        A lower limit of S_P M^-1 S_P^T up to rounding.
    """

    def __init__(
        self, rows: Rows, raised: IndexArray, lowered: IndexArray, drops: FloatArray
    ) -> None:
        self.raised, self.lowered, self.drops = raised, lowered, drops
        self.raised_rows = rows.take(raised).astype(np.float64)
        matrix = np.eye(rows.d)
        size = max(rows.block_size, 1024)
        for start in range(0, lowered.size, size):
            part = rows.take(lowered[start : start + size]).astype(np.float64)
            part /= np.sqrt(drops[start : start + size])[:, None]
            matrix += part.T @ part
        factor = linalg.cho_factor(matrix, lower=True)
        self.response = linalg.cho_solve(factor, self.raised_rows.T)
        crossed = self.raised_rows @ self.response
        form = crossed + crossed.T - self.response.T @ (matrix @ self.response)
        self.softened = 0.5 * (form + form.T)
        # Rounding of M is at most that of its n terms, of which the trace is the sum; that of the
        # products is bounded by the Frobenius norms of their factors. Both as if the rows were
        # exact; where they are handed out in float32, that error enters twice in each product.
        spread, of_rows = float(norm(self.response)), 3.0 * rows.block_error
        of_matrix = 2 * UNIT * (lowered.size + 8) + of_rows
        length = float(norm(self.raised_rows))
        self._error = of_matrix * float(np.trace(matrix)) * spread**2 + of_rows * spread * length
        longest = length + spread * float(norm(matrix))
        self._error += 4 * UNIT * (2 * rows.d + 8) * spread * longest

    def prove(self, raises: FloatArray) -> FloatArray | None:
        """Lower D_P until S S^T - D is proved positive semidefinite.

        Parameters
        ----------
        raises : ndarray of shape (k,)
            D_P as wanted.

        Returns
        -------
        ndarray of shape (k,) or None
            None where rounding hides the answer.
        """
        k = raises.size
        if k == 0:
            return raises
        gap = self.softened - np.diag(raises)
        least = float(linalg.eigvalsh(gap, subset_by_index=[0, 0])[0])
        trace = float(np.abs(np.diag(gap)).sum()) + k * abs(min(least, 0.0))
        # In floating point, a Cholesky factorization that succeeds proves definiteness up to this.
        slack = self._error + 4 * UNIT * (k + 4) * trace
        margin = 4 * UNIT * (k + 4) * trace + 1e-14 * trace
        for attempt in range(_NUM_ATTEMPTS):
            lowered = raises + min(least, 0.0) - slack - margin * 10**attempt
            certain = self.softened - np.diag(lowered + slack)
            try:
                linalg.cholesky(certain, lower=True, check_finite=True)
            except (linalg.LinAlgError, ValueError):
                continue
            return np.asarray(lowered, dtype=np.float64)
        return None


def tangent_bound(
    problem: Problem,
    diagonal: FloatArray,
    weights: FloatArray,
    y: FloatArray,
) -> Dual:
    """Bound the size by the tangent at ``weights``, with the best multiplier.

    Parameters
    ----------
    problem : Problem
        Of the form "max_size" with normalization "full".
    diagonal : ndarray of shape (n,)
        D, for which S S^T - D is proved positive semidefinite on the free examples; 0 elsewhere.
    weights : ndarray of shape (n,)
        Any; a good one is optimal for the relaxation. 1 for those that must be pruned.
    y : ndarray of shape (c,)
        Multipliers of the linear constraints, in the unit of S squared: those of `Dual` times lam.

    Returns
    -------
    Dual
        With u = S^T w over the best multiplier, and reduced costs to match.
    """
    rows, free = problem.rows, problem.free
    assert problem.epsilon is not None
    total, fixed = problem.sum(weights), problem.sum(problem.must_prune)
    allowed = problem.epsilon * (1 + FEASIBILITY)
    moving = total - fixed
    inner = diagonal * weights
    prices = rows.dot(total) - inner + 0.5 * diagonal
    # Fixed examples count in the norm; their weights do not move, so they have no slope.
    prices[~free] = 0.0
    limits = limits_of(problem, y)
    if len(problem.constraints):
        prices += problem.constraints.matrix.T @ y
    square = float(moving @ moving) - float(fixed @ fixed) - float(inner[free] @ weights[free])
    constant = 0.5 * (allowed**2 + square) + float(limits @ y)

    length, reach = float(norm(total)), float(norm(fixed)) + allowed
    # Error of every S^T W, of total against every one in the ball, of prices, of the constant.
    of_any, of_total = float(rows.row_error.sum()), float(rows.row_error @ np.abs(weights))
    if problem.offset is not None:
        of_any += 2 * UNIT * euclidean(problem.offset)
        of_total += 2 * UNIT * euclidean(problem.offset)
    error = of_any * (allowed + of_any + length) + 4 * UNIT * float(np.abs(diagonal).sum())
    error += of_total * (2 * (reach + of_any) + 2 * length + of_total)
    terms = allowed**2 + 4 * length**2 + 4 * float(fixed @ fixed) + 2 * float(np.abs(inner).sum())
    error += 8 * UNIT * (problem.n + problem.d) * terms
    if len(problem.constraints):
        magnitudes = abs(problem.constraints.matrix).T @ np.abs(y)
        error += UNIT * (len(y) + 4) * (float(magnitudes.sum()) + float(np.abs(limits * y).sum()))
    constant += error

    scale = best_scale(prices, constant, problem)
    reduced = 1.0 - scale * prices
    gains = np.where(problem.must_prune, reduced, np.maximum(reduced, 0.0))
    gains[problem.must_keep] = 0.0
    bound = scale * constant + float(gains.sum())
    size_of_terms = float(np.abs(gains).sum()) + abs(scale * constant)
    bound += 4 * UNIT * (problem.n + np.log2(problem.n + 2) * size_of_terms)
    bound = max(min(bound, float(problem.max_size)), 0.0)
    return Dual(scale * total, scale * y, bound, reduced)
