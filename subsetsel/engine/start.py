"""Before a search: answers that need none, and a first subset to fall back on."""

from __future__ import annotations

import warnings

import numpy as np

from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.errors import DegenerateProblemWarning
from subsetsel.problem.linear import find_mask
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray


def begin(problem: Problem, run: Run) -> tuple[Candidate | None, str]:
    """Submit what is known without a search.

    Returns
    -------
    Candidate or None
        The answer where no search is needed.
    str
        A sentence for the user, or nothing.
    """
    guess = run.initial_mask()
    if guess is not None:
        # Whatever a solver does with it, the answer is never worse than a feasible guess.
        run.submit(guess)
    mask, message = _without_search(problem)
    if mask is not None and (run.submit(mask) or run.mask is not None):
        return Candidate(is_optimal=True), message
    if not len(problem.constraints) and find_mask(problem) is None:
        # A sort, which needs no clock.
        return Candidate(is_infeasible=True), message
    if problem.form == "max_size" and run.mask is None:
        # The smallest subset there is, so that a search that ends early has an answer.
        run.submit(problem.must_prune)
    if run.limits.bound:
        run.solve_relaxation()
        if run.mask is None and run.proof.is_out_of_reach():
            return Candidate(is_infeasible=True), message
    return None, message


def _without_search(problem: Problem) -> tuple[BoolArray | None, str]:
    """Answers that need no search: nothing to choose, or everything can go."""
    forced = int(problem.must_prune.sum())
    most = problem.n - int(problem.must_keep.sum())
    if problem.size is not None:
        if problem.size == forced:
            return problem.must_prune.copy(), ""
        if problem.size == most:
            return ~problem.must_keep, ""
        return None, ""
    if problem.normalization == "kept" or problem.max_size < most:
        return None, ""
    everything = ~problem.must_keep
    total, broken = problem.assess(everything)
    if broken:
        return None, ""
    message = (
        f"degenerate: all {most} examples that may be pruned together have the norm {total:.6g} "
        f"<= epsilon = {problem.epsilon:.6g}, so the constraint says nothing. Use "
        "normalization='kept', set max_size or group_limits, or take epsilon well below "
        f"{total:.6g}."
    )
    warnings.warn(message, DegenerateProblemWarning, stacklevel=6)
    return everything, message


def smallest_rows(problem: Problem) -> BoolArray:
    """Prune the smallest rows while the sum of their norms stays within epsilon: costs a sort.

    Parameters
    ----------
    problem : Problem
        Where it is not of the form "max_size" without linear constraints, this is no more than
        ``must_prune``.

    Returns
    -------
    ndarray of shape (n,), bool
        Feasible where ``must_prune`` is: no row adds more to the norm than its own length.
    """
    mask = problem.must_prune.copy()
    if problem.epsilon is None or len(problem.constraints):
        return mask
    order = np.argsort(np.where(problem.free, problem.rows.squared_norms, np.inf), kind="stable")
    size = int(mask.sum())
    order = order[: min(int(problem.free.sum()), problem.max_size - size)]
    sums = np.cumsum(np.sqrt(problem.rows.squared_norms[order]))
    sums += problem.norm(mask) if size or problem.offset is not None else 0.0
    shares: FloatArray | float = 1.0
    if problem.shares is not None:
        shares = problem.kept_share(mask) - np.cumsum(problem.shares[order])
    elif problem.normalization == "kept":
        shares = 1.0 - (size + np.arange(1, order.size + 1)) / problem.n
    # A little less than is allowed, since the sum is rounded.
    mask[order[sums <= problem.epsilon * shares * (1 - 1e-9)]] = True
    return mask
