"""Starts for a search at another size or under more constraints."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from subsetsel import Problem
from subsetsel.problem.constraints import LinearConstraint
from subsetsel.problem.resize import start_near


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), size=st.integers(3, 27), before=st.integers(0, 30))
def test_the_size_and_the_fixed_examples_are_as_asked(seed: int, size: int, before: int) -> None:
    """Whatever the guess holds, three are pruned for good and three kept."""
    rng = np.random.default_rng(seed)
    problem = Problem(
        rng.normal(size=(30, 4)), size=size, must_prune=[0, 1, 2], must_keep=[27, 28, 29]
    )
    guess = np.isin(np.arange(30), rng.choice(30, size=before, replace=False))
    mask = start_near(problem, guess)
    assert not problem.violations(mask)


def test_growing_a_good_subset_keeps_it_better_than_growing_it_at_random() -> None:
    """The examples that join are those which leave the smallest norm."""
    rng = np.random.default_rng(0)
    S = rng.normal(size=(400, 5))
    mask = np.zeros(400, dtype=np.bool_)
    mask[:100] = True
    problem = Problem(S, size=120)
    joining = 100 + rng.choice(300, size=20, replace=False)
    at_random = mask.copy()
    at_random[joining] = True
    grown = start_near(problem, mask)
    assert (grown & mask).sum() == 100
    assert problem.norm(grown) < 0.5 * problem.norm(at_random)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000))
def test_linear_constraints_that_leave_room_are_mended(seed: int) -> None:
    """Two dense cuts that an average subset meets hold after a guess that broke both."""
    rng = np.random.default_rng(seed)
    coefficients = rng.random((2, 60)) / 60
    cuts = [LinearConstraint(c, None, 0.52 * c.sum()) for c in coefficients]
    problem = Problem(rng.normal(size=(60, 3)), size=30, constraints=cuts)
    guess = np.zeros(60, dtype=np.bool_)
    guess[np.argsort(-coefficients.sum(axis=0))[:30]] = True
    assert problem.constraints.violations(guess)
    assert not problem.violations(start_near(problem, guess))
