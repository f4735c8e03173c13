"""A score: one number per example, which end of it is kept, and the subset chosen by it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.errors import OptionError, ProblemError
from subsetsel.problem.goal import Goal
from subsetsel.problem.groups import balanced_limits
from subsetsel.problem.problem import Problem
from subsetsel.problem.solution import Solution
from subsetsel.rows import as_rows
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray
from subsetsel.support.records import plain

End = Literal["highest", "lowest"]
Balance = Literal["equal_kept", "proportional"]


@dataclass(frozen=True, eq=False)
class Score:
    """A ranking of the examples by one number each.

    Attributes
    ----------
    name : str
        As in `subsetsel.scores.available`.
    values : ndarray of shape (n,), float64
        Finite and read-only.
    keeps : {"highest", "lowest"}
        The end that is kept by definition of the score.
    about : dict
        The settings it was computed with.

    Raises
    ------
    ProblemError
        If the values are not one finite number per example.
    OptionError
        If ``keeps`` is neither end.
    """

    name: str
    values: FloatArray
    keeps: End
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64)
        if values.ndim != 1 or values.size == 0:
            raise ProblemError(
                f"values of a score must be one number per example, got shape {values.shape}."
            )
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise ProblemError(
                f"score {self.name!r} must be finite, but values[{bad[0]}] is {values[bad[0]]} "
                f"({bad.size} such values)."
            )
        if self.keeps not in get_args(End):
            raise OptionError(f"keeps must be 'highest' or 'lowest', got {self.keeps!r}.")
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

    @property
    def n(self) -> int:
        """Number of examples."""
        return len(self.values)

    def ranking(self, *, seed: int = 0) -> IndexArray:
        """Order the examples from the first that is kept to the first that is pruned.

        Parameters
        ----------
        seed : int
            Draws the order among equal values: data sets are often sorted by class, and counts
            such as forgetting have many ties, so their order in the data set must not decide.

        Returns
        -------
        ndarray of shape (n,), int64
        """
        shuffled = np.random.default_rng(seed).permutation(self.n)
        kept_first = -self.values if self.keeps == "highest" else self.values
        order: IndexArray = shuffled[np.argsort(kept_first[shuffled], kind="stable")]
        return order.astype(np.int64)

    def select(self, **question: Any) -> Solution:
        """Keep the end that this score keeps: `select` of it, with the same arguments."""
        return select(self, **question)

    def __repr__(self) -> str:
        return (
            f"Score({self.name!r}, n={self.n}, keeps={self.keeps!r}, "
            f"values {self.values.min():.4g} to {self.values.max():.4g})"
        )


def average(runs: Iterable[Score]) -> Score:
    """Mean of one score over several runs, as EL2N and GraNd are defined.

    Parameters
    ----------
    runs : iterable of Score
        Of the same name, end and examples.

    Returns
    -------
    Score
        ``about["runs"]`` lists the settings of each.

    Raises
    ------
    ProblemError
        If there are none, or two differ in name, end or number of examples.
    """
    found = list(runs)
    if not found:
        raise ProblemError("there is no score to average; give at least one.")
    first = found[0]
    for one in found[1:]:
        if (one.name, one.keeps, one.n) != (first.name, first.keeps, first.n):
            raise ProblemError(
                f"only runs of one score can be averaged, got {first!r} and {one!r}."
            )
    values = np.mean([one.values for one in found], axis=0)
    return Score(first.name, values, first.keeps, {"runs": [one.about for one in found]})


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
    goal: dict[str, Any] = {"size": size, "fraction": fraction, "num_kept": num_kept}
    given = [name for name, value in goal.items() if value is not None]
    if len(given) != 1:
        got = " and ".join(given) or "none"
        raise ProblemError(f"give exactly one of size, fraction and num_kept; got {got}.")
    size = Goal.parse(score.n, **goal).size
    assert size is not None
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
    mask = _prune_in_order(problem, score.ranking(seed=seed)[::-1])
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


def _balance(
    labels: ArrayLike | None, balanced: bool | Balance, n: int, size: int
) -> tuple[ArrayLike, Mapping[Any, tuple[int, int]]]:
    """Turn balance over classes into groups and their limits."""
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
        # A choice by score needs no parameters: a column of zeros stands for S.
        return np.zeros((n, 1))
    rows = S.rows if isinstance(S, Problem) else as_rows(S)
    if rows.n != n:
        raise ProblemError(f"S has {rows.n} rows, the score has {n} values.")
    return rows


def _prune_in_order(problem: Problem, order: IndexArray) -> BoolArray:
    """Prune in the given order what the limits of the groups demand, then what they allow.

    Groups do not overlap, so this is the best subset by rank wherever there is a feasible one.
    """
    assert problem.size is not None
    codes, low, high = _group_limits(problem)
    mask = problem.must_prune.copy()
    forced = np.bincount(codes[mask], minlength=len(low))
    order = order[problem.free[order]]
    # For each example: how many of its group are pruned if all before it in the order are too.
    by_group = np.argsort(codes[order], kind="stable")
    counts = np.bincount(codes[order], minlength=len(low))
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    place = np.empty(len(order), dtype=np.int64)
    place[by_group] = np.arange(len(order)) - starts
    pruned_then = forced[codes[order]] + place + 1
    is_needed = pruned_then <= low[codes[order]]
    mask[order[is_needed]] = True
    is_allowed = ~is_needed & (pruned_then <= high[codes[order]])
    num_left = max(0, problem.size - int(np.count_nonzero(mask)))
    mask[order[is_allowed][:num_left]] = True
    return mask


def _group_limits(problem: Problem) -> tuple[IndexArray, FloatArray, FloatArray]:
    """Give each example the number of its group, and each group its fewest and most pruned.

    The last group holds the examples without limits.
    """
    limits = problem.constraints
    is_limited = np.diff(limits.matrix.indptr) > 0
    codes = np.full(problem.n, len(limits), dtype=np.int64)
    codes[is_limited] = limits.matrix.indices
    return codes, np.append(limits.lower, 0.0), np.append(limits.upper, np.inf)
