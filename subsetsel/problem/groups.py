"""Quotas of groups: how many examples of each class, stratum or source are pruned."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from subsetsel.errors import ProblemError
from subsetsel.problem.arguments import GroupLimits
from subsetsel.problem.constraints import Constraints
from subsetsel.rows.base import FloatArray, IndexArray
from subsetsel.support.arrays import is_missing, to_numpy


def group_constraints(
    n: int,
    groups: ArrayLike | None,
    group_limits: GroupLimits | None,
) -> Constraints:
    """Limits on how many examples of each group are pruned.

    Parameters
    ----------
    n : int
        Number of examples.
    groups : array_like of shape (n,), optional
        The group of each example: class, stratum, source; any labels.
    group_limits : mapping, optional
        label -> (fewest, most) pruned; None in either place for no limit. Groups that are not
        named are free.

    Returns
    -------
    Constraints
        One row per named group.

    Raises
    ------
    ProblemError
        If only one of the two is given, lengths differ, a label does not occur, two name the same
        examples, or limits are crossed or negative.
    """
    if groups is None and group_limits is None:
        return Constraints.build(n, [])
    if groups is None or group_limits is None:
        raise ProblemError(
            "groups and group_limits belong together: groups says where each example belongs, "
            "group_limits how many of each may be pruned."
        )
    labels = _as_labels(groups)
    if labels.shape != (n,):
        raise ProblemError(
            f"groups must hold one label per example, shape ({n},), got shape {labels.shape}."
        )
    which = np.full(n, -1, dtype=np.int64)
    bounds: list[tuple[float, float]] = []
    for label, limits in group_limits.items():
        members = labels == label
        count = int(np.count_nonzero(members))
        if count == 0:
            raise ProblemError(f"group_limits names the group {label!r}, which no example has.")
        if (earlier := int(which[members].max())) >= 0:
            raise ProblemError(
                f"group_limits[{list(group_limits)[earlier]!r}] and group_limits[{label!r}] limit "
                "the same examples, and a group has one limit; name each group once, by its label."
            )
        try:
            fewest, most = limits
        except (TypeError, ValueError) as error:
            raise ProblemError(
                f"group_limits[{label!r}] must be a pair (fewest, most) pruned, got {limits!r}."
            ) from error
        low = 0 if fewest is None else fewest
        high = count if most is None else most
        are_counts = all(
            isinstance(limit, (int, np.integer)) and not isinstance(limit, bool)
            for limit in (low, high)
        )
        if not (are_counts and 0 <= low <= high):
            raise ProblemError(
                f"group_limits[{label!r}] must be counts with 0 <= fewest <= most, got {limits!r}."
            )
        which[members] = len(bounds)
        bounds.append((float(low), float(high)))
    lower, upper = np.array(bounds, dtype=np.float64).reshape(-1, 2).T
    names = tuple(f"pruned of group {label!r}" for label in group_limits)
    return Constraints(_one_row_each(which, len(bounds)), lower, upper, names)


def _one_row_each(which: IndexArray, num_groups: int) -> sparse.csc_array:
    """Count the pruned of each group; one entry per example, or none where its group is -1."""
    is_limited = which >= 0
    starts = np.concatenate([[0], np.cumsum(is_limited)])
    members = which[is_limited]
    return sparse.csc_array(
        (np.ones(len(members)), members, starts), shape=(num_groups, len(which))
    )


def balanced_limits(
    groups: ArrayLike, *, size: int, policy: Literal["proportional", "equal_kept"] = "proportional"
) -> dict[Hashable, tuple[int, int]]:
    """Quotas that prune ``size`` examples in a balanced way.

    Parameters
    ----------
    groups : array_like of shape (n,)
        The group of each example.
    size : int
        How many examples to prune in all.
    policy : {"proportional", "equal_kept"}
        Prune the same share of each group, or keep the same number of each group (small groups
        are kept whole; the others share what is left).

    Returns
    -------
    dict
        label -> (count, count), ready for ``group_limits``; the counts add up to ``size``.

    Raises
    ------
    ProblemError
        If ``size`` is outside [0, n] or the policy is unknown.
    """
    labels, counts = np.unique(_as_labels(groups), return_counts=True)
    n = int(counts.sum())
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or not 0 <= size <= n:
        raise ProblemError(f"size must be an integer between 0 and n = {n}, got {size!r}.")
    if n == 0:
        return {}
    if policy == "proportional":
        ideal = counts * (size / n)
    elif policy == "equal_kept":
        ideal = counts - _equal_shares(counts, n - size)
    else:
        raise ProblemError(f"policy must be 'proportional' or 'equal_kept', got {policy!r}.")
    pruned = np.floor(ideal + 1e-9).astype(np.int64)
    # Rounding down left some examples over; they go to the groups with the largest remainders.
    left = size - int(pruned.sum())
    order = np.argsort(-(ideal - pruned), kind="stable")
    pruned[order[:left]] += 1
    names = labels.tolist()
    if labels.dtype.kind in "mM" and isinstance(names[0], int):
        # Of times in nanoseconds NumPy makes plain integers, which are no labels.
        names = list(labels)
    return {label: (int(m), int(m)) for label, m in zip(names, pruned, strict=True)}


def _equal_shares(counts: np.ndarray[Any, Any], num_kept: int) -> FloatArray:
    """Fill groups to one common level whose sum is ``num_kept``."""
    shares = np.zeros(len(counts))
    left, open_groups = float(num_kept), np.argsort(counts, kind="stable")
    for position, group in enumerate(open_groups):
        level = left / (len(open_groups) - position)
        shares[group] = min(float(counts[group]), level)
        left -= shares[group]
    return shares


def _as_labels(groups: Any) -> np.ndarray[Any, Any]:
    """Read the group of each example; every example must have one."""
    if isinstance(groups, np.ma.MaskedArray):
        raise ProblemError(
            "groups is a masked array, and an example whose group is hidden belongs to none; give "
            "these a group of their own, as by groups.filled(-1)."
        )
    labels = to_numpy(groups, "groups")
    if labels.dtype.kind in "fcOmM":
        missing = [k for k, label in enumerate(labels.ravel()) if is_missing(label)]
        if missing:
            raise ProblemError(
                f"groups holds no group for example {missing[0]} ({labels.ravel()[missing[0]]!r}; "
                f"{len(missing)} in all); give these a group of their own, as by "
                "pandas.Series(groups).astype(str)."
            )
    if labels.dtype.kind == "O" and len({type(label) for label in labels.ravel()}) > 1:
        raise ProblemError(
            "groups mixes types, so that 1 and '1' would be two groups; give "
            "[str(group) for group in groups]."
        )
    return labels
