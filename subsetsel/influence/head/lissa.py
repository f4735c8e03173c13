"""S by LiSSA, the stochastic recursion the paper uses: for comparison, not for certificates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from subsetsel.errors import OptionError, ProblemError
from subsetsel.influence.head.formula import HeadInfluence, Point, Ridge
from subsetsel.influence.head.head import Head
from subsetsel.influence.head.objective import HeadObjective
from subsetsel.support.clock import NO_CLOCK, Clock
from subsetsel.support.threads import by_blocks

_POWER_STEPS = 30
_NUM_SCALED = 8
_MAX_STEPS = 20_000
_COLUMNS = 256


@dataclass(frozen=True, eq=False)
class LissaRows:
    """S by LiSSA, with its residual and its number of steps.

    Attributes
    ----------
    S : ndarray of shape (n, d), float32
    residual : float
        Largest ||H u - v|| / ||v|| over the rows, with the full Hessian.
    scale : float
        s.
    num_steps : int
    """

    S: NDArray[np.float32]
    residual: float
    scale: float
    num_steps: int


@by_blocks()
def lissa_influence(
    head: Head,
    *,
    ridge: Ridge = "included",
    num_steps: int | None = None,
    batch_size: int | None = None,
    scale: float | None = None,
    damping: float = 0.0,
    tolerance: float = 1e-2,
    seed: int = 0,
    clock: Clock = NO_CLOCK,
) -> LissaRows:
    """Approximate S by the recursion u <- v + (1 - a) u - H_b u / s, S_i = u / s.

    H_b is the Hessian of a random batch, l2 included, in columns scaled as `fit_head` scales them.
    The fixed point of u is s (H + a s I)^-1 v. It takes about (s / l2) log(1 / tolerance) steps,
    and stopping early makes row norms too small.

    Parameters
    ----------
    head : Head
    ridge : {"included", "excluded"}
    num_steps : int, optional
        By default as many as ``tolerance`` needs, at most 20,000.
    batch_size : int, optional
        All examples by default.
    scale : float, optional
        s; by default 1.1 times the largest eigenvalue among several batches.
    damping : float
        a; adds a s to every eigenvalue, which is another S.
    tolerance : float
        Refuse a result whose residual is larger; ``math.inf`` takes whatever comes out.
    seed : int
    clock : Clock
        Ends the work: `TimeIsUp` is raised.

    Returns
    -------
    LissaRows

    Raises
    ------
    ProblemError
        If the recursion diverges, or ends above the tolerance: nothing can be certified with it.
    OptionError
        For an option out of its range.

    References
    ----------
    Agarwal et al., Second-Order Stochastic Optimization for Machine Learning in Linear Time, 2016,
    arXiv:1602.03943; Yang et al., ICLR 2023, arXiv:2205.09329.
    """
    objective, theta = head.objective_function.timed(clock), head.to_scaled(head.theta)
    _check(objective, num_steps, batch_size, scale, damping)
    rng = np.random.default_rng(seed)
    batches = _Batches(objective, theta, batch_size, rng)
    s = batches.largest_eigenvalue() * 1.1 if scale is None else float(scale)
    steps = num_steps or _needed_steps(s, objective.l2, tolerance)
    point = Point.of_head(head, ridge=ridge, metric="parameter", clock=clock)
    exact = HeadInfluence(head.objective_function, point, clock=clock)
    S = np.empty(exact.shape, dtype=np.float32)
    worst = 0.0
    for start in range(0, objective.n, _COLUMNS):
        rows = slice(start, min(start + _COLUMNS, objective.n))
        columns = exact.gradients(rows)
        u = columns.clone()
        for _ in range(steps):
            u = columns + (1 - damping) * u - batches.multiply(u) / s
        if not bool(torch.isfinite(u).all()):
            raise ProblemError(
                f"LiSSA diverged: scale = {s:.3g} is below the largest eigenvalue of some batch; "
                "leave scale out, or take larger batches."
            )
        u /= s
        residual = (objective.multiply(theta, u) - columns).norm(dim=0) / columns.norm(dim=0)
        worst = max(worst, float(residual.max()))
        S[rows] = (u / exact.inverse.scale[:, None]).T.cpu().numpy()
    if worst > tolerance:
        raise ProblemError(
            f"LiSSA ended at a relative residual of {worst:.2g} after {steps:,} steps, more than "
            f"tolerance = {tolerance:g}; nothing can be certified with such rows. Use "
            "influence_rows, give more steps or larger batches, or tolerance=math.inf to look at "
            "them all the same."
        )
    return LissaRows(S, worst, s, steps)


def _check(
    objective: HeadObjective, num_steps: Any, batch_size: Any, scale: Any, damping: float
) -> None:
    if objective.in_shards:
        raise OptionError(
            "lissa_influence draws batches of features in memory, and those of this head lie in "
            "shards; use influence_rows, or lissa_influence of a head trained on an array."
        )
    if num_steps is not None and num_steps < 1:
        raise OptionError(f"num_steps must be at least 1, got {num_steps!r}.")
    if batch_size is not None and not 1 <= batch_size <= objective.n:
        raise OptionError(f"batch_size must be from 1 to n = {objective.n}, got {batch_size!r}.")
    if scale is not None and not 0 < scale < math.inf:
        raise OptionError(f"scale must be positive and finite, got {scale!r}.")
    if not 0 <= damping < 1:
        raise OptionError(f"damping must be at least 0 and below 1, got {damping!r}.")


def _needed_steps(scale: float, l2: float, tolerance: float) -> int:
    wanted = math.log(1 / min(max(tolerance, 1e-12), 0.5)) + math.log(max(scale / l2, 1.0))
    return max(1, min(_MAX_STEPS, math.ceil(scale / l2 * wanted)))


class _Batches:
    """Hessian products over random batches."""

    def __init__(
        self, objective: HeadObjective, theta: Tensor, size: int | None, rng: np.random.Generator
    ) -> None:
        self._on, self._theta, self._size, self._rng = objective, theta, size, rng

    def draw(self) -> HeadObjective:
        if self._size is None or self._size == self._on.n:
            return self._on
        mask = np.zeros(self._on.n, dtype=np.bool_)
        mask[self._rng.choice(self._on.n, self._size, replace=False)] = True
        return self._on.restrict(mask).timed(self._on.clock)

    def multiply(self, columns: Tensor) -> Tensor:
        return self.draw().multiply(self._theta, columns)

    def largest_eigenvalue(self) -> float:
        """Power iteration on several batches; the largest of them."""
        found = []
        for _ in range(1 if self._size is None else _NUM_SCALED):
            batch = self.draw()
            start = self._rng.standard_normal((batch.d, 1))
            vector = torch.as_tensor(start, device=self._theta.device)
            for _ in range(_POWER_STEPS):
                vector = batch.multiply(self._theta, vector / vector.norm())
            found.append(float(vector.norm()))
        return max(found)
