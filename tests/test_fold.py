"""A problem in which most examples are decided, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subsetsel.problem.fold import fold
from subsetsel.problem.problem import Problem


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


@given(seed=st.integers(0, 10_000))
def test_folding_and_back_is_the_identity(seed: int) -> None:
    """What the mask says of the open ones comes back whole."""
    problem, items, mask = drawn(seed, size=True)
    folded = fold(problem, items, mask)
    assert (folded.unfold(mask[folded.items]) == mask).all()
