"""Eq. 4 on rows in shards, by levels: the shards swap examples first, then a core is gathered.

1. A random subset of the size asked for, or one near the guess. Its sum is too large by some miss.
2. Where the miss is more than a core can take away, each shard swaps some of its examples until it
   has taken its part of the miss away (`share.take_share`). The parts add up to the miss, so that
   the norm never grows, however unevenly examples lie in shards.
3. A core comes here, half the smallest rows, half drawn at random. All other examples are folded
   into its offset, and the solver that was chosen takes the sum as far down as it can.

The parts q_k v of a miss v have q_k >= 0 that add up to 1, and no change c_k makes its part longer:

    ||sum_k (q_k v + c_k)||  <=  sum_k ||q_k v + c_k||  <=  sum_k q_k ||v||  =  ||v||.

Where the rows share a direction, or shards are too small to take their part, cores of other rows
follow, see `subsetsel.engine.slopes`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from subsetsel.bounds.dual import is_drifting
from subsetsel.engine.core import core_size, gather, search_core, search_whole
from subsetsel.engine.journal import key_of
from subsetsel.engine.other_form import Engine
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.engine.share import Asked, Slack, Work, take_share
from subsetsel.engine.slopes import search_margin, search_slopes
from subsetsel.problem.linear import find_mask
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray, euclidean
from subsetsel.support.memory import VARIABLE

# A core takes away this share of the summed lengths of its rows over sqrt(d): half of them, chosen
# by sign, move the sum by .4 of it along one direction.
_REACH = 0.2
# Rows for each parameter that a shard reads in a pass, swaps proposed for each, and passes. On
# 400,000 x 256 at 40 % one pass leaves 2 to 3 % of the random norm in 16 and in 64 shards, with 8
# rows for each parameter 10 to 15. A pass with 3 or 10 proposals leads to the same norm.
_MOVERS, _PROPOSALS, _MOST_PASSES = 24, 5, 4
# Passes end where one leaves more than this share of the norm.
_WORTH = 0.9
# Share of the time and of the iterations for the shards.
_SHARE = 0.3


def by_levels(engine: Engine, problem: Problem, run: Run) -> Candidate:
    """Minimize the norm at a size, with rows in shards.

    Parameters
    ----------
    engine : callable
        Solves the form "min_norm" on rows that are here: a core of them, or all where they are few.
    problem : Problem
        Of the form "min_norm"; its rows lie in shards.
    run : Run

    Raises
    ------
    OutOfMemoryError
        Where neither all rows nor a core of 24 for each parameter fit into the memory that is
        planned for.
    """
    num_rows = core_size(problem)
    if num_rows is None:
        return search_whole(engine, problem, run)
    start = find_mask(
        problem, wanted=run.initial_mask(), seed=int(run.limits.seed), clock=run.clock
    )
    if start is None:
        return Candidate(is_infeasible=True)
    run.submit(start)
    if run.should_stop() or not num_rows:
        return Candidate(limit=run.limit)
    return _Levels(engine, problem, run, num_rows).go(start)


class _Levels:
    """The levels of one problem."""

    def __init__(self, engine: Engine, problem: Problem, run: Run, num_rows: int) -> None:
        self.engine, self.problem, self.run, self.num_rows = engine, problem, run, num_rows
        self.rows, self.free = problem.rows, np.flatnonzero(problem.free)
        assert problem.rows.shards is not None
        self.shards = problem.rows.shards
        self.stats: dict[str, Any] = {"is_gathered": False, "core_rows": num_rows}
        self.is_drifting, self.is_short, self.message = is_drifting(problem), False, ""

    def go(self, start: BoolArray) -> Candidate:
        """Search from a subset of the right size."""
        engine, problem, run = self.engine, self.problem, self.run
        core, self.mask, dual = self._draw_core(), start, None
        try:
            mask = self._bring_within_reach(start, core)
        except KeyboardInterrupt:
            run.submit(self.mask)
            raise
        if self.is_short and self.is_drifting:
            run.submit(mask)
            dual = search_margin(engine, problem, run, self.num_rows, self.stats["reach"])
        else:
            search_core(engine, problem, run, core, mask)
        if self.is_short:
            search_slopes(engine, problem, run, self.num_rows)
        run.should_stop()
        return Candidate(limit=run.limit, dual=dual, stats=self.stats, message=self.message)

    def _draw_core(self) -> IndexArray:
        """Choose half the smallest rows, whose swaps correct finely, and half below the median."""
        norms, half = self.rows.squared_norms[self.free], self.num_rows // 2
        by_norm = self.free[np.argsort(norms, kind="stable")]
        middle = by_norm[half:]
        drawn = self.run.generator(2).choice(middle, self.num_rows - half, replace=False)
        return np.sort(np.concatenate([by_norm[:half], drawn]))

    def _bring_within_reach(self, mask: BoolArray, items: IndexArray) -> BoolArray:
        """Let shards swap until the core can take away what is too much."""
        core = gather(self.rows, items)
        reach = _REACH * float(np.sqrt(core.squared_norms).sum()) / float(np.sqrt(self.problem.d))
        total, misses = self.run.sum_of(mask), []
        is_core = np.zeros(self.problem.n, dtype=np.bool_)
        is_core[items] = True
        most = 1 if self.is_drifting else _MOST_PASSES
        for number in range(most + 1):
            # The core may take any subset of its size: on average each row in the same share.
            chosen = mask[items].astype(np.float64)
            miss = total + core.sum(chosen.mean() - chosen)
            misses.append(euclidean(miss))
            is_stuck = number > 0 and misses[-1] > _WORTH * misses[-2]
            if misses[-1] <= reach or number == most or is_stuck or self.run.should_stop():
                break
            found = self._pass_once(mask, ~is_core & self.problem.free, miss, number)
            if found is None:
                break
            self.mask = mask = found[0]
            total = total + found[1]
        self.stats |= {"misses": misses, "reach": reach, "num_passes": len(misses) - 1}
        self.is_short = misses[-1] > reach
        if self.is_short and not self.is_drifting:
            self.message = (
                f"the shards leave a sum of norm {misses[-1]:.3g}, and the core of "
                f"{len(items):,} examples takes about {reach:.3g} of it away: fewer and larger "
                f"shards, more iterations, or a larger {VARIABLE} may lower the norm"
            )
        return mask

    def _pass_once(
        self, mask: BoolArray, may_move: BoolArray, miss: FloatArray, number: int
    ) -> tuple[BoolArray, FloatArray] | None:
        """Let each shard take its part of a miss away; give the subset and the change of S^T W.

        None where there are not iterations enough for it.
        """
        shards, run = self.shards, self.run
        key = key_of("pass", self.problem.size, run.effort, mask, may_move, number)
        known = run.journal.get(key)
        if known is not None:
            run.add_iterations(int(known["num_iterations"]))
            return known["mask"], known["change"]
        moving, chosen = shards.split(may_move), shards.split(mask)
        num_movers = _MOVERS * self.problem.d
        counts = np.array([min(num_movers, np.count_nonzero(own)) for (own,) in moving])
        asked = np.flatnonzero(counts)
        num_proposals = self._proposals(int(counts.sum()))
        if not num_proposals:
            return None
        num_turns = -(-asked.size // shards.workers.num_workers)
        seconds = _SHARE * max(0.0, run.remaining) / num_turns
        work = Work(num_movers, num_proposals, seconds, int(run.limits.seed))
        each = [
            (
                Asked(
                    (counts[k] / counts.sum()) * miss,
                    len(shards) * number + int(k),
                    np.packbits(chosen[k][0]),
                    np.packbits(moving[k][0]),
                    slack,
                ),
            )
            for k, slack in zip(asked, self._slacks(mask, asked), strict=True)
        ]
        found = shards.map(take_share, work, each=each, only=asked.tolist())
        mask, change = mask.copy(), np.zeros(self.problem.d)
        for k, share in zip(asked, found, strict=True):
            start, stop = shards.starts[k], shards.starts[k + 1]
            mask[start:stop] = np.unpackbits(share.chosen, count=stop - start)
            change += share.change
        num_iterations = sum(share.num_iterations for share in found)
        run.add_iterations(num_iterations)
        if not run.should_stop():
            run.journal.put(key, {"mask": mask, "change": change, "num_iterations": num_iterations})
        return mask, change

    def _proposals(self, num_movers: int) -> int:
        """Count the swaps that are proposed for each mover; 0 where there are none to move."""
        usual, left = max(1, round(_PROPOSALS * self.run.effort)), self.run.iterations_left
        if not num_movers or left is None:
            return min(usual, num_movers)
        return min(usual, int(_SHARE * left / num_movers))

    def _slacks(self, mask: BoolArray, asked: IndexArray) -> list[Slack | None]:
        """Divide the slack of the linear constraints among the shards and the core.

        Whatever the shards do with theirs, the core can stay as it is.
        """
        constraints = self.problem.constraints
        if not len(constraints):
            return [None] * len(asked)
        activity, parts = constraints.activity(mask), len(asked) + 1
        down = np.maximum(activity - constraints.lower, 0.0) / parts
        up = np.maximum(constraints.upper - activity, 0.0) / parts
        starts = self.shards.starts
        return [Slack(constraints.matrix[:, starts[k] : starts[k + 1]], down, up) for k in asked]
