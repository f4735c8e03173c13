"""From a score to a choice of the same type that the solvers return."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.errors import OptionError, ProblemError
from subsetsel.problem.constraints import balanced_limits
from subsetsel.problem.goal import Goal
from subsetsel.problem.problem import Problem
from subsetsel.problem.solution import Solution
from subsetsel.rows import as_rows
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray
from subsetsel.scores.score import Score
from subsetsel.support.records import plain

Balance = Literal["equal_kept", "proportional"]


def select(
    score: Score,
    *,
    size: int | None = None,
    fraction: float | None = None,
    num_kept: int | None = None,
    labels: ArrayLike | None = None,
    balanced: bool | Balance = False,
    groups: ArrayLike | None = None,
    group_limits: Mapping[Any, tuple[int | None, int | None]] | None = None,
    must_prune: ArrayLike | None = None,
    must_keep: ArrayLike | None = None,
    S: Any = None,
    seed: int = 0,
) -> Solution:
    """Keep the end that a score keeps, as far as quotas allow.

    Parameters
    ----------
    score : Score
    size, fraction, num_kept : optional
        How many to prune: a count, a share of n, or what is left. Exactly one.
    labels : array_like of shape (n,), optional
        The class of each example, for ``balanced``; unused without.
    balanced : bool or {"equal_kept", "proportional"}
        Keep the same number of each class (True, or ``"equal_kept"``; small classes are kept whole
        and the others share the rest), or prune the same share of each.
    groups, group_limits, must_prune, must_keep : optional
        As in `subsetsel.Problem`.
    S : Problem, or whatever `Problem` takes, optional
        Influence rows by which the norm of the choice is computed; they do not change it.
    seed : int
        Draws the order among equal values.

    Returns
    -------
    Solution
        ``solver`` is "score:" and the name; ``stats`` holds the settings of the score. ``norm`` is
        NaN where no S was given. Status "infeasible" where the quotas cannot be met.

    Raises
    ------
    ProblemError
        If the size or a quota makes no sense.
    OptionError
        If ``balanced`` is unknown, lacks labels, or is given beside ``groups``.

    Examples
    --------
    >>> from subsetsel import scores
    >>> scores.select(scores.random(100, seed=1), num_kept=30).size
    70
    """
    started = time.perf_counter()
    if not isinstance(score, Score):
        raise OptionError(f"score must be a subsetsel.scores.Score, got {type(score).__name__}.")
    size = _size(score.n, {"size": size, "fraction": fraction, "num_kept": num_kept})
    if balanced is not False:
        if groups is not None or group_limits is not None:
            raise OptionError("give either balanced with labels, or groups with group_limits.")
        groups, group_limits = _balance(labels, balanced, score.n, size)
    problem = Problem(
        _rows(S, score.n),
        size=size,
        groups=groups,
        group_limits=group_limits,
        must_prune=must_prune,
        must_keep=must_keep,
    )
    mask = _prune_last(problem, group_limits or {}, score.ranking(seed=seed)[::-1])
    broken = problem.violations(mask)
    if broken:
        mask = np.zeros(score.n, dtype=np.bool_)
    norm = 0.0 if broken else float("nan") if S is None else problem.norm(mask)
    return Solution(
        mask=mask,
        norm=norm,
        status="infeasible" if broken else "feasible",
        target_size=size,
        solver=f"score:{score.name}",
        seed=int(seed),
        solve_time=time.perf_counter() - started,
        message=f"the quotas cannot all be met: at best {broken[0]}" if broken else "",
        stats={"score": score.name, "keeps": score.keeps, **plain(score.about)},
    )


def _size(n: int, goal: dict[str, Any]) -> int:
    given = [name for name, value in goal.items() if value is not None]
    if len(given) != 1:
        got = " and ".join(given) or "none"
        raise ProblemError(f"give exactly one of size, fraction and num_kept; got {got}.")
    size = Goal.parse(n, **goal).size
    assert size is not None
    return size


def _balance(
    labels: ArrayLike | None, balanced: bool | Balance, n: int, size: int
) -> tuple[ArrayLike, Mapping[Any, tuple[int, int]]]:
    policy: Balance = "equal_kept" if isinstance(balanced, bool) else balanced
    if policy not in get_args(Balance):
        raise OptionError(
            f"balanced must be True, False, 'equal_kept' or 'proportional', got {balanced!r}."
        )
    if labels is None:
        raise OptionError(f"balanced={balanced!r} needs labels: the class of each example.")
    classes = np.asarray(labels)
    if classes.shape != (n,):
        raise ProblemError(
            f"labels must hold one class per example, shape ({n},), got shape {classes.shape}."
        )
    return classes, balanced_limits(classes, size=size, policy=policy)


def _rows(S: Any, n: int) -> Any:
    if S is None:
        # The question of who is pruned has no parameters; a column of zeros stands for none.
        return np.zeros((n, 1))
    rows = S.rows if isinstance(S, Problem) else as_rows(S)
    if rows.n != n:
        raise ProblemError(f"S has {rows.n} rows, the score has {n} values.")
    return rows


def _prune_last(
    problem: Problem, group_limits: Mapping[Any, tuple[int | None, int | None]], order: IndexArray
) -> BoolArray:
    """Prune in the given order what limits demand, then what they allow."""
    # Groups do not overlap, so this is the best choice by rank wherever there is one.
    codes, low, high = _group_table(problem, group_limits)
    mask = problem.must_prune.copy()
    forced = np.bincount(codes[mask], minlength=len(low))
    order = order[problem.free[order]]
    # How many of its group are pruned once an example is, counted in the given order.
    by_group = np.argsort(codes[order], kind="stable")
    counts = np.bincount(codes[order], minlength=len(low))
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    place = np.empty(len(order), dtype=np.int64)
    place[by_group] = np.arange(len(order)) - starts
    pruned_then = forced[codes[order]] + place + 1
    is_needed = pruned_then <= low[codes[order]]
    mask[order[is_needed]] = True
    is_allowed = ~is_needed & (pruned_then <= high[codes[order]])
    assert problem.size is not None
    num_left = max(0, problem.size - int(np.count_nonzero(mask)))
    mask[order[is_allowed][:num_left]] = True
    return mask


def _group_table(
    problem: Problem, group_limits: Mapping[Any, tuple[int | None, int | None]]
) -> tuple[IndexArray, FloatArray, FloatArray]:
    """Group of each example as a code, and the fewest and most pruned of each."""
    if problem.groups is None:
        return np.zeros(problem.n, dtype=np.int64), np.zeros(1), np.full(1, np.inf)
    names, codes = np.unique(problem.groups, return_inverse=True)
    low, high = np.zeros(len(names)), np.full(len(names), np.inf)
    for label, (fewest, most) in group_limits.items():
        here = np.flatnonzero(names == label)
        low[here] = 0 if fewest is None else fewest
        high[here] = np.inf if most is None else most
    return codes.astype(np.int64), low, high
