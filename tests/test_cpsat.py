"""Solver "cpsat": integer rows, with the rounding accounted for."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest
from enumeration import best, tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from subsetsel.solvers import _model
from subsetsel.solvers.cpsat import quantize

import subsetsel
from subsetsel import Problem
from subsetsel.errors import OptionError
from subsetsel.rows import as_rows
from subsetsel.rows.rank import reduce_rank

# Random rows sometimes cancel as a whole; the enumerated optimum still says what is right.
pytestmark = pytest.mark.filterwarnings("ignore::subsetsel.errors.DegenerateProblemWarning")


@pytest.fixture(autouse=True)
def no_local_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found here is CP-SAT's own: the greedy hint is left out."""
    monkeypatch.setattr(_model, "search_around", lambda problem, run, start: None)


def solve(problem: Problem, **options: Any) -> subsetsel.Solution:
    """Solve with CP-SAT, without the core's bound."""
    return subsetsel.solve(problem, solver="cpsat", **{"bound": False, **options})


QUESTIONS: list[dict[str, Any]] = [
    {"epsilon": 0.0},
    {"epsilon": 1.0},
    {"epsilon": 2.5, "max_size": 5},
    {"epsilon": 1.0, "normalization": "kept"},
    {"size": 4},
    {"size": 6, "must_prune": [0], "must_keep": [1, 2]},
]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.sampled_from(QUESTIONS))
def test_enumerated_optimum_is_found_and_proved(seed: int, question: dict[str, Any]) -> None:
    """Both forms, both normalizations, fixed examples and a cap."""
    problem = Problem(tiny(seed, n=9), **question)
    solution = solve(problem)
    assert solution.status == "optimal"
    found = solution.size if problem.size is None else solution.norm
    assert found == pytest.approx(best(problem), rel=1e-9, abs=1e-12)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000), st.sampled_from([10, 20]), st.sampled_from(QUESTIONS))
def test_coarse_integers_never_prove_wrongly(
    seed: int, resolution: int, question: dict[str, Any]
) -> None:
    """With ten units to the radius the proof may fail, but what is claimed is true."""
    problem = Problem(tiny(seed, n=9), **question)
    solution = solve(problem, resolution=resolution)
    found, optimum = (
        (-solution.size, -best(problem)) if problem.size is None else (solution.norm, best(problem))
    )
    assert found >= optimum - 1e-9
    if solution.status == "optimal":
        assert found == pytest.approx(optimum, rel=1e-9, abs=1e-12)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000))
def test_linear_constraints_are_honoured_in_the_optimum(seed: int) -> None:
    """Quotas and real coefficients, to the enumerated optimum."""
    problem = Problem(
        tiny(seed, n=9),
        epsilon=2.5,
        groups=np.arange(9) % 2,
        group_limits={0: (1, 3), 1: (None, 2)},
        constraints=[(np.linspace(0, 1, 9), 0.3, 2.2)],
    )
    solution = solve(problem)
    optimum = best(problem)
    if optimum == -np.inf:
        assert solution.status == "infeasible"
    else:
        assert solution.status == "optimal"
        assert solution.size == optimum


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(10, 10_000), st.integers(1, 12))
def test_rounding_error_is_bounded(seed: int, resolution: int, max_size: int) -> None:
    """No subset of the allowed size has a rounded norm farther off than the bound says."""
    S = tiny(seed, n=12, d=4)
    reduced = reduce_rank(as_rows(S))
    quantized = quantize(reduced, 1.0, resolution, max_size)
    rng = np.random.default_rng(seed)
    for _ in range(50):
        chosen = rng.permutation(12)[: rng.integers(0, max_size + 1)]
        true = np.linalg.norm(S[chosen].sum(axis=0)) / quantized.unit
        rounded = np.linalg.norm(quantized.rows[chosen].sum(axis=0))
        assert abs(true - rounded) <= quantized.error


def test_long_rows_coarsen_the_unit_instead_of_overflowing() -> None:
    """Sums of absolute coefficients stay below 2^31 whatever epsilon asks for."""
    reduced = reduce_rank(as_rows(1e9 * tiny(0)))
    quantized = quantize(reduced, 1e-3, 10_000, 10)
    assert np.abs(quantized.rows).sum(axis=0).max() < 2**31


def test_float32_scales_do_not_matter() -> None:
    """Tiny and huge rows give the same subset."""
    S = tiny(5).astype(np.float32)
    scales = (np.float32(1e-12), np.float32(1), np.float32(1e12))
    sizes = [solve(Problem(S * f, epsilon=float(1.5 * f))).size for f in scales]
    assert len(set(sizes)) == 1


def test_infeasible_is_proved() -> None:
    """Two examples that must go and nothing that makes up for them."""
    S = np.eye(4) * 3.0
    assert solve(Problem(S, epsilon=1.0, must_prune=[0, 1])).status == "infeasible"


def test_the_same_seed_gives_the_same_subset() -> None:
    """One worker, no clock."""
    problem = Problem(tiny(3, n=25, d=3), size=8)
    first, second = (solve(problem, seed=4, work_limit=0.1) for _ in range(2))
    assert np.array_equal(first.mask, second.mask)


def test_conflicts_are_the_iterations() -> None:
    """A search cut off by its iterations says so and keeps its subset."""
    solution = solve(Problem(tiny(3, n=60, d=8), size=20), max_iterations=200)
    assert solution.limit == "iterations"
    assert solution.status == "feasible"


def test_ctrl_c_returns_the_incumbent() -> None:
    """The interrupt reaches a running search at once."""
    problem = Problem(tiny(3, n=120, d=15), size=40)
    solve(Problem(tiny(0), epsilon=1.0))
    pressed = []

    def press() -> None:
        pressed.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.3, press)
    timer.start()
    solution = solve(problem)
    assert time.perf_counter() - pressed[0] < 1.0
    assert solution.limit == "interrupted"
    assert solution.size == 40


@pytest.mark.parametrize(
    ("shape", "reason"), [((1001, 2), "n = 1001"), ((300, 300), "rank of S is 300")]
)
def test_too_large_is_refused_with_the_reason(shape: tuple[int, int], reason: str) -> None:
    """The message names what is too large and another solver."""
    S = np.random.default_rng(0).normal(size=shape)
    with pytest.raises(OptionError, match=f"{reason}.*anneal"):
        solve(Problem(S, epsilon=1.0))


@pytest.mark.parametrize("option", [{"resolution": 5}, {"resolution": 1.5}, {"work_limit": 0}])
def test_bad_options_are_refused(option: dict[str, Any]) -> None:
    """The message names the option."""
    with pytest.raises(OptionError, match=next(iter(option))):
        solve(Problem(tiny(0), epsilon=1.0), **option)
