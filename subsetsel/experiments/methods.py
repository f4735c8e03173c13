"""The ways of choosing what to keep, all from what one scorer says.

Every method keeps the same number (Eq. 4 of the paper), so that they compare. ``joint`` is the
paper's method.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from subsetsel.errors import OptionError, SolverError
from subsetsel.experiments.selector import NUM_STRATA, Indices, Question, Selector
from subsetsel.problem.groups import balanced_limits
from subsetsel.problem.solution import Solution
from subsetsel.scores import Score, class_mean, influence, strata_quotas


def choose(selector: Selector, method: str, num_kept: int) -> Indices:
    """Choose what to keep.

    Parameters
    ----------
    method : str
        A key of `METHODS`.

    Returns
    -------
    ndarray of int64, shape (num_kept,)
        Sorted.

    Raises
    ------
    OptionError
        If there is no such method, or num_kept is not between 1 and n - 1.
    SolverError
        If the quotas of a method cannot be met.
    """
    if method not in METHODS:
        raise OptionError(f"there is no method {method!r}; choose among {', '.join(METHODS)}.")
    if not 0 < num_kept < selector.n:
        raise OptionError(f"num_kept must be between 1 and {selector.n - 1}, got {num_kept}.")
    solution = METHODS[method](selector, num_kept)
    if not solution.is_feasible:
        raise SolverError(f"{method} found nothing for num_kept={num_kept}: {solution}.")
    return solution.kept


def same_share_of_classes(s: Selector, k: int) -> Question:
    """Prune the same share of each class."""
    size = s.n - k
    limits = balanced_limits(s.labels, size=size)
    return {"size": size, "groups": s.labels, "group_limits": limits}


def strata_within_classes(s: Selector, k: int) -> Question:
    """Prune the same share of each class; lay, cut and fill strata in each class by itself."""
    limits = balanced_limits(s.labels, size=s.n - k)
    groups, must_prune = np.full(s.n, -1, dtype=np.int64), np.zeros(s.n, dtype=np.bool_)
    quotas: dict[int, tuple[int, int]] = {}
    for code, label in enumerate(np.unique(s.labels)):
        mine = np.flatnonzero(s.labels == label)
        hardness = Score("el2n", s.scorer.el2n[mine], "highest")
        num_kept = len(mine) - limits[label][0]
        strata = strata_quotas(hardness, num_kept, s.cut(k), NUM_STRATA, seed=s.seed)
        must_prune[mine] = strata.must_prune
        groups[mine] = np.where(strata.groups < 0, -1, code * NUM_STRATA + strata.groups)
        quotas |= {code * NUM_STRATA + g: pruned for g, pruned in strata.group_limits.items()}
    question = {"size": s.n - k, "groups": groups, "group_limits": quotas}
    return {**question, "must_prune": must_prune}


def cells_of_a_draw(s: Selector, k: int) -> Question:
    """Prune as many of each class in each stratum as one draw of ``strata_gentle`` prunes there."""
    # An equal share of each class in each stratum is no whole number, and these cells are small. A
    # draw rounds the shares without a preference.
    strata = s.strata(k, is_gentle=True)
    is_pruned = s.draw(strata.question).mask
    pairs = np.stack([strata.groups, s.labels])
    cells = np.unique(pairs, axis=1, return_inverse=True)[1].reshape(-1)
    pruned = np.bincount(cells[is_pruned], minlength=int(cells.max()) + 1)
    limits = {cell: (int(m), int(m)) for cell, m in enumerate(pruned)}
    question = {"size": s.n - k, "groups": cells, "group_limits": limits}
    return {**question, "must_prune": strata.must_prune}


METHODS: dict[str, Callable[[Selector, int], Solution]] = {
    "random": lambda s, k: s.draw({"num_kept": k}),
    "random_classes": lambda s, k: s.draw(same_share_of_classes(s, k)),
    "class_mean": lambda s, k: s.rank(class_mean(s.scorer.features, s.labels), k),
    "herding": lambda s, k: s.rank(s.herding_score, k),
    "forgetting": lambda s, k: s.rank(s.score("forgetting"), k),
    "el2n": lambda s, k: s.rank(s.score("el2n"), k),
    "grand": lambda s, k: s.rank(s.score("grand"), k),
    "influence": lambda s, k: s.rank(influence(s.problem), k),
    "strata": lambda s, k: s.draw(s.strata(k).question),
    "strata_gentle": lambda s, k: s.draw(s.strata(k, is_gentle=True).question),
    "strata_classes": lambda s, k: s.draw(strata_within_classes(s, k)),
    "joint": lambda s, k: s.solve({"size": s.n - k}),
    "joint_classes": lambda s, k: s.solve(same_share_of_classes(s, k)),
    "joint_both_gentle": lambda s, k: s.solve(cells_of_a_draw(s, k)),
}
"""Name -> how it chooses; docs/experiments.md has a sentence on each."""
