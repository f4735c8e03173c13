"""Eq. 3: anneal the few examples that the relaxation leaves open.

At the relaxed optimum an example with a large reduced cost 1 - s_i . u is decided; what is left is
a core around the margin. With the core's Gram matrix at hand a proposal costs O(1) and an accepted
one O(core). The first generation of chains starts from the rounded relaxation; later ones start
from the best subset, on a core chosen by what a flip would cost there, or afresh on a larger or
smaller core, whichever did better.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from subsetsel.candidate import Candidate
from subsetsel.polytope import find_mask
from subsetsel.problem import Problem
from subsetsel.relaxation import Relaxation
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray
from subsetsel.run import Run

from ._anneal_kernels import core_chain, row_flips
from ._chains import Schedule, columns_of, quota_of, run_together, search_rows, walk

if TYPE_CHECKING:
    from .anneal import AnnealOptions

_MIN_CORE, _MAX_CORE = 64, 4000
# Fractional weights times this, for the first core.
_CORE_FACTOR = 2.2
_NUM_CHAINS = 6
# Hot and cold ends in units of what flipping a large or small core row costs in curvature.
_HOT, _COLD = 0.1, 0.3
# A chain that starts from the best subset begins at this share of the hot end.
_REHEAT = 0.15
# Every so many generations one starts afresh from the relaxation.
_FRESH_EVERY = 4
# Above this proven gap after the first core, all rows are annealed before the next one.
_WIDE_GAP = 0.01
# Its temperatures, in examples.
_ROW_HEAT = (0.3, 0.02)


@dataclass(frozen=True)
class _Start:
    """Where a chain begins."""

    mask: BoolArray
    core: IndexArray
    lam: float
    heat: float


def search_core(problem: Problem, options: AnnealOptions, run: Run) -> Candidate:
    """Maximize the size from the relaxation.

    Parameters
    ----------
    problem : Problem
        Of the form "max_size" with normalization "full".
    options : AnnealOptions
    run : Run

    Returns
    -------
    Candidate
    """
    relaxation = run.relaxation
    assert relaxation is not None
    empty = find_mask(problem)
    if empty is None:
        return Candidate(is_infeasible=True)
    run.submit(empty)
    guess = run.initial_mask()
    if guess is not None:
        run.submit(guess)
    search = _CoreSearch(problem, options, run, relaxation)
    search.round_off()
    num_generations = search.go()
    return Candidate(
        limit=run.limit,
        stats={
            "num_generations": num_generations,
            "core_size": search.core_size,
            "relaxed_value": relaxation.value,
            "relaxation_time": relaxation.solve_time,
        },
    )


class _CoreSearch:
    """Generations of chains, each on a core of its own."""

    def __init__(
        self, problem: Problem, options: AnnealOptions, run: Run, relaxation: Relaxation
    ) -> None:
        self.problem, self.options, self.run, self.relaxation = problem, options, run, relaxation
        assert problem.epsilon is not None
        self.squared_norms = problem.rows.squared_norms
        typical = float(np.sqrt(self.squared_norms.mean())) or 1.0
        slope = float(np.linalg.norm(relaxation.dual.u))
        # With epsilon = 0 the energy still needs a scale.
        radius = max(problem.epsilon, 1e-6 * typical)
        self.lam = radius / slope if slope > 0 else radius * typical
        weights = relaxation.weights
        fractional = (weights > 0) & (weights < 1) & problem.free
        self.distance = np.abs(relaxation.dual.reduced_costs)
        self.distance[fractional] = 0.0
        self.distance[~problem.free] = np.inf
        num_free = int(problem.free.sum())
        # The Gram matrix stays small beside S.
        most = min(_MAX_CORE, num_free, int(np.sqrt(max(2**23, 0.2 * problem.rows.nbytes) / 8)))
        self.max_core = max(min(most, num_free), 1)
        wanted = options.core_size or int(_CORE_FACTOR * np.count_nonzero(fractional))
        self.core_size = int(np.clip(wanted, min(_MIN_CORE, self.max_core), self.max_core))

    # --- starts ---------------------------------------------------------------------------------

    def round_off(self) -> None:
        """Prune by descending reduced cost as far as the ball allows: a first feasible subset."""
        problem = self.problem
        reduced = np.where(problem.free, self.relaxation.dual.reduced_costs, -np.inf)
        order = np.argsort(-reduced, kind="stable")
        # Draw in by larger and larger steps until inside the ball, then halve what is between.
        step = 1
        inside, outside = 0, min(int(np.count_nonzero(reduced > 0)) + 1, problem.max_size + 1)
        while outside - inside > 1 and not self.run.should_stop():
            middle = (inside + outside) // 2 if inside else max(1, outside - step)
            step *= 2
            mask = problem.must_prune.copy()
            mask[order[:middle]] = True
            if len(problem.constraints):
                repaired = find_mask(problem, wanted=mask)
                mask = mask if repaired is None else repaired
            norm = float(np.linalg.norm(self.run.sum_of(mask)))
            if norm <= problem.radius(int(mask.sum())):
                self.run.submit(mask)
                inside = middle
            else:
                outside = middle
            if inside and outside - inside < max(1, inside // 100):
                break

    def _fresh(self, number: int, core_size: int) -> _Start:
        """Round the relaxed weights at random and open the examples nearest to the margin."""
        rng = self.run.generator(1, number)
        core = np.sort(np.argsort(self.distance, kind="stable")[:core_size])
        mask = (self.relaxation.dual.reduced_costs > 0) & self.problem.free
        mask |= self.problem.must_prune
        mask[core] = rng.random(core.size) < self.relaxation.weights[core]
        return self._repaired(_Start(mask, core, self.lam, 1.0), number)

    def _from_best(self, number: int, core_size: int) -> _Start:
        """Open the examples whose flip costs least at the best subset."""
        rng = self.run.generator(2, number)
        assert self.run.mask is not None
        mask = self.run.mask.copy()
        pull = self.problem.rows.dot(self.run.sum_of(mask))
        sign = np.where(mask, -1.0, 1.0)
        cost = (2.0 * sign * pull + self.squared_norms) / (2.0 * self.lam) - sign
        hot, _ = self._temperatures(np.arange(self.problem.n))
        cost += 0.5 * _REHEAT * hot * -rng.gumbel(size=cost.size)
        cost[~self.problem.free] = np.inf
        core = np.sort(np.argpartition(cost, core_size - 1)[:core_size]).astype(np.int64)
        return _Start(mask, core, self.lam, _REHEAT)

    def _repaired(self, start: _Start, number: int) -> _Start:
        if not len(self.problem.constraints):
            return start
        seed = int(self.run.limits.seed) + number
        mask = find_mask(self.problem, wanted=start.mask, seed=seed)
        return start if mask is None else _Start(mask, start.core, start.lam, start.heat)

    # --- generations ----------------------------------------------------------------------------

    def go(self) -> int:
        """Run generations until a limit or the budget; return how many there were."""
        num_workers = self.run.limits.num_workers
        num_chains = self.options.num_chains or _NUM_CHAINS
        most = num_chains * (100 if self.run.remaining < np.inf else 1)
        usual = int(np.clip(2500 * self.core_size, 300_000, 6_000_000) * self.run.effort)
        length = self.options.num_proposals or usual
        quota = quota_of(self.run, max(num_chains, num_workers))
        number, since_fresh, try_rows, wider = 0, 0, False, self.core_size
        while number < most and not self.run.should_stop():
            before = self.run.size
            numbers = range(number, number + num_workers)
            is_fresh = self.run.mask is None or since_fresh % _FRESH_EVERY == 0
            if try_rows:
                tasks = [partial(self._row_chain, k, length, quota) for k in numbers]
            else:
                start = self._fresh if is_fresh else self._from_best
                size = wider if is_fresh else self.core_size
                tasks = [partial(self._chain, start(k, size), k, length, quota) for k in numbers]
            run_together(tasks, self.run)
            self._refine()
            if is_fresh and not try_rows:
                wider = self._next_core_size(wider, self.run.size > before)
                if number > 0 and self.run.remaining < np.inf:
                    length = min(2 * length, 50_000_000)
            # A core that leaves much of the bound unreached is not where the slack is.
            gap = self.run.gap
            try_rows = number == 0 and gap is not None and gap > _WIDE_GAP
            since_fresh += not try_rows
            number += num_workers
        return number // num_workers

    def _next_core_size(self, tried: int, has_helped: bool) -> int:
        """Keep a core size that helped; try half as large again, then a third smaller."""
        factor = 1.5 if tried <= self.core_size else 0.66
        if has_helped:
            self.core_size = tried
        least = min(_MIN_CORE, self.max_core)
        return int(np.clip(factor * self.core_size, least, self.max_core))

    def _refine(self) -> None:
        """Sharpen the bound once the incumbent is so close that it could be proved optimal."""
        bound = self.run.bound
        if bound is None or not self.run.limits.bound or self.run.should_stop():
            return
        if np.floor(bound) - self.run.size <= max(2.0, 2.0 * (bound - self.relaxation.value)):
            self.run.sharpen_bound()

    def _temperatures(self, core: IndexArray) -> tuple[float, float]:
        cost = self.squared_norms[core] / (2.0 * self.lam)
        cost = cost[cost > 0]
        if not cost.size:
            return 1.0, 0.1
        hot = _HOT * float(np.quantile(cost, 0.95))
        return hot, min(0.1 * hot, _COLD * float(np.quantile(cost, 0.05)))

    def _chain(
        self, start: _Start, number: int, length: int, quota: int | None
    ) -> BoolArray | None:
        """Cool one core down; give the best feasible subset met."""
        core, mask = start.core, start.mask
        rng = self.run.generator(3, number)
        rows = self.problem.rows.take(core).astype(np.float64)
        gram = rows @ rows.T
        total: FloatArray = self.run.sum_of(mask)
        chosen, best_chosen = mask[core], mask[core]
        products = rows @ total
        count = float(mask.sum())
        assert self.problem.epsilon is not None
        state = np.array([float(total @ total), count, start.lam, self.problem.epsilon, -1.0])
        columns = columns_of(self.problem, mask, core)
        hot, cold = self._temperatures(core)

        def call(schedule: Schedule, proposals: int) -> int:
            return int(
                core_chain(
                    gram,
                    chosen,
                    products,
                    state,
                    columns,
                    schedule,
                    proposals,
                    rng,
                    best_chosen,
                )
            )

        def best() -> BoolArray | None:
            if state[4] < 0:
                return None
            found = mask.copy()
            found[core] = best_chosen
            return found

        is_alone = self.run.limits.num_workers == 1
        shown = -1.0

        def after(_: float) -> bool:
            nonlocal shown
            if state[4] > shown:
                shown = state[4]
                found = best() if is_alone and shown > self.run.size else None
                if found is not None:
                    self.run.submit(found)
            return self._is_enough(state[4])

        temperatures = (start.heat * hot, start.heat * cold)
        walk(call, temperatures, length, self.run, quota=quota, after=after)
        return best()

    def _row_chain(self, number: int, length: int, quota: int | None) -> BoolArray | None:
        """Cool all free examples down from the rounded relaxation; give the best subset met."""
        problem = self.problem
        order = np.flatnonzero(problem.free)
        order = order[np.argsort(self.squared_norms[order], kind="stable")]
        mask = self._fresh(number, self.core_size).mask
        rows, total, _ = search_rows(problem, mask)
        assert problem.epsilon is not None
        state = np.array([float(total @ total), float(mask.sum()), self.lam, problem.epsilon, -1.0])
        columns, best_mask = columns_of(problem, mask), mask.copy()
        sorted_norms, rng = self.squared_norms[order], self.run.generator(4, number)

        def call(schedule: Schedule, proposals: int) -> int:
            return int(
                row_flips(
                    rows,
                    mask,
                    total,
                    order,
                    sorted_norms,
                    state,
                    columns,
                    schedule,
                    proposals,
                    rng,
                    best_mask,
                )
            )

        hot = min(_ROW_HEAT[0], self._temperatures(order)[0])
        walk(
            call,
            (hot, hot * _ROW_HEAT[1] / _ROW_HEAT[0]),
            length,
            self.run,
            quota=quota,
            after=lambda _: self._is_enough(state[4]),
        )
        return best_mask if state[4] >= 0 else None

    def _is_enough(self, size: float) -> bool:
        """Whether a size reaches the target or the proven bound."""
        bound, target = self.run.bound, self.run.limits.target
        is_optimal = bound is not None and size >= np.floor(bound)
        return is_optimal or (target is not None and size >= target)
