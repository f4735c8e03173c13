"""The relaxation: its bound closes its own gap, survives any cut-off, and honours constraints."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from relaxed import relax

from subsetsel import LinearConstraint, Problem
from subsetsel.bounds.relaxation import COARSE, SHARP, Ascent


def _problem(seed: int, n: int = 60, d: int = 5, share: float = 0.3) -> Problem:
    S = np.random.default_rng(seed).normal(0.3, 1.0, size=(n, d))
    return Problem(S, epsilon=share * float(np.linalg.norm(S.sum(axis=0))))


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 60),
    d=st.integers(1, 8),
    share=st.floats(0.05, 0.9),
)
def test_gap_closes(seed: int, n: int, d: int, share: float) -> None:
    """Bound and relaxed value meet within a tenth of an example."""
    relaxation = relax(_problem(seed, n, d, share))
    assert relaxation.value - 1e-6 <= relaxation.bound <= relaxation.value + 0.1


def test_weights_are_feasible() -> None:
    """The weights lie in the box, and their scaled sum is the reported value."""
    problem = _problem(1)
    relaxation = relax(problem)
    assert relaxation.weights.min() >= 0
    assert relaxation.weights.max() <= 1
    norm = float(np.linalg.norm(problem.rows.sum(relaxation.weights)))
    assert problem.epsilon is not None
    scale = min(1.0, problem.epsilon / norm)
    assert relaxation.value == pytest.approx(scale * relaxation.weights.sum(), rel=1e-6)


def test_bound_is_valid_without_time() -> None:
    """Cut off at once, the bound is looser but still above the relaxed optimum."""
    problem = _problem(2)
    assert relax(problem, time_limit=0.0).bound >= relax(problem).value


def test_a_second_run_only_sharpens() -> None:
    """Going on from coarse to sharp never loosens the bound."""
    ascent = Ascent(_problem(3, n=400))
    coarse = ascent.run(COARSE)
    sharp = ascent.run(SHARP)
    assert sharp.bound <= coarse.bound
    assert sharp.num_passes >= coarse.num_passes


def test_linear_constraint_tightens_the_bound() -> None:
    """A quota that costs something shows in the bound, which stays valid."""
    problem = _problem(4)
    row = np.arange(60) % 2 == 0
    capped = Problem(
        problem.S, epsilon=problem.epsilon, constraints=[LinearConstraint(row, None, 3)]
    )
    assert relax(capped).bound < relax(problem).bound - 1
    assert relax(capped).bound <= 33 + 1e-6


def test_fixed_examples_keep_their_weight() -> None:
    """Examples that must be pruned weigh 1, those that must be kept 0."""
    problem = _problem(5).replace(must_prune=[0, 1], must_keep=[2, 3])
    weights = relax(problem).weights
    assert weights[[0, 1]].tolist() == [1, 1]
    assert weights[[2, 3]].tolist() == [0, 0]


def test_float32_gives_the_same_bound() -> None:
    """Half the digits in S move the bound by less than an example's hundredth."""
    problem = _problem(6, n=300)
    assert problem.epsilon is not None
    single = Problem(np.asarray(problem.S, np.float32), epsilon=problem.epsilon)
    assert relax(single).bound == pytest.approx(relax(problem).bound, abs=0.05)
