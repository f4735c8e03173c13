"""Where the chains of Eq. 3 begin: at the rounded or settled relaxation, or at the best subset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from subsetsel.bounds.relaxation import Relaxation
from subsetsel.engine.run import Run
from subsetsel.problem.linear import find_mask
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, IndexArray

from ._continuation import Aim, Weights, settle, springs_of

# The energy divides by lam, so lam is no smaller than this.
_LEAST_LAM = 1e-280
# Hot and cold ends, in units of what flipping a large or a small core row costs in curvature.
_HOT, _COLD = 0.1, 0.3
# A chain that starts from a good subset begins at this share of the hot end.
_REHEAT = 0.15
# Rows that are led to 0 or 1, in fractional weights of the relaxation; stages of that where no
# clock sets their number; share of the remaining time.
_SETTLE_FACTOR, _NUM_STAGES, _SETTLE_SHARE = 10, 120, 0.3
# A copy of these rows is faster to read than S. It may take this many bytes, or a fifth of S.
_SETTLE_BYTES = 2**25


@dataclass(frozen=True)
class Start:
    """Where a chain begins: a subset, its open examples, lam, and a share of the usual heat."""

    mask: BoolArray
    core: IndexArray
    lam: float
    heat: float


class Starts:
    """Starting points on the margin of the relaxation.

    With ``lam`` the energy ||v||^2 / (2 lam) - count has the slope of the dual where ||v|| =
    epsilon. ``num_fractional`` weights of the relaxation are strictly between 0 and 1.
    """

    def __init__(self, problem: Problem, run: Run, relaxation: Relaxation) -> None:
        self.problem, self.run, self.relaxation = problem, run, relaxation
        assert problem.epsilon is not None
        self.squared_norms = problem.rows.squared_norms
        typical = float(np.sqrt(self.squared_norms.mean())) or 1.0
        slope = float(np.linalg.norm(relaxation.dual.u))
        # With epsilon = 0 the energy still needs a scale.
        radius = max(problem.epsilon, 1e-6 * typical)
        lam = radius / slope if slope > 0 else radius * typical
        # It divides squared norms; radii and slopes may differ by hundreds of decades.
        self.lam = max(lam, _LEAST_LAM)
        weights = relaxation.weights
        fractional = (weights > 0) & (weights < 1) & problem.free
        self.num_fractional = int(np.count_nonzero(fractional))
        self.distance = np.abs(relaxation.dual.reduced_costs)
        self.distance[fractional] = 0.0
        self.distance[~problem.free] = np.inf

    def round_off(self) -> None:
        """Prune by descending reduced cost as far as the ball allows: a first feasible subset.

        From the far end the prefix is shortened by larger and larger steps until it is inside the
        ball; then the range between the two is halved.
        """
        problem = self.problem
        reduced = np.where(problem.free, self.relaxation.dual.reduced_costs, -np.inf)
        order = np.argsort(-reduced, kind="stable")
        step = 1
        inside, outside = 0, min(int(np.count_nonzero(reduced > 0)) + 1, problem.max_size + 1)
        while outside - inside > 1 and not self.run.should_stop():
            middle = (inside + outside) // 2 if inside else max(1, outside - step)
            step *= 2
            mask = problem.must_prune.copy()
            mask[order[:middle]] = True
            mask = self._within_limits(mask, 0)
            norm = float(np.linalg.norm(self.run.sum_of(mask)))
            if norm <= problem.radius(int(mask.sum())):
                self.run.submit(mask)
                inside = middle
            else:
                outside = middle
            if inside and outside - inside < max(1, inside // 100):
                break

    def rounded(self, number: int, core_size: int) -> Start:
        """Round the relaxed weights at random and open the examples nearest to the margin."""
        rng = self.run.generator(1, number)
        core = np.sort(np.argsort(self.distance, kind="stable")[:core_size])
        mask = (self.relaxation.dual.reduced_costs > 0) & self.problem.free
        mask |= self.problem.must_prune
        mask[core] = rng.random(core.size) < self.relaxation.weights[core]
        return Start(self._within_limits(mask, self._seed(number)), core, self.lam, 1.0)

    def _settled(self, number: int, core_size: int, quota: int | None) -> Start | None:
        """Lead the relaxed weights to a subset, see `_continuation`; None if there is no time."""
        problem, relaxation = self.problem, self.relaxation
        assert problem.epsilon is not None
        wanted, copied = self._num_settled()
        whole = problem.rows.dense() if copied < wanted else None
        core = np.argsort(self.distance, kind="stable")[: wanted if whole is not None else copied]
        core = np.sort(core)
        mask = (relaxation.dual.reduced_costs > 0) & problem.free | problem.must_prune
        values = mask.astype(np.float64)
        values[core] = relaxation.weights[core]
        scale = float(np.median(self.squared_norms[core]))
        if whole is not None:
            total = values.astype(whole.dtype) @ whole
            springs = springs_of(problem, values, scale)
            weights = Weights(whole, self.squared_norms, values, total, core, springs)
        else:
            mask[core] = False
            rows, part = problem.rows.take(core), values[core]
            total = self.run.sum_of(mask) + part.astype(rows.dtype) @ rows
            springs = springs_of(problem, values, scale, core)
            norms = self.squared_norms[core]
            weights = Weights(rows, norms, part, total, np.arange(core.size), springs)
        chosen = settle(
            weights,
            self.run,
            self.run.generator(5, number),
            share=_SETTLE_SHARE,
            num_stages=_NUM_STAGES,
            aim=Aim(self.lam, problem.epsilon),
            quota=quota,
        )
        if chosen is None:
            return None
        mask[core] = chosen if whole is None else chosen[core]
        mask = self._within_limits(mask, self._seed(number))
        if self.run.limits.num_workers == 1:
            self.run.submit(mask)
        # Outside the ball the relaxation's multiplier would lead further out.
        is_inside = float(np.linalg.norm(self.run.sum_of(mask))) <= problem.epsilon
        return self._around(mask, number, core_size, self.lam if is_inside else weights.lam)

    def _num_settled(self) -> tuple[int, int]:
        """How many rows near the margin to lead to 0 or 1, and of how many a copy is small."""
        rows = self.problem.rows
        most = int(max(_SETTLE_BYTES, 0.2 * rows.nbytes) / (rows.d * rows.dtype.itemsize))
        wanted = max(1000, _SETTLE_FACTOR * self.num_fractional)
        wanted = min(wanted, int(self.problem.free.sum()))
        return wanted, min(wanted, most)

    def anew(self, number: int, core_size: int, quota: int | None) -> Start:
        """Begin at a settled relaxation, or where there is no time for it at a rounded one."""
        start = self._settled(number, core_size, None if quota is None else quota // 2)
        return start or self.rounded(number, core_size)

    def from_best(self, number: int, core_size: int, quota: int | None = None) -> Start:
        """Open the examples whose flip costs least at the best subset."""
        assert self.run.mask is not None
        return self._around(self.run.mask.copy(), number, core_size, self.lam)

    def _around(self, mask: BoolArray, number: int, core_size: int, lam: float) -> Start:
        """Open the examples whose flip costs least at a subset, with some chance in it."""
        rng = self.run.generator(2, number)
        pull = self.problem.rows.dot(self.run.sum_of(mask))
        sign = np.where(mask, -1.0, 1.0)
        cost = (2.0 * sign * pull + self.squared_norms) / (2.0 * lam) - sign
        hot, _ = self.temperatures(np.arange(self.problem.n), lam)
        cost += 0.5 * _REHEAT * hot * -rng.gumbel(size=cost.size)
        cost[~self.problem.free] = np.inf
        core = np.sort(np.argpartition(cost, core_size - 1)[:core_size]).astype(np.int64)
        return Start(mask, core, lam, _REHEAT)

    def _seed(self, number: int) -> int:
        return int(self.run.limits.seed) + number

    def _within_limits(self, mask: BoolArray, seed: int) -> BoolArray:
        """Give the nearest subset within the linear constraints, or the same if none is found."""
        if not len(self.problem.constraints):
            return mask
        found = find_mask(self.problem, wanted=mask, seed=seed)
        return mask if found is None else found

    def temperatures(self, core: IndexArray, lam: float) -> tuple[float, float]:
        """Hot and cold end of a chain that moves these examples."""
        cost = self.squared_norms[core] / (2.0 * lam)
        cost = cost[cost > 0]
        if not cost.size:
            return 1.0, 0.1
        hot = _HOT * float(np.quantile(cost, 0.95))
        return hot, min(0.1 * hot, _COLD * float(np.quantile(cost, 0.05)))
