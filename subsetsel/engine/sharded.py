"""Any solver on rows that lie in shards: it is given few rows, beside which all others are decided.

Eq. 3 with normalization "full": the relaxation says of most examples what they do. Those nearest to
its margin come here; the others are folded into an offset, and the solver decides the few. The
bound is that of the whole problem. Eq. 4 goes by levels (`subsetsel.engine.levels`), and Eq. 3 with
normalization "kept" by Eq. 4 at the sizes between.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from subsetsel.bounds.graded import GradedRelaxation, require_few_columns
from subsetsel.bounds.sample import nearest
from subsetsel.engine.journal import key_of
from subsetsel.engine.levels import by_levels
from subsetsel.engine.options import Limits
from subsetsel.engine.other_form import Engine, maximize_size
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.engine.start import smallest_rows
from subsetsel.errors import OptionError
from subsetsel.problem.fold import Folded, fold
from subsetsel.problem.problem import Problem
from subsetsel.problem.progress import Progress
from subsetsel.shards.table import Shards
from subsetsel.support.memory import most_held

# Rows of the core: so many for each parameter, and at least.
_PER_PARAMETER, _FEWEST_ROWS = 10, 4000
# A core that ends below this share of the bound held the wrong rows.
_POOR = 0.9


def sharded_engine(engine: Engine) -> Engine:
    """Let an engine that reads rows one by one answer problems whose rows lie in shards.

    Parameters
    ----------
    engine : callable
        Takes a problem of either form, with normalization "full", of rows that are here.
    """

    def by_norm(problem: Problem, run: Run) -> Candidate:
        return by_levels(engine, problem, run)

    def search(problem: Problem, run: Run) -> Candidate:
        if problem.form == "min_norm":
            return by_norm(problem, run)
        relaxation = run.solve_relaxation()
        # A cap that binds leaves nothing to maximize: any subset of that size will do.
        if relaxation is None or (problem.is_capped and relaxation.bound >= problem.max_size):
            return maximize_size(by_norm, problem, run)
        assert isinstance(relaxation, GradedRelaxation)
        return _by_core(engine, by_norm, problem, run, relaxation)

    return search


class Traffic:
    """What a search asks of shards; nothing where there are none."""

    def __init__(self, shards: Shards | None) -> None:
        self._shards = shards
        self._before = (0, 0) if shards is None else (shards.num_rounds, shards.bytes_sent)

    def record(self) -> dict[str, int]:
        """Give the rounds over the shards, and the bytes of arrays that they moved."""
        if self._shards is None:
            return {}
        return {
            "num_shards": len(self._shards),
            "num_rounds": self._shards.num_rounds - self._before[0],
            "bytes_sent": self._shards.bytes_sent - self._before[1],
        }


def require_shards(problem: Problem, limits: Limits, checkpoint: Any) -> None:
    """Refuse by name, before anything starts, what rows in shards do not allow, or alone allow.

    Raises
    ------
    OptionError
        For an option.
    ProblemError
        If S has too many columns for Eq. 3.
    """
    if problem.rows.shards is None:
        if checkpoint is not None:
            raise OptionError(
                f"checkpoint = {str(checkpoint)!r} is for S in shards; here S is in one piece, and "
                "solve keeps nothing. Leave checkpoint out (prune has one of its own)."
            )
        return
    if limits.bound == "tight":
        raise OptionError(
            "bound='tight' reads all rows of S many times, which S in shards does not allow; use "
            "bound=True."
        )
    if problem.form == "max_size" and problem.normalization == "full":
        require_few_columns(problem)


def _by_core(
    engine: Engine, by_norm: Engine, problem: Problem, run: Run, relaxation: GradedRelaxation
) -> Candidate:
    """Let the solver decide the examples near the margin, all others being as the prices say."""
    reduced = relaxation.dual.reduced_costs
    distance = np.where(problem.free, np.abs(reduced), np.inf)
    items = nearest(distance, _num_rows(problem))
    mask = (problem.free & (reduced > 0)) | problem.must_prune
    if not items.size:
        run.submit(mask)
        return Candidate(is_infeasible=run.mask is None, stats=_record(relaxation))
    key = key_of("core", items, mask)
    candidate, known = Candidate(), run.journal.get(key)
    if known is not None:
        run.add_iterations(int(known["num_iterations"]))
        run.submit(known["mask"])
    elif not run.should_stop():
        folded = fold(problem, items, mask)
        inner = _inner_run(run, folded, relaxation.lam)
        try:
            candidate = engine(folded.problem, inner)
        finally:
            if inner.mask is not None:
                run.submit(folded.unfold(inner.mask))
        if inner.limit not in {"time", "interrupted"} and inner.mask is not None:
            found = {"mask": folded.unfold(inner.mask), "num_iterations": inner.num_iterations}
            run.journal.put(key, found)
    # Where the solver found nothing that fits, what one sort gives.
    run.submit(smallest_rows(problem))
    is_whole = items.size == np.count_nonzero(problem.free)
    is_poor = run.size < _POOR * math.floor(relaxation.bound)
    if is_poor and not is_whole and not run.should_stop():
        # The norm hardly binds, and prices say nothing of who is pruned.
        return maximize_size(by_norm, problem, run)
    run.should_stop()
    return Candidate(
        limit=run.limit or candidate.limit,
        stats={**candidate.stats, **_record(relaxation), "core_rows": int(items.size)},
    )


def _num_rows(problem: Problem) -> int:
    """How many rows the core has: by d and the memory that is planned with."""
    size = problem.d * problem.rows.dtype.itemsize
    return max(1, min(max(_FEWEST_ROWS, _PER_PARAMETER * problem.d), most_held() // size))


def _inner_run(run: Run, folded: Folded, lam: float) -> Run:
    """Prepare the search of a core, which ends once no subset of the whole can be better."""
    num_decided = int(np.count_nonzero(folded.decided))
    counted, target = 0, run.limits.target

    def follow(record: Progress) -> None:
        nonlocal counted
        run.add_iterations(record.num_iterations - counted)
        counted = record.num_iterations

    if run.limits.gap > 0 and run.bound is not None:
        enough = math.ceil((1.0 - run.limits.gap) * math.floor(run.bound))
        target = enough if target is None else min(target, enough)
    limits = replace(
        run.limits,
        time_limit=max(0.0, run.remaining) if run.fills_time else None,
        max_iterations=run.iterations_left,
        target=None if target is None else max(0.0, target - num_decided),
        gap=0.0,
        initial_guess=None,
        callback=follow,
        progress=None,
        bound=True,
        trace=False,
    )
    inner = Run(folded.problem, limits, parent=run, effort=run.effort)
    # A relaxation that took no step, as of rows that are all 0, knows no multiplier.
    inner.proof.lam = lam or None
    if run.bound is not None:
        inner.proof.tighten(run.bound - num_decided)
    return inner


def _record(relaxation: GradedRelaxation) -> dict[str, Any]:
    """Tell what each step of the relaxation found and took."""
    records = relaxation.records
    return {
        "num_steps": len(records),
        "rows_sampled": int(sum(record["num_rows"] for record in records)),
        "steps": [
            {name: None if np.isnan(value) else value for name, value in record.items()}
            for record in records
        ],
    }
