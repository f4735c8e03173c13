"""Eq. 4 for what refitting does: the search behind ``hessian="kept"``.

The solver searches the rows of Eq. 2 from each of its starts, and the head is refitted without
each answer. From the best by refit on, choices are made on expansions around the last refitted
set, which are exact there, as long as the refit falls.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from subsetsel.engine.journal import key_of
from subsetsel.engine.other_form import Engine
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.engine.trust_region import TrustRegion, descend
from subsetsel.engine.within import inner_run, search_within
from subsetsel.problem.problem import Problem
from subsetsel.problem.searched_rows import SearchedRows
from subsetsel.rows.base import BoolArray, FloatArray
from subsetsel.support.clock import TimeIsUp

if TYPE_CHECKING:
    from subsetsel.influence.head.head import Head

# Another round is made where the refit fell by this factor, by the solver's own choices and by
# best exchanges, which are few at a time; and so many rounds of each at most.
_PAYS, _PAYS_EXCHANGES, _MOST_ROUNDS = 1.01, 1.001, 20
# One search may take this share of the time, and of the iterations, that are left. A refit is
# expected to take so many times as long as the one before.
_SHARE, _LIKE_THE_LAST = 0.25, 1.2


@dataclass(frozen=True, eq=False)
class Refit:
    """A pruned set, the head refitted without it, and what was predicted.

    Attributes
    ----------
    mask : ndarray of shape (n,), bool
    theta : ndarray of shape (C, q), float64
        The refitted head.
    change : float
        How far that is from the head on all examples.
    predicted : float
        The same by the rows on which the set was chosen.
    predicted_kept : float
        The same by the rows of Eq. 2: first order.
    way : int
        Which engine chose it.
    """

    mask: BoolArray
    theta: FloatArray
    change: float
    predicted: float
    predicted_kept: float
    way: int

    def record(self) -> dict[str, float]:
        """Give the entry of ``stats["rounds"]``."""
        return {
            "predicted_searched": self.predicted,
            "predicted_kept": self.predicted_kept,
            "change": self.change,
        }


class RefittedSearch:
    """One search; its answer is the incumbent of the run.

    Parameters
    ----------
    problem : Problem
        Of the form "min_norm", with a head.
    run : Run
    engines : tuple of callable
        The solver from each of its starts and, the last, best exchanges from an initial guess.
    """

    def __init__(self, problem: Problem, run: Run, engines: tuple[Engine, ...]) -> None:
        self._own = problem.with_rows(problem.rows)
        self._run = run
        self._engines = engines
        self._searched = SearchedRows(problem)
        self._can_exchange = problem.rows.proxy is problem.rows and problem.rows.shards is None
        # At first the solver's own choices alone.
        self._region = TrustRegion(can_exchange=False)
        self._done: list[Refit] = []
        # Seconds that the next refit is expected to take; nothing is known of the first.
        self._refit_time = 0.0
        self._is_cut_short = False

    @property
    def _head(self) -> Head:
        assert self._own.head is not None
        return self._own.head

    def find(self) -> Candidate:
        """Search until it no longer pays, or the clock or the user ends it."""
        run = self._run
        try:
            self._search()
        except KeyboardInterrupt:
            run.limit = "interrupted"
        except TimeIsUp:
            run.limit = run.limit or "time"
        if run.limit is None and self._is_cut_short:
            run.limit = "time"
        rounds = [refit.record() for refit in self._done]
        return Candidate(limit=run.limit, stats={"rounds": rounds}, message=self._claim())

    def _search(self) -> None:
        run = self._run
        if run.mask is not None:
            # A guess that satisfies everything.
            self._refit(run.mask, 0)
        for way in range(len(self._engines) - 1):
            if not run.should_stop():
                self._choose(way, None)
        if not self._done:
            return
        for start in sorted(self._done, key=_change):
            # Where nothing pays from the best start, another may lead below it.
            if _PAYS * self._descend(start, _PAYS).change < start.change:
                break
        best = min(self._done, key=_change)
        if self._can_exchange:
            self._region = TrustRegion()
            self._region.enter(int((~best.mask).sum()))
            self._descend(best, _PAYS_EXCHANGES)

    def _descend(self, best: Refit, pays: float) -> Refit:
        return descend(
            best,
            self._choose_around,
            self._region,
            cost=_change,
            is_over=lambda _: self._run.should_stop(),
            pays=pays,
            most_rounds=_MOST_ROUNDS,
        )

    def _choose_around(self, base: Refit) -> Refit | None:
        """Choose on the expansion around a refit: by best exchanges where these are limited."""
        return self._choose(base.way if self._region.most is None else -1, base)

    def _choose(self, way: int, base: Refit | None) -> Refit | None:
        """Let the solver choose, and refit."""
        run, own = self._run, self._own
        self._require_time()
        if base is None:
            guess, problem, most = run.initial_mask(), own, None
        else:
            assert own.size is not None
            self._searched.expand(base.mask, base.theta, own.size, run.clock)
            guess, problem = base.mask, own.with_rows(self._searched.rows)
            most = self._region.most
        left, moves = run.remaining, run.iterations_left
        if moves is not None:
            share = max(1, round(_SHARE * moves))
            most = share if most is None else min(most, share)
        set_aside = max(self._refit_time, (1 - _SHARE) * left) if np.isfinite(left) else 0.0
        inner = inner_run(run, problem, guess=guess, max_iterations=most)
        # Steps on one expansion, or of one way, are none of another.
        around = None if base is None else base.mask
        inner.journal = run.journal.part(key_of("choice", way, most, around))
        try:
            is_whole = search_within(run, self._engines[way], inner, set_aside=set_aside)
        finally:
            if not self._done and inner.mask is not None:
                # Without any refit there is at least what a search has found.
                run.submit(inner.mask)
        self._is_cut_short |= not is_whole
        if inner.mask is None:
            return None
        return self._refit(inner.mask, base.way if base is not None else way)

    def _refit(self, mask: BoolArray, way: int) -> Refit:
        """Refit on the kept examples, unless that was done; the best by refit is the answer."""
        predicted = self._searched.predict(mask)
        for known in self._done:
            if (known.mask == mask).all():
                again = replace(known, predicted=predicted)
                self._done.append(again)
                return again
        self._require_time()
        started = time.perf_counter()
        theta = self._head.kept(~mask, clock=self._run.clock).refit().theta
        self._refit_time = _LIKE_THE_LAST * (time.perf_counter() - started)
        change = float(np.linalg.norm(theta - self._head.theta))
        first_order = predicted
        if self._searched.rows is not self._own.rows:
            first_order = SearchedRows(self._own).predict(mask)
        refit = Refit(mask, theta, change, predicted, first_order, way)
        is_best = all(change < other.change for other in self._done)
        self._done.append(refit)
        if is_best:
            self._run.adopt(mask)
        return refit

    def _require_time(self) -> None:
        """Begin nothing that ends in a refit for which there is no time."""
        if self._run.remaining <= self._refit_time:
            raise TimeIsUp

    def _claim(self) -> str:
        """Say what was minimized, and what the refit says of it."""
        if self._run.mask is None:
            return ""
        if not self._done:
            return (
                "the first-order norm was minimized, and the search ended before the head could be "
                "refitted"
            )
        # Of the searches that chose it, the last: on the expansion around it where that is the end.
        best = min(reversed(self._done), key=_change)
        return (
            f"the change of the refitted head was minimized: an exact refit moves it by "
            f"{best.change:.6g}, where the rows that were searched predict {best.predicted:.6g} "
            f"and first order {best.predicted_kept:.6g}"
        )


def _change(refit: Refit) -> float:
    return refit.change


def refitted_engine(engines: tuple[Engine, ...]) -> Engine:
    """Make an engine of those that a `RefittedSearch` takes."""

    def engine(problem: Problem, run: Run) -> Candidate:
        return RefittedSearch(problem, run, engines).find()

    return engine
