"""A few of many examples: best choices one by one, from nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from subsetsel.solvers._insertion import choose_few

import subsetsel
from subsetsel.engine.options import Limits
from subsetsel.engine.run import Run
from subsetsel.problem.problem import Problem


def _herd(S: Any, count: int, total: Any, sign: float) -> list[float]:
    """Norms after each of ``count`` best choices, as a page of NumPy would have them."""
    norms, chosen = [], np.zeros(len(S), dtype=bool)
    for _ in range(count):
        after = np.linalg.norm(total + sign * S, axis=1)
        after[chosen] = np.inf
        best = int(np.argmin(after))
        chosen[best] = True
        total = total + sign * S[best]
        norms.append(float(after[best]))
    return norms


@pytest.mark.parametrize("num_pruned", [12, 4988])
def test_a_dozen_of_many_is_no_worse_than_best_choices_one_by_one(num_pruned: int) -> None:
    """Few pruned from nothing, few kept from all: the default begins where herding ends."""
    S = np.random.default_rng(3).normal(size=(5000, 64)) + 0.02
    start, sign = (np.zeros(64), 1.0) if num_pruned == 12 else (S.sum(axis=0), -1.0)
    expected = _herd(S, 12, start, sign)[-1]
    assert subsetsel.solve(S, size=num_pruned).norm <= expected * (1 + 1e-9)


def test_a_small_epsilon_in_many_dimensions_gets_what_best_choices_get() -> None:
    """Where rounding the relaxation leaves hardly anything, a prefix of herding fits."""
    S = np.random.default_rng(5).normal(size=(800, 200))
    epsilon = 0.08 * float(np.linalg.norm(S.sum(axis=0)))
    expected = sum(norm <= epsilon for norm in _herd(S, 60, np.zeros(200), 1.0))
    assert expected >= 5
    assert subsetsel.solve(S, epsilon=epsilon, max_iterations=300_000).size >= expected


def test_of_a_head_the_few_kept_are_not_chosen_by_norm_alone() -> None:
    """Rows that sum to zero: tiny ones as all that is kept would have no curvature."""
    rng = np.random.default_rng(7)
    S = rng.normal(size=(600, 20)) * np.repeat([1e-3, 1.0], 300)[:, None]
    S -= S.mean(axis=0)
    problem = Problem(S, num_kept=12)
    assert choose_few(problem, Run.quiet(problem)) is None
    # Pruning as few is another matter: the smallest rows are then the right ones.
    problem = Problem(S, size=12)
    found = choose_few(problem, Run.quiet(problem))
    assert found is not None
    assert np.flatnonzero(found[0]).max() < 300


def test_a_few_with_quotas_respect_them() -> None:
    """What best choices lead to is brought within the groups' limits."""
    S = np.random.default_rng(11).normal(size=(900, 30))
    groups = np.arange(900) % 3
    problem = Problem(S, size=12, groups=groups, group_limits={0: (4, 4), 1: (4, 4), 2: (4, 4)})
    found = choose_few(problem, Run.quiet(problem))
    assert found is not None
    assert np.bincount(groups[found[0]]).tolist() == [4, 4, 4]
    assert found[1] == pytest.approx(np.linalg.norm(S[found[0]].sum(axis=0)))


def test_best_choices_leave_most_of_the_iterations_to_the_search() -> None:
    """With too few iterations for every choice, nothing is begun that cannot be finished."""
    S = np.random.default_rng(13).normal(size=(3000, 10))
    problem = Problem(S, size=150)
    run = Run(problem, Limits(max_iterations=20))
    assert choose_few(problem, run) is None
    assert run.num_iterations == 0
