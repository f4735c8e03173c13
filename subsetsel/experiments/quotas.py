"""Quotas of a comparison: how many of each class, stratum or both are pruned.

Each is a question that a draw and a joint choice understand alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from subsetsel import scores
from subsetsel.scores import Score

if TYPE_CHECKING:
    from subsetsel.experiments.methods import Selector

Question = dict[str, Any]

NUM_STRATA = 50


def hardest_cut(num_kept: int, n: int, num_classes: int) -> float:
    """Share of the hardest examples that coverage strata leave out before they are filled.

    Less is cut the more can be kept: 30 % at up to 150 examples a class, 20 % up to 300, 10 %
    beyond, nothing from half of the data set on. Fixed before anything here was measured.

    Returns
    -------
    float
    """
    if 2 * num_kept >= n:
        return 0.0
    each = num_kept / num_classes
    return 0.3 if each <= 150 else 0.2 if each <= 300 else 0.1


def gentle_cut(num_kept: int, n: int, num_classes: int) -> float:
    """Share of the hardest that is left out where examples are chosen more carefully: 20 % at most.

    Found on seeds 0 to 4 of LeNet on Fashion-MNIST, and confirmed on others (docs/experiments.md).

    Returns
    -------
    float
    """
    return min(0.2, hardest_cut(num_kept, n, num_classes))


def of_classes(s: Selector, k: int) -> Question:
    """Prune the same share of each class."""
    return {"size": s.n - k, "groups": s.labels, "group_limits": s.class_limits(k)}


def of_both(s: Selector, k: int, *, is_gentle: bool = False) -> Question:
    """Prune of every class in every stratum what one draw within strata prunes of it."""
    # Quotas of every class within every stratum are not whole numbers, and cells are small; those
    # that one draw within strata happens to meet are rounded without a preference.
    strata = s.strata(k, is_gentle=is_gentle)
    is_pruned = s.draw(strata.question).mask
    pairs = np.stack([strata.groups, s.labels])
    cells = np.unique(pairs, axis=1, return_inverse=True)[1].reshape(-1)
    pruned = np.bincount(cells[is_pruned], minlength=int(cells.max()) + 1)
    limits = {cell: (int(m), int(m)) for cell, m in enumerate(pruned)}
    question = {"size": s.n - k, "groups": cells, "group_limits": limits}
    return {**question, "must_prune": strata.must_prune}


def of_strata_in_classes(s: Selector, k: int) -> Question:
    """Prune the same share of each class, by strata laid, cut and filled in it by itself."""
    limits = s.class_limits(k)
    groups, must_prune = np.full(s.n, -1, dtype=np.int64), np.zeros(s.n, dtype=np.bool_)
    quotas: dict[int, tuple[int, int]] = {}
    for code, label in enumerate(np.unique(s.labels)):
        mine = np.flatnonzero(s.labels == label)
        strata = scores.strata_quotas(
            Score("el2n", s.scorer.el2n[mine], "highest"),
            len(mine) - limits[label][0],
            cut=s.cut(k),
            num_strata=NUM_STRATA,
            seed=s.seed,
        )
        must_prune[mine] = strata.must_prune
        groups[mine] = np.where(strata.groups < 0, -1, code * NUM_STRATA + strata.groups)
        quotas |= {code * NUM_STRATA + g: pruned for g, pruned in strata.group_limits.items()}
    question = {"size": s.n - k, "groups": groups, "group_limits": quotas}
    return {**question, "must_prune": must_prune}
