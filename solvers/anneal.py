"""Simulated annealing: the default solver."""

from __future__ import annotations

import os
from functools import cache, partial
from typing import ClassVar

import numpy as np

from subsetsel.bounds.dual import evaluate_dual
from subsetsel.engine.options import Limits
from subsetsel.engine.other_form import maximize_size
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.engine.warm_up import Kind
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray

from ._anneal_options import AnnealOptions
from ._first_subset import near_guess, smallest_subset
from ._local_search import LocalSearch
from ._start import Start, margin_of, no_margin
from ._walk import Cooling, Walker, is_uneven

DEBUG = os.environ.get("DBG")


class AnnealSolver:
    Options: ClassVar[type[AnnealOptions]] = AnnealOptions

    def solve(self, problem: Problem, options: AnnealOptions, run: Run) -> Candidate:
        if problem.form == "max_size" and run.solve_relaxation() is None:
            return maximize_size(lambda sub, inner: self.solve(sub, options, inner), problem, run)
        return _Search(problem, options, run).go()

    def warm_up(self, problem: Problem, options: AnnealOptions) -> None:
        kind, free = Kind.of(problem), np.flatnonzero(problem.free)
        for is_small in (False, True):
            _compile(kind, is_small)


@cache
def _compile(kind: Kind, is_small: bool) -> None:
    problem = kind.problem()
    options = AnnealOptions(core_size=4000 if is_small else 2, num_proposals=600, num_chains=2)
    AnnealSolver().solve(problem, options, Run.quiet(problem))


class _Search:
    def __init__(self, problem: Problem, options: AnnealOptions, run: Run) -> None:
        self.problem, self.options, self.run = problem, options, run
        self.free = np.flatnonzero(problem.free)
        self.norms = problem.rows.squared_norms[self.free]
        self.start, self.walker = Start(problem, options, run), Walker(problem, options, run)
        self.is_exact = problem.rows.proxy is problem.rows
        self.margin = no_margin(problem)
        self.relaxation = run.solve_relaxation() if problem.form == "max_size" else None

    def go(self) -> Candidate:
        problem, run, options = self.problem, self.run, self.options
        is_eq4 = problem.form == "min_norm"
        first = near_guess(problem, run) if is_eq4 else smallest_subset(problem, run)
        if first is None:
            return Candidate(is_infeasible=True)
        run.submit(first)
        if not self.norms.any() or run.should_stop():
            return Candidate(limit=run.limit)
        settles = options.start == "relax" and self.is_exact and run.limits.initial_guess is None
        has_guess = run.limits.initial_guess is not None
        rng = run.generator(7)
        if self.relaxation is not None:
            self.margin = margin_of(problem, self.relaxation)
        elif settles:
            self.margin = self.start.relax(rng, 0.4 * run.remaining)
        begin = self.begin(rng) if settles else first
        self.dbg("start", begin)
        usual = self.usual(self.free)
        num = options.num_chains or (6 if not is_eq4 else 1)
        most = num * 100 if run.fills_time else num
        closes = self.closes()
        end = (1.0 - options.close_share) * run.remaining if closes else 0.0
        number, length, stale = 0, (100.0 if is_eq4 and run.fills_time else 1.0), 0
        while number < most and not run.should_stop() and (run.remaining > 1.05 * end or number == 0):
            mask = begin if number == 0 else run.mask
            if number and number % 4 == 0 and settles and not is_eq4:
                fresh = self.start.near_margin(self.margin, self.relaxation, run.generator(7, number), 0.3 * run.remaining)
                self.dbg("fresh", fresh)
                if fresh is not None:
                    run.submit(fresh)
                    mask = fresh
            best = (run.size, -run.norm)
            seconds = run.remaining - end if closes else np.inf
            heat = options.heat if not has_guess else options.heat
            is_cool = settles or has_guess or number > 0
            found = self.chain(number, mask, length, heat if is_cool else np.inf, seconds)
            if found is not None:
                run.submit(found)
            self.dbg(f"chain {number}", found)
            if not is_eq4:
                self.refine()
            number += 1
            if run.fills_time:
                length *= 2.0 if is_eq4 else 1.3
        if closes:
            self.close()
        self.dbg("closed", run.mask)
        return Candidate(limit=run.limit, dual=self.margin.total)

    def dbg(self, what, mask):
        if DEBUG and mask is not None:
            print(f"   {what}: t {self.run.elapsed:.2f} size {mask.sum()} norm {np.linalg.norm(self.problem.rows.sum(mask)):.6g} best {self.run.size} {self.run.norm:.6g}", flush=True)

    def refine(self) -> None:
        run = self.run
        bound = run.bound
        if bound is None or not run.limits.bound or run.should_stop():
            return
        if np.floor(bound) - run.size <= max(2.0, 2.0 * (bound - self.relaxation.value)):
            run.proof.sharpen()
        run.proof.strengthen(run.size)

    def usual(self, core) -> int:
        if self.walker.is_small(core):
            n = np.clip(2000 * core.size, 300_000, 8_000_000)
        else:
            n = np.clip(60 * core.size, 300_000, 20_000_000)
        return int(n)

    def begin(self, rng) -> BoolArray:
        problem, run = self.problem, self.run
        candidates = []
        few = self.few()
        if few is not None:
            candidates.append(few)
            self.dbg("few", few)
        share = float(os.environ.get("SHARE", 0.8 if problem.form == "min_norm" else 0.3))
        seconds = share * run.remaining
        if problem.form == "min_norm":
            settled = self.start.whole(rng, seconds)
        else:
            settled = self.start.near_margin(self.margin, self.relaxation, rng, seconds)
        if settled is not None:
            candidates.append(settled)
            self.dbg("settled", settled)
        for c in candidates:
            run.submit(c)
        if not candidates:
            return run.mask
        return min(candidates, key=self.energy)

    def energy(self, mask) -> float:
        total = self.problem.rows.sum(mask)
        return self.margin.energy(float(total @ total), mask)

    def few(self) -> BoolArray | None:
        problem, run = self.problem, self.run
        if problem.form == "min_norm":
            pruning, keeping = problem.size, problem.n - problem.size
            num = min(pruning, keeping)
            if num > self.options.few * problem.n:
                return None
            mask = problem.must_prune.copy() if pruning <= keeping else ~problem.must_keep
        else:
            if self.relaxation.value > 128:
                return None
            mask = problem.must_prune.copy()
        if len(problem.constraints):
            return None
        limits = Limits(time_limit=None)
        inner = Run(problem, limits, parent=run)
        search = LocalSearch(problem, inner, mask)
        if problem.form != "min_norm":
            search.fill(problem.max_size)
        elif pruning <= keeping:
            search.force(problem.size - int(mask.sum()))
        else:
            search.drain(problem.size)
        return search.mask if problem.size in (None, search.size) else None

    def chain(self, number, mask: BoolArray, length: float, heat: float, seconds: float):
        problem, run, margin = self.problem, self.run, self.margin
        rng = run.generator(3, number)
        total = problem.rows.sum(mask)
        positive = self.norms[self.norms > 0]
        low, high = np.quantile(positive, [0.05, 0.95])
        hot = 0.5 * float(high)
        T = None
        if heat < np.inf:
            excess = margin.energy(float(total @ total), mask) - margin.least
            T = margin.temperature(problem, excess)
            hot = max(1e-300, min(hot, heat * T))
        core = self.free
        if heat < np.inf and (margin.costs.any()):
            core = self.core(mask, total, hot, rng)
            norms = problem.rows.squared_norms[core]
            low = np.quantile(norms[norms > 0], 0.05)
        cold = max(min(self.options.cold * float(low), 0.1 * hot), 1e-300)
        if margin.lam:
            cold = min(0.1*hot, max(cold, float(os.environ.get("COLD", 0.01)) * 2 * margin.lam))
        proposals = int(self.options.num_proposals or length * self.usual(core) * run.effort)
        if DEBUG:
            print(f"   hot {hot:.3g} cold {cold:.3g} lam2 {2*margin.lam:.3g} core {core.size} small {self.walker.is_small(core)} proposals {proposals}")
        return self.walker.walk(mask, core, margin.lam, Cooling(hot, cold, max(1, proposals), seconds), rng)

    def core(self, mask, total, hot, rng) -> IndexArray:
        costs = self.margin.flip_costs(self.problem, mask, total)
        costs = costs + 0.5 * hot * -rng.gumbel(size=costs.size) * float(os.environ.get("NOISE", 1))
        costs = costs[self.free]
        least = min(int(os.environ.get("LEAST", 1000)), self.free.size)
        reach = float(os.environ.get("REACH", self.options.core_reach))
        num = max(least, int(np.count_nonzero(costs <= reach * hot)))
        if self.problem.form == "max_size":
            num = min(num, int(os.environ.get("CORE", 2000)))
        if num >= self.free.size:
            return self.free
        return np.sort(self.free[np.argpartition(costs, num - 1)[:num]])

    def closes(self) -> bool:
        problem, run = self.problem, self.run
        if problem.form == "max_size" or self.options.proposals != "norm" or not self.is_exact:
            return False
        if problem.n * problem.d <= 20_000_000:
            return True
        return run.fills_time and not is_uneven(self.norms, self.options)

    def close(self) -> None:
        problem, run = self.problem, self.run
        if run.mask is None or run.should_stop():
            return
        patience = round(self.options.patience * run.effort)
        most = 10**9 if run.fills_time else 20 * patience
        inner = Run(problem, Limits(max_iterations=most if run.iterations_left is None else min(most, run.iterations_left)), parent=run)
        search = LocalSearch(problem, inner, run.mask)
        search.exchange(patience=patience)
        before = -1
        while run.fills_time and not inner.should_stop() and inner.num_iterations > before:
            patience, before = min(2 * patience, 10**9), inner.num_iterations
            search.exchange(patience=patience)
        run.add_iterations(inner.num_iterations)
        run.submit(search.mask)
