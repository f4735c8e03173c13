"""What repeated runs say: means with spread, paired differences, rank correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.errors import ProblemError


@dataclass(frozen=True)
class Paired:
    """Difference of two methods over the same seeds.

    Attributes
    ----------
    mean : float
        Of first minus second.
    low, high : float
        Ends of the confidence interval of the mean; infinite with a single pair.
    p : float
        Two-sided, of the paired t-test; NaN with a single pair.
    num : int
        Pairs.
    """

    mean: float
    low: float
    high: float
    p: float
    num: int


def paired_difference(first: ArrayLike, second: ArrayLike, level: float = 0.95) -> Paired:
    """Compare two methods by the t-test on their differences, seed by seed.

    Parameters
    ----------
    first, second : array_like of shape (r,)
        Results of the same seeds, in the same order.
    level : float
        Of the confidence interval.

    Returns
    -------
    Paired

    Raises
    ------
    ProblemError
        If the lengths differ, there is no pair, or the level is not between 0 and 1.
    """
    from scipy.stats import t as student

    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ProblemError(f"pairs need two equally long lists, got {a.shape} and {b.shape}.")
    if not 0 < level < 1:
        raise ProblemError(f"level must be between 0 and 1, got {level}.")
    differences, num = a - b, len(a)
    mean = float(differences.mean())
    if num == 1:
        return Paired(mean, -np.inf, np.inf, np.nan, 1)
    error = float(differences.std(ddof=1)) / np.sqrt(num)
    reach = float(student.ppf(0.5 + level / 2, num - 1)) * error
    if not error:
        return Paired(mean, mean, mean, 0.0 if mean else 1.0, num)
    p = 2 * float(student.sf(abs(mean) / error, num - 1))
    return Paired(mean, mean - reach, mean + reach, p, num)


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's correlation; ties share their mean rank.

    Parameters
    ----------
    first, second : array_like of shape (r,)

    Returns
    -------
    float
        NaN where one of them is constant.

    Raises
    ------
    ProblemError
        If the lengths differ or there are fewer than two.
    """
    from scipy.stats import rankdata

    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise ProblemError(f"ranks need two equally long lists, got {a.shape} and {b.shape}.")
    ranks = [rankdata(values) - (len(values) + 1) / 2 for values in (a, b)]
    lengths = np.linalg.norm(ranks[0]) * np.linalg.norm(ranks[1])
    return float(ranks[0] @ ranks[1] / lengths) if lengths else float("nan")
