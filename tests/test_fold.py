"""A problem in which most examples are decided, and back."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from relaxed import relax
from strategies import max_size_problems, min_norm_problems

from subsetsel.errors import ProblemError
from subsetsel.problem.fold import fold
from subsetsel.problem.problem import Problem
from subsetsel.testing import enumerate_optimum, feasible_subsets
from subsetsel.testing.oracle import dense_float64


def every_subset(n: int) -> np.ndarray:
    """All masks of n examples."""
    return np.asarray((np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1)


def drawn(seed: int, *, size: bool) -> tuple[Problem, np.ndarray, np.ndarray]:
    """A problem with two constraints and an offset, who is open, and what decides the others."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 30))
    S = rng.normal(size=(n, 3))
    mask = rng.random(n) < 0.5
    items = np.flatnonzero(rng.random(n) < 0.6)
    items = items if items.size else np.array([0])
    problem = Problem(
        S,
        **({"size": int(mask.sum())} if size else {"epsilon": 2.0, "max_size": int(mask.sum())}),
        constraints=[(rng.normal(size=n), -2.0, 2.0), (np.ones(n), 1, n)],
        offset=rng.normal(size=3),
    )
    return problem, items, mask


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), size=st.booleans())
def test_a_subset_of_the_open_ones_is_as_feasible_as_the_whole(seed: int, size: bool) -> None:
    """Norm, linear violations and feasibility agree before and after, whatever the open ones do."""
    problem, items, mask = drawn(seed, size=size)
    folded = fold(problem, items, mask)
    rng = np.random.default_rng(seed + 1)
    part = rng.random(folded.items.size) < 0.5
    whole = folded.unfold(part)
    assert folded.problem.norm(part) == pytest.approx(problem.norm(whole), rel=1e-9, abs=1e-9)
    assert len(folded.problem.violations(part)) == len(problem.violations(whole))


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000))
def test_folding_and_back_is_the_identity(seed: int) -> None:
    """What the mask says of the open ones comes back whole."""
    problem, items, mask = drawn(seed, size=True)
    folded = fold(problem, items, mask)
    assert (folded.unfold(mask[folded.items]) == mask).all()


@settings(deadline=None, max_examples=60)
@given(
    problem=st.one_of(max_size_problems("full"), min_norm_problems()), seed=st.integers(0, 10_000)
)
def test_what_is_feasible_is_feasible_folded(problem: Problem, seed: int) -> None:
    """Fixed examples, groups, caps and offsets: the feasible sets are those with the others so."""
    rng = np.random.default_rng(seed)
    decided = (rng.random(problem.n) < 0.5) & ~problem.must_keep | problem.must_prune
    items = np.flatnonzero(rng.random(problem.n) < 0.7)
    masks, _ = feasible_subsets(problem)
    others = np.setdiff1d(np.arange(problem.n), items)
    masks = masks[(masks[:, others] == decided[others]).all(axis=1)]
    try:
        folded = fold(problem, items, decided)
    except ProblemError:
        assert not len(masks) or not items.size
        return
    parts, _ = feasible_subsets(folded.problem)
    # A norm that rounding puts beside the limit may count on either side.
    scale = 1e-6 * max(1.0, float(np.abs(dense_float64(problem)).sum()))
    on_edge = problem.epsilon is not None and any(
        abs(problem.norm(mask) - problem.epsilon) <= scale
        for mask in map(folded.unfold, every_subset(items.size))
    )
    assert on_edge or {m.tobytes() for m in masks} == {folded.unfold(p).tobytes() for p in parts}


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000))
def test_the_bound_of_a_folded_problem_is_that_of_its_part(seed: int) -> None:
    """With those that are decided it is below no subset in which they are as decided."""
    problem, items, mask = drawn(seed, size=False)
    folded = fold(problem, items[:10], mask)
    best = enumerate_optimum(folded.problem)
    bound = relax(folded.problem).bound
    if best is not None:
        whole = folded.unfold(best.mask)
        assert problem.norm(whole) == pytest.approx(best.norm, rel=1e-9, abs=1e-9)
        assert np.floor(bound) + folded.decided.sum() >= whole.sum()


def test_the_sum_of_the_others_may_be_known() -> None:
    """It is taken for the offset as it is."""
    problem, items, mask = drawn(3, size=True)
    others = mask.copy()
    others[items] = False
    known = fold(problem, items, mask, total=problem.sum(others)).problem
    assert known.offset == pytest.approx(fold(problem, items, mask).problem.offset)


@pytest.mark.parametrize(
    ("question", "mask", "message"),
    [
        ({"size": 2, "must_prune": [4]}, [0, 0, 0, 0, 0], "contradict must_prune or must_keep"),
        ({"size": 2, "must_keep": [4]}, [0, 0, 0, 0, 1], "contradict must_prune or must_keep"),
        ({"size": 1}, [0, 0, 0, 1, 1], "2 of the examples .* are pruned and 3 are open"),
        ({"size": 5}, [0, 0, 0, 0, 1], "1 of the examples .* are pruned and 3 are open"),
        ({"epsilon": 1.0, "max_size": 1}, [0, 0, 0, 1, 1], "2 of the examples .* are pruned"),
        ({"epsilon": 1.0, "normalization": "kept"}, [0] * 5, "cannot be folded; ask it with a"),
    ],
)
def test_what_cannot_be_folded_is_named(
    question: dict[str, Any], mask: list[int], message: str
) -> None:
    """Contradictions, sizes that nothing reaches, and a radius that depends on all n."""
    with pytest.raises(ProblemError, match=message):
        fold(Problem(np.eye(5), **question), np.arange(3), np.array(mask, dtype=bool))


def test_nothing_open_is_named() -> None:
    """A problem needs an example."""
    with pytest.raises(ProblemError, match="no example is open"):
        fold(Problem(np.eye(5), size=2), np.array([], dtype=int), np.arange(5) < 2)


def test_a_limit_of_which_rounding_is_left_excludes_nothing() -> None:
    """0.3 less three times 0.1 is a little below 0, and what is open adds nothing.

    Mutation: the slack is made of what is left: nothing is feasible.
    """
    S = np.random.default_rng(0).normal(size=(12, 3))
    coefficients = np.where(np.arange(12) < 3, 0.1, 0.0)
    problem = Problem(S, size=5, must_prune=[0, 1, 2], constraints=[(coefficients, None, 0.3)])
    mask = np.arange(12) < 5
    assert not problem.linear_violations(mask)
    assert not fold(problem, np.arange(3, 12), mask).problem.linear_violations(mask[3:])
