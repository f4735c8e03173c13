"""Solver "relax": cone relaxation, rounding, local search."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from enumeration import best, tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from relaxed import relax as coordinate_ascent
from subsetsel.solvers import relax
from subsetsel.solvers.relax import RelaxOptions, RelaxSolver

import subsetsel
from subsetsel import Problem
from subsetsel.bounds.dual import evaluate_dual
from subsetsel.engine.options import Limits
from subsetsel.engine.registry import get_spec
from subsetsel.engine.run import Run
from subsetsel.errors import OptionError

# Random rows sometimes cancel as a whole; the enumerated optimum still says what is right.
pytestmark = pytest.mark.filterwarnings("ignore::subsetsel.errors.DegenerateProblemWarning")


def solve(problem: Problem, **options: Any) -> subsetsel.Solution:
    """Solve by relaxation."""
    return subsetsel.solve(problem, solver="relax", **options)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000), st.sampled_from([0.0, 0.5, 2.0]))
def test_its_dual_proves_a_bound_above_the_optimum(seed: int, epsilon: float) -> None:
    """The bound holds for the enumerated optimum, and the result is feasible."""
    problem = Problem(tiny(seed), epsilon=epsilon)
    run = Run(problem, Limits())
    candidate = RelaxSolver().solve(problem, RelaxOptions(), run)
    optimum = best(problem)
    assert run.size <= optimum
    if candidate.dual is not None:
        assert evaluate_dual(problem, candidate.dual).bound >= optimum


@pytest.mark.parametrize("is_constrained", [False, True])
def test_its_bound_is_as_tight_as_coordinate_ascent(is_constrained: bool) -> None:
    """Two ways to the same relaxation agree, the multipliers of linear constraints included."""
    extra: dict[str, Any] = {}
    if is_constrained:
        extra = {"groups": np.arange(80) % 2, "group_limits": {0: (0, 15), 1: (10, 40)}}
    problem = Problem(tiny(0, n=80, d=6), epsilon=4.0, **extra)
    run = Run(problem, Limits())
    candidate = RelaxSolver().solve(problem, RelaxOptions(), run)
    assert candidate.bound == pytest.approx(coordinate_ascent(problem).bound, abs=0.2)


def test_rotated_and_repeated_columns_change_nothing() -> None:
    """Only the row space counts: ten copies of the columns give the same size and bound."""
    S = tiny(1, n=60, d=4)
    plain = solve(Problem(S, epsilon=4.0))
    wide = solve(Problem(np.tile(S, 10) / np.sqrt(10), epsilon=4.0))
    assert wide.size == plain.size
    assert wide.bound == pytest.approx(plain.bound, abs=1e-3)


@pytest.mark.parametrize(
    "question",
    [
        {"epsilon": 4.0},
        {"epsilon": 4.0, "normalization": "kept"},
        {"size": 20},
        {"epsilon": 4.0, "max_size": 18},
    ],
)
def test_every_constraint_is_honoured(question: dict[str, Any]) -> None:
    """Both forms, both normalizations, with quotas, fixed examples and real coefficients."""
    problem = Problem(
        tiny(3, n=60, d=5),
        groups=np.arange(60) % 3,
        group_limits={0: (2, 8), 1: (6, 6)},
        must_prune=[0, 1],
        must_keep=[2, 3],
        constraints=[(np.linspace(0, 1, 60), 2.0, 12.0)],
        **question,
    )
    solution = solve(problem)
    assert solution.status in {"feasible", "optimal"}
    assert problem.violations(solution.mask) == []


def test_zero_influence_is_no_obstacle() -> None:
    """Rank 0 leaves nothing to relax."""
    assert solve(Problem(np.zeros((6, 2)), epsilon=1.0, max_size=4)).size == 4


def test_no_time_for_the_relaxation_still_gives_a_subset() -> None:
    """With less time than one interior-point solve needs, the local search alone answers."""
    solution = solve(Problem(tiny(0, n=60, d=5), epsilon=4.0), time_limit=0.05, bound=False)
    assert solution.stats["is_relaxed"] is False
    assert solution.status == "feasible"


def test_the_same_call_gives_the_same_subset() -> None:
    """Rounding and search have no chance but the seed's."""
    problem = Problem(tiny(1, n=60, d=6), size=20)
    assert np.array_equal(solve(problem, seed=3).mask, solve(problem, seed=3).mask)


def test_too_large_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names n x rank and another solver."""
    monkeypatch.setattr(relax, "MAX_ENTRIES", 100)
    with pytest.raises(OptionError, match=r"60 x 5 .* solver='anneal'"):
        solve(Problem(tiny(0, n=60, d=5), epsilon=4.0), bound=False)


def test_it_is_registered_with_what_it_proves() -> None:
    """The table of solvers says that it bounds."""
    assert get_spec("relax").proves == "bound"
