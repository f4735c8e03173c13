"""Simulated annealing: the default solver. One start, one walker, one closer.

1. Start (`_start`): weights between 0 and 1 are led to a subset (`_continuation`), under Eq. 3 from
   the relaxed optimum; or best insertions, where few examples are to be chosen.
2. Walk (`_walk`): flips and swaps at a falling temperature, of the examples that it can move. The
   first temperature is the one whose equilibrium is the energy of the start (`_margin`).
3. Close (`_local_search`): best exchanges.

``start="random"`` with ``proposals="plain"`` is the paper's own way: uniform proposals from a
random start, on the rows themselves.

References
----------
Yang et al., Dataset Pruning, ICLR 2023, arXiv:2205.09329, Section 4. Kirkpatrick, Gelatt, Vecchi,
Optimization by Simulated Annealing, Science 220 (1983).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from functools import cache, partial
from typing import ClassVar, NamedTuple

import numpy as np

from subsetsel.bounds.relaxation import Relaxation
from subsetsel.engine.options import Limits
from subsetsel.engine.other_form import maximize_size
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.engine.warm_up import Kind
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray

from ._anneal_options import AnnealOptions, Proposals
from ._best_moves import fill_up, insert_few
from ._chunk_search import is_too_large, walk_chunks
from ._first_subset import near_guess, smallest_subset
from ._local_search import LocalSearch
from ._margin import Margin
from ._start import Begun, Start
from ._walk import Cooling, Walker, is_uneven

# Chains without a time limit, and how many times as many with one.
_NUM_CHAINS, _WITH_CLOCK = {"max_size": 6, "min_norm": 1}, 100
# Proposals for each example of a core with its Gram matrix, and on the rows; least and most.
_PER_EXAMPLE = {True: (2000, 300_000, 8_000_000), False: (60, 300_000, 20_000_000)}
# Under a clock the first walk of Eq. 4 plans _LONG times the usual proposals and is shortened to
# the time there is; each walk is longer than the one before: more short ones find nothing new.
_LONG, _LONGER = 100.0, {"max_size": 1.3, "min_norm": 2.0}
# Eq. 3: one generation in so many starts from the relaxation again.
_FRESH_EVERY = 4
# Under Eq. 3 a first walk that ends below this share of the relaxed size needs help.
_POOR = 0.5
# The core has at least so many examples.
_FEWEST = 1000
# Hot enough for anything is half a large row's squared norm (the 95 % quantile; small: 5 %).
_MELTING, _LARGE, _SMALL = 0.5, 0.95, 0.05
# No walk ends hotter than this share of its beginning, or need end below this share of 2 lam.
_COOLS_TO, _COLD_WORTH = 0.1, 0.01
# Best exchanges end the search where S has up to this many entries, and after this many times the
# patience without a clock.
_CLOSING_ENTRIES, _CLOSING_MOVES, _ENDLESS = 20_000_000, 20, 10**9
# The tight bound is worth its time where the gap, in examples, is at most so many times the slack
# of the relaxation, or at most so many.
_SHARPENED = 2.0

Found = Sequence[BoolArray]


class AnnealSolver:
    """Anneal; see the module's text."""

    Options: ClassVar[type[AnnealOptions]] = AnnealOptions

    def solve(self, problem: Problem, options: AnnealOptions, run: Run) -> Candidate:
        """Search for a subset; see `subsetsel.engine.registry.Solver`."""
        if problem.form == "max_size" and run.solve_relaxation() is None:
            # Rows that cannot be read one by one: search sizes instead.
            return _by_sizes(problem, options, run)
        is_eq4 = problem.form == "min_norm"
        first = near_guess(problem, run) if is_eq4 else smallest_subset(problem, run)
        if first is None:
            return Candidate(is_infeasible=True)
        run.submit(first)
        if not problem.rows.squared_norms[problem.free].any() or run.should_stop():
            return Candidate(limit=run.limit)
        return _Search(problem, options, run, first).go()

    def warm_up(self, problem: Problem, options: AnnealOptions) -> None:
        """Compile or load the kernels that the problem's form and rows call for."""
        _compile(Kind.of(problem), "norm")
        _compile(Kind.of(problem), "plain")


def _by_sizes(problem: Problem, options: AnnealOptions, run: Run) -> Candidate:
    """Answer Eq. 3 by Eq. 4 at the sizes between."""
    return maximize_size(lambda sub, inner: AnnealSolver().solve(sub, options, inner), problem, run)


@cache
def _compile(kind: Kind, proposals: Proposals) -> None:
    """Run each kernel once, on a Gram matrix ("norm") or on the rows ("plain")."""
    problem = kind.problem()
    options = AnnealOptions(proposals=proposals, few_share=1.0, num_proposals=600, num_chains=2)
    AnnealSolver().solve(problem, options, Run.quiet(problem))
    if kind.form == "max_size":
        fill_up(problem, Run.quiet(problem))
        # Sizes are searched by Eq. 4.
        _compile(replace(kind, form="min_norm"), proposals)


class _Plan(NamedTuple):
    """What a walk may take: times the usual length, a share of the time to leave, iterations."""

    length: float
    closing: float
    moves: float


class _Search:
    """Generations of walks, one for each worker at a time."""

    def __init__(
        self, problem: Problem, options: AnnealOptions, run: Run, first: BoolArray
    ) -> None:
        self.problem, self.options, self.run, self.first = problem, options, run, first
        self.free, self.is_eq4 = np.flatnonzero(problem.free), problem.form == "min_norm"
        self.is_alone = run.limits.num_workers == 1
        self.walker, self.start = Walker(problem, options, run), Start(problem, options, run)
        self.relaxation: Relaxation | None = None
        self.margin = Margin.without(problem)
        self.few: BoolArray | None = None
        has_guess = run.limits.initial_guess is not None
        is_readable = self.walker.is_readable and not is_too_large(problem.rows)
        self.settles = options.start == "relax" and is_readable and not has_guess
        # From a random start everything must melt first.
        self.melts = not self.settles and not has_guess
        self.closes = self._closes()
        self._patience = max(1, round(options.patience * run.effort))
        self._closing_moves = _CLOSING_MOVES * self._patience

    def go(self) -> Candidate:
        """Search until a limit or the usual number of walks."""
        run, form = self.run, self.problem.form
        self._look()
        num_chains = self.options.num_chains or _NUM_CHAINS[form]
        most = num_chains * (_WITH_CLOCK if run.fills_time else 1)
        # Where exchanges close, they have their share of the iterations, and of the time when the
        # walk begins; it takes the rest.
        closing = self.options.closing_share if self.closes else 0.0
        most = 1 if closing and run.fills_time else most
        kept = min(closing * (run.iterations_left or 0), self._closing_moves)
        number, length = 0, _LONG if self.is_eq4 and run.fills_time else 1.0
        while number < most and not run.should_stop():
            is_first = number == 0
            generation = number // run.limits.num_workers
            is_fresh = is_first or (not self.is_eq4 and generation % _FRESH_EVERY == 0)
            numbers = range(number, number + run.limits.num_workers)
            best, left = run.best(), run.iterations_left
            mask = self.first if best is None else best.mask
            # Each worker has its own share, or the result would depend on who is faster.
            moves = np.inf if left is None else max(0.0, left - kept) // len(numbers)
            plan = _Plan(length, closing, moves)
            self._together([partial(self._chain, k, mask, is_fresh, plan) for k in numbers])
            if is_first:
                self._search_sizes()
            self._refine()
            number += len(numbers)
            if run.fills_time:
                length *= _LONGER[form]
        if self.closes:
            self._close()
        run.should_stop()  # It says what ended it, if it was a limit.
        return Candidate(limit=run.limit, dual=self.margin.total)

    def _look(self) -> None:
        """Find the relaxed optimum and, where few are chosen, a subset of best insertions."""
        if not self.is_eq4:
            self.relaxation = self.run.solve_relaxation()
            assert self.relaxation is not None
            self.margin = Margin.of_relaxation(self.problem, self.relaxation)
        elif self.settles:
            self.margin = self.start.relax(self.run.generator(0))
        if self.settles:
            size = np.inf if self.relaxation is None else self.relaxation.value
            self.few = insert_few(self.problem, self.run, self.options, size)
            if self.few is not None:
                self.run.submit(self.few)

    # --- one walk -------------------------------------------------------------------------------

    def _chain(self, number: int, mask: BoolArray, is_fresh: bool, plan: _Plan) -> Found:
        """Walk from a subset, or from a new start; give what may be submitted."""
        items, moves = self.free, plan.moves
        found: list[BoolArray] = []
        rng = self.run.generator(1, number)
        begun = self._begin(rng, moves) if is_fresh and self.settles else None
        if begun is not None:
            mask, items, moves = begun.mask, begun.items, moves - begun.num_visits
            found.append(mask)
            if self.is_alone:
                self.run.submit(mask)
        if is_fresh and number == 0 and self.few is not None:
            mask = min((mask, self.few), key=self._energy)
        walked = self._walk(mask, items, self.melts and is_fresh, plan._replace(moves=moves), rng)
        return found if walked is None else [*found, walked]

    def _search_sizes(self) -> None:
        """Search sizes, where the first walks of Eq. 3 met hardly anything that fits."""
        if self.relaxation is not None and self.run.size <= _POOR * self.relaxation.value:
            fill_up(self.problem, self.run)
            _by_sizes(self.problem, self.options, self.run)

    def _begin(self, rng: np.random.Generator, moves: float) -> Begun | None:
        if self.relaxation is None:
            return self.start.whole(self.margin, rng, moves)
        return self.start.near_margin(self.margin, self.relaxation, rng, moves)

    def _energy(self, mask: BoolArray) -> float:
        total = self.problem.sum(mask)
        return self.margin.energy(float(total @ total), mask)

    def _walk(
        self,
        mask: BoolArray,
        items: IndexArray,
        melts: bool,
        plan: _Plan,
        rng: np.random.Generator,
    ) -> BoolArray | None:
        """Cool down from where the subset is in equilibrium."""
        problem, margin = self.problem, self.margin
        total = self.run.sum_of(mask)
        hot, core = _MELTING * self._quantile(items, _LARGE), items
        if not melts:
            excess = margin.energy(float(total @ total), mask) - margin.least
            hot = min(hot, self.options.heat * margin.temperature(problem, excess))
            if margin.costs.any():
                core = self._core(mask, total, hot, rng)
        hot = max(hot, 1e-300)
        seconds = (1.0 - plan.closing) * max(0.0, self.run.remaining)
        cooling = Cooling(hot, self._cold(core, hot), self._proposals(core, plan), seconds)
        if is_too_large(problem.rows):
            asked = self.options.num_proposals
            return walk_chunks(problem, self.run, mask.copy(), core, cooling, rng, num_asked=asked)
        return self.walker.walk(mask, core, margin.lam, cooling, rng)

    def _proposals(self, core: IndexArray, plan: _Plan) -> int:
        per_example, least, most = _PER_EXAMPLE[self.walker.holds_gram(core)]
        usual = float(np.clip(per_example * core.size, least, most))
        wanted = self.options.num_proposals or plan.length * usual * self.run.effort
        return max(1, int(min(wanted, plan.moves)))

    def _quantile(self, items: IndexArray, share: float) -> float:
        norms = self.problem.rows.squared_norms[items]
        return float(np.quantile(norms[norms > 0], share)) if norms.any() else 0.0

    def _cold(self, core: IndexArray, hot: float) -> float:
        """Where the smallest rows freeze; an example's worth bounds what is worth cooling for."""
        cold = self.options.cold * self._quantile(core, _SMALL)
        cold = max(cold, _COLD_WORTH * 2.0 * self.margin.lam)
        return max(min(cold, _COOLS_TO * hot), 1e-300)

    def _core(
        self, mask: BoolArray, total: FloatArray, hot: float, rng: np.random.Generator
    ) -> IndexArray:
        """Draw those whose flip the temperature pays for; noise makes each core another one."""
        costs = self.margin.flip_costs(self.problem, mask, total)[self.free]
        costs -= 0.5 * hot * rng.gumbel(size=costs.size)
        num = max(_FEWEST, int(np.count_nonzero(costs <= self.options.core_reach * hot)))
        if not self.is_eq4:
            num = min(num, self.options.core_size)
        if num >= self.free.size:
            return self.free
        return np.sort(self.free[np.argpartition(costs, num - 1)[:num]])

    # --- between walks --------------------------------------------------------------------------

    def _together(self, tasks: Sequence[Callable[[], Found]]) -> None:
        """Run walks in threads and submit what they found in the order of the tasks.

        With several workers a task does not look at the incumbent, or the result would depend on
        who is faster. Ctrl-C lets every walk end after its current call and still submit.
        """
        if self.is_alone:
            for task in tasks:
                self._submit(task())
            return
        with ThreadPoolExecutor(len(tasks)) as pool:
            futures = [pool.submit(task) for task in tasks]
            try:
                wait(futures)
            except KeyboardInterrupt:
                self.run.limit = "interrupted"
            for future in futures:
                self._submit(future.result())

    def _submit(self, found: Found) -> None:
        for mask in found:
            self.run.submit(mask)

    def _refine(self) -> None:
        """Sharpen the bound of Eq. 3 where it may prove what was found."""
        run, bound = self.run, self.run.bound
        if self.relaxation is None or bound is None or not run.limits.bound or run.should_stop():
            return
        slack = max(1.0, bound - self.relaxation.value)
        if np.floor(bound) - run.size <= _SHARPENED * slack:
            run.proof.sharpen()
        run.proof.strengthen(run.size)

    def _closes(self) -> bool:
        """Whether best exchanges end the search: passes over S cost little, or all freeze alike.

        In few dimensions the last improvements are a handful among n^2 / 4 pairs; rows of one
        length freeze together, and random pairs are then too rare to find them.
        """
        problem = self.problem
        if not self.is_eq4 or self.options.proposals == "plain" or not self.walker.is_readable:
            return False
        if problem.n * problem.d <= _CLOSING_ENTRIES:
            return True
        return self.run.fills_time and not is_uneven(problem.rows.squared_norms[self.free])

    def _close(self) -> None:
        """Exchange best pairs from the incumbent on, as long as there is time.

        Without a clock it ends after too many exchanges in a row without a smaller norm.
        """
        run = self.run
        if run.mask is None or run.should_stop():
            return
        patience, moves = self._patience, run.iterations_left
        most = _ENDLESS if run.fills_time else self._closing_moves
        limits = Limits(max_iterations=most if moves is None else min(most, moves))
        inner = Run(self.problem, limits, parent=run)
        search = LocalSearch(self.problem, inner, run.mask)
        search.exchange(patience=patience)
        before = -1
        while run.fills_time and not inner.should_stop() and inner.num_iterations > before:
            # The longer it may climb, the less often another pool of rows is drawn.
            patience, before = min(2 * patience, _ENDLESS), inner.num_iterations
            search.exchange(patience=patience)
        run.add_iterations(inner.num_iterations)
        run.submit(search.mask)
