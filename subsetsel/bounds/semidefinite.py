"""The semidefinite relaxation of Eq. 3: a bound that knows W to be binary.

Beside its weight w_i every example gets a deviation r_i in R^k with ||r_i||^2 = w_i - w_i^2, as if
W were random with mean w: the squared norm that W then has on average is ||S^T w||^2 + ||S^T R||^2,
and no choice of correlations makes the second term vanish. The optimum over (w, R) is that of a
semidefinite program in n + 1 dimensions; at low rank it is solved one example at a time, as the
mixing method does. Only a core near the margin is swept; the others answer linearly, through
`Medium`.

The bound is not read off the primal point: its multipliers D are proved and evaluated by
`subsetsel.bounds.diagonal`, so that it holds wherever the search is stopped. It pays where examples
are few for the dimension (n / d of a few); with many, deviations cost next to nothing.

References
----------
Wang, Chang, Kolter, The mixing method: low-rank coordinate descent for semidefinite programming
with diagonal constraints, arXiv:1706.00476. Burer, Monteiro, A nonlinear programming algorithm for
solving semidefinite programs via low-rank factorization, Math. Program. 95 (2003).
"""

from __future__ import annotations

import time

import numpy as np
from numpy.linalg import norm

from subsetsel.bounds.diagonal import Medium, tangent_bound
from subsetsel.bounds.dual import Dual
from subsetsel.bounds.relaxation import Ascent, Relaxation, Shares, shares_within
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import FloatArray, IndexArray

# Dimensions of a deviation. In all problems that were tried the optimum had a rank below 12.
_RANK = 24
# The core holds at most so many examples, with |D_i| below this many examples in the objective.
_MOST_IN_CORE, _NEAR = 2000, 0.3
_LEAST_DROP = 1e-3
# Squares of squares must stay within float64.
_TINY = 1e-70
_NUM_SWEEPS = 60
# Without a time limit there are as many rounds as _USUAL_WORK multiplications allow. With one, the
# first round begins if it would fit at _PACE multiplications a second, which every core exceeds.
_MAX_ROUNDS, _USUAL_WORK, _PACE = 24, 2e11, 5e9
# Deviations may take this share of the bytes of S, or _MOST_BYTES if that is more.
_MOST_OF_S, _MOST_BYTES = 0.1, 2**26
# Three rounds that gain less than this share of the gap are the last.
_LEAST_GAIN = 0.02
# How far the tightened relaxation is solved in each: relatively, and in examples.
_GAPS = (1e-5, 0.05)


def strengthen(
    problem: Problem, relaxation: Relaxation, size: int, time_limit: float = np.inf
) -> float:
    """Tighten the bound of a relaxation.

    Parameters
    ----------
    problem : Problem
        Of the form "max_size" with normalization "full", with rows that can be read one by one.
    relaxation : Relaxation
        Of this problem.
    size : int
        Of the best subset known: the search ends where the gap to it hardly shrinks any more.
    time_limit : float
        Seconds; a round that would probably not fit is not begun.

    Returns
    -------
    float
        A proven upper bound on the size, at most that of the relaxation.
    """
    largest = float(problem.rows.squared_norms[problem.free].max(initial=0.0))
    # Squares of the rows, and of the dual direction, must be numbers to be divided by.
    if not _TINY < largest < 1.0 / _TINY or not 0.0 < norm(relaxation.dual.u) < 1.0 / _TINY:
        return relaxation.bound
    work = problem.n * problem.d**2
    num_bytes = 8 * problem.n * _RANK
    if num_bytes > max(_MOST_BYTES, _MOST_OF_S * problem.rows.nbytes) or work / _PACE > time_limit:
        return relaxation.bound
    num_rounds = _MAX_ROUNDS if time_limit < np.inf else min(_MAX_ROUNDS, int(_USUAL_WORK / work))
    bounds = [relaxation.bound]
    started = time.perf_counter()
    search = _Search(problem, relaxation)
    for number in range(num_rounds):
        elapsed = time.perf_counter() - started
        if time_limit <= elapsed * (number + 1) / max(number, 1):
            break
        try:
            bounds.append(min(bounds[-1], search.advance(time_limit - elapsed)))
        except np.linalg.LinAlgError:
            # The rows differ so much in length that rounding makes the matrix singular.
            break
        is_tight = np.floor(bounds[-1]) <= size
        gain, left = bounds[max(0, number - 2)] - bounds[-1], bounds[-1] - size
        if is_tight or (number >= 2 and gain < _LEAST_GAIN * left):
            break
    return bounds[-1]


class _TightAscent(Ascent):
    """Coordinate ascent on the relaxation that a proved diagonal tightens."""

    def begin(self, weights: FloatArray, lam: float, y: FloatArray) -> None:
        """Start here."""
        self.weights = weights.copy()
        self.start_at(lam)
        self.total = self.problem.sum(weights)
        self.columns = self.problem.constraints.columns(weights)
        self.multipliers = y.copy()

    def tighten(self, diagonal: FloatArray, time_limit: float) -> float:
        """Ascend with this diagonal; give the bound."""
        self.diagonal = diagonal
        self.best = self._dual()
        self.run(_GAPS, time_limit)
        return self.best.bound

    def _dual(self) -> Dual:
        y = self.multipliers * self.lam
        return tangent_bound(self.problem, self.diagonal, self.weights, y)

    def _shares(self) -> Shares:
        inner = self.diagonal * self.weights
        extra = float(inner.sum()), float(inner @ self.weights)
        return shares_within(self.total - self.fixed, self.fixed, self.ball, extra)

    def length(self) -> float:
        weights = self.weights
        added = float((self.diagonal * weights) @ (1.0 - weights))
        return float(np.sqrt(max(0.0, float(self.total @ self.total) + added)))


class _Search:
    """Weights, deviations and multipliers on their way to the optimum."""

    def __init__(self, problem: Problem, relaxation: Relaxation) -> None:
        self.problem, self.rows = problem, problem.rows
        self.ascent = _TightAscent(problem)
        self.lam = self.ascent.ball / float(norm(relaxation.dual.u))
        self.y = relaxation.dual.y
        self.gains = np.ones(problem.n)
        if len(problem.constraints):
            self.gains -= problem.constraints.matrix.T @ self.y
        self.weights = relaxation.weights.astype(np.float64)
        self.deviations = np.zeros((problem.n, _RANK))
        # -D / lam: what holds an example at 0 or 1, in examples.
        self.drops = np.maximum(2.0 * np.abs(relaxation.dual.reduced_costs), _LEAST_DROP)
        self.rng = np.random.default_rng(0)
        self.ascent.begin(self.weights, self.lam, self.y)

    def advance(self, time_limit: float = np.inf) -> float:
        """Do one round and give the bound that its multipliers prove."""
        core, others = self._split()
        medium = Medium(self.rows, core, others, self.drops[others] * self.lam)
        self._sweep_core(medium)
        in_core, in_others = self._answer(medium)
        bound = self._evaluate(medium, -in_core, time_limit)
        drops = self.drops
        drops[core] = np.maximum(in_core, _LEAST_DROP)
        drops[others] = np.maximum(0.5 * (drops[others] + in_others), _LEAST_DROP)
        return bound

    def _split(self) -> tuple[IndexArray, IndexArray]:
        free = np.flatnonzero(self.problem.free)
        near = free[self.drops[free] < _NEAR]
        if near.size > _MOST_IN_CORE:
            nearest = np.argpartition(self.drops[near], _MOST_IN_CORE - 1)[:_MOST_IN_CORE]
            near = np.sort(near[nearest])
        is_other = self.problem.free.copy()
        is_other[near] = False
        return near, np.flatnonzero(is_other)

    def _sweep_core(self, medium: Medium) -> None:
        """Move weights and deviations of the core, the others answering in the medium."""
        from subsetsel.bounds._semidefinite_kernels import core_sweep

        core = medium.raised
        weights, deviations = self.weights[core], self._seeded(core)
        gram = medium.raised_rows @ medium.raised_rows.T / self.lam
        softened = medium.softened / self.lam
        total = self.problem.sum(self.weights)
        products = gram @ weights
        gains = self.gains[core] - medium.raised_rows @ total / self.lam + products
        for _ in range(_NUM_SWEEPS):
            moved = core_sweep(
                gram=gram,
                softened=softened,
                gains=gains,
                weights=weights,
                deviations=deviations,
                products=products,
                order=self.rng.permutation(core.size),
            )
            if moved < 1e-3:
                break
        self.weights[core], self.deviations[core] = weights, deviations

    def _seeded(self, core: IndexArray) -> FloatArray:
        """Deviations of the core, at random where an example had none."""
        deviations = self.deviations[core]
        empty = np.flatnonzero(~deviations.any(axis=1))
        fresh = self.rng.normal(size=(empty.size, _RANK))
        weights = self.weights[core[empty]]
        lengths = np.sqrt(np.maximum(weights - weights**2, 1e-8))
        deviations[empty] = fresh * (lengths / norm(fresh, axis=1))[:, None]
        return deviations

    def _answer(self, medium: Medium) -> tuple[FloatArray, FloatArray]:
        """Update the examples outside the core; give the stationary -D / lam, in and outside it."""
        core, others, lam = medium.raised, medium.lowered, self.lam
        # S^T R of everyone, over lam.
        shared = medium.response @ self.deviations[core] / lam
        curvature = self.rows.squared_norms / lam
        pulls = np.empty((others.size, _RANK))
        size = max(self.rows.block_size, 1024)
        for start in range(0, others.size, size):
            part = self.rows.take(others[start : start + size]).astype(np.float64)
            pulls[start : start + size] = part @ shared
        self.deviations[others] = -pulls / self.drops[others][:, None]
        prices = self.rows.dot(self.problem.sum(self.weights)) / lam
        held = self.gains - prices + curvature * (self.weights - 0.5)

        own = curvature[others][:, None] * self.deviations[others]
        force = np.sqrt(held[others] ** 2 + ((own - pulls) ** 2).sum(axis=1))
        self.weights[others] = 0.5 + 0.5 * held[others] / np.maximum(force, 1e-300)
        in_others = 2.0 * force - curvature[others]

        prices = self.rows.dot(self.problem.sum(self.weights)) / lam
        held = self.gains - prices + curvature * (self.weights - 0.5)
        own = curvature[core][:, None] * self.deviations[core]
        pulls = medium.softened @ self.deviations[core] / lam
        force = np.sqrt(held[core] ** 2 + ((own - pulls) ** 2).sum(axis=1))
        return 2.0 * force - curvature[core], in_others

    def _evaluate(self, medium: Medium, raises: FloatArray, time_limit: float) -> float:
        """Prove D, find the bound with it, and take up its multipliers."""
        proved = medium.prove(raises * self.lam)
        if proved is None:
            return np.inf
        diagonal = np.zeros(self.problem.n)
        diagonal[medium.raised], diagonal[medium.lowered] = proved, -medium.drops
        bound = self.ascent.tighten(diagonal, time_limit)
        self.lam = self.ascent.lam
        return bound
