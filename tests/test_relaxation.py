"""The relaxation: its bound closes its own gap, survives any cut-off, and honours constraints."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from relaxed import relax

from subsetsel import LinearConstraint, Problem
from subsetsel.bounds.dual import evaluate_dual
from subsetsel.bounds.relaxation import COARSE, SHARP, Ascent
from subsetsel.problem.fold import fold
from subsetsel.rows.base import FloatArray
from subsetsel.testing import enumerate_optimum


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


# --- a part that no weight moves, weights beyond 1, a multiplier that is known --------------------

# A first multiplier for each: none, and the right one times so much.
_FACTORS = [None, 0.5, 0.7, 1.0, 1.4, 2.0]


def _long_tailed(seed: int, share: float) -> Problem:
    """Rows of 24 dimensions with a drift and lengths that differ a thousandfold."""
    rng = np.random.default_rng(seed)
    S = (rng.normal(size=(1500, 24)) + 0.1) * rng.lognormal(0.0, 1.0, (1500, 1))
    return Problem(S, epsilon=share * float(np.linalg.norm(S.sum(axis=0))))


def _closes(problem: Problem, limits: FloatArray | None = None, most_passes: float = 50) -> None:
    """The gap falls below 1e-4 in few passes, whatever the first multiplier, and value <= bound."""
    best = Ascent(problem, limits=limits).run((1e-6, 1e-3))
    lam = problem.radius(0) / float(np.linalg.norm(best.dual.u))
    for factor in _FACTORS:
        known = None if factor is None else factor * lam
        found = Ascent(problem, limits=limits, lam=known).run((1e-4, 0.0))
        assert found.value <= found.bound
        assert found.bound - found.value <= 1e-4 * found.bound
        assert found.value - 1e-6 <= best.bound
        assert best.value - 1e-6 <= found.bound
        assert found.num_passes <= most_passes


@pytest.mark.parametrize("share", [0.2, 0.02])
@pytest.mark.parametrize("ratio", [0.9, 0.99, 0.999])
@pytest.mark.parametrize("kind", ["row", "against", "along", "across"])
def test_a_fixed_part_near_epsilon_costs_no_passes(share: float, ratio: float, kind: str) -> None:
    """One row that must go, or an offset against, along or across the drift: the gap closes."""
    problem = _long_tailed(0, share)
    drift = problem.rows.total
    across = np.random.default_rng(1).normal(size=problem.d)
    way = {"against": -drift, "along": drift, "across": across, "row": across}[kind]
    assert problem.epsilon is not None
    fixed = ratio * problem.epsilon * way / np.linalg.norm(way)
    if kind == "row":
        rows = np.vstack([problem.S, fixed])
        _closes(Problem(rows, epsilon=problem.epsilon, must_prune=[problem.n]))
    else:
        _closes(Problem(problem.S, epsilon=problem.epsilon, offset=fixed))


@pytest.mark.parametrize("share", [0.2, 0.02])
def test_a_folded_core_has_the_same_optimum(share: float) -> None:
    """With those far from the margin folded into an offset, the bound loses what they add."""
    problem = _long_tailed(2, share)
    whole = relax(problem)
    items = np.argsort(np.abs(whole.dual.reduced_costs))[:480]
    folded = fold(problem, items, whole.dual.reduced_costs > 0)
    inside = relax(folded.problem)
    assert inside.bound + folded.decided.sum() == pytest.approx(whole.bound, rel=1e-5)
    _closes(folded.problem, most_passes=100)


@pytest.mark.parametrize("share", [0.2, 0.02])
def test_rows_that_stand_for_several_leave_no_gap(share: float) -> None:
    """A sample with weights up to hundreds, and an offset of many epsilon: the gap closes."""
    problem = _long_tailed(3, share)
    whole, rng = relax(problem), np.random.default_rng(0)
    norms, distance = problem.rows.squared_norms, np.abs(whole.dual.reduced_costs)
    chances = norms / (distance + 0.1 * np.sqrt(norms))
    chances = np.minimum(1.0, 600 * chances / chances.sum())
    items = np.flatnonzero(rng.random(problem.n) < chances)
    sample, limits = problem.S[items], 1.0 / chances[items]
    offset = problem.rows.sum(whole.weights) - (limits * whole.weights[items]) @ sample
    model = Problem(sample, epsilon=problem.epsilon, offset=offset)
    assert limits.max() > 50
    _closes(model, limits, most_passes=100)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), has_cut=st.booleans())
def test_limits_are_copies_of_rows(seed: int, has_cut: bool) -> None:
    """No U is below what copies of rows reach, with an offset and a linear limit beside."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(2, 6)), int(rng.integers(1, 4))
    S, copies = rng.normal(0.3, 1.0, (n, d)), rng.integers(1, 4, n)
    offset = rng.normal(size=d) * rng.choice([0.0, 0.5, 2.0])
    cut = rng.normal(size=n)
    owner = np.repeat(np.arange(n), copies)
    question = {"epsilon": float(rng.uniform(0.1, 2.0)), "offset": offset}
    cuts = [(cut, -1.0, 1.0)] if has_cut else []
    many = Problem(S[owner], **question, constraints=[(c[owner], *sides) for c, *sides in cuts])
    few, limits = Problem(S, **question, constraints=cuts), copies.astype(np.float64)
    best = enumerate_optimum(many)
    relaxation = Ascent(few, limits=limits).run(SHARP)
    # Beside linear limits the value is not sure.
    assert has_cut or relaxation.value <= relaxation.bound
    for u in (relaxation.dual.u, rng.normal(size=d), few.rows.total):
        dual = evaluate_dual(few, u, rng.normal(size=len(cuts)), limits=limits)
        assert best is None or best.size <= np.floor(dual.bound)
    assert best is None or best.size <= np.floor(relaxation.bound)
    if best is not None and not has_cut:
        assert relaxation.bound == pytest.approx(relax(many).bound, abs=0.1)
