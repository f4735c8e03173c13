"""Curvature retention: the cuts say what they should, and the returned sets satisfy it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from head_oracle import AutogradHead, blobs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigh

import subsetsel
from subsetsel.guarantee.curvature import curvature_cut, weak_directions
from subsetsel.problem.constraints import Constraints

L2 = 1e-2
X, Y = blobs()
PROBLEM = subsetsel.Problem.from_features(X, Y, l2=L2, size=30)
HEAD: Any = PROBLEM.head


def hessians(kept: Any) -> tuple[Any, Any]:
    """H on all examples and on the kept ones, by automatic differentiation."""
    theta = HEAD.theta
    return AutogradHead(X, Y, L2).hessian(theta), AutogradHead(X[kept], Y[kept], L2).hessian(theta)


def kept_share(V: Any, full: Any, part: Any) -> float:
    """V^T H_K V / V^T H V."""
    return float(V.ravel() @ part @ V.ravel() / (V.ravel() @ full @ V.ravel()))


def least_eigenvalue(kept: Any) -> float:
    """Of L^-1 H_K L^-T, as a generalized eigenvalue."""
    full, part = hessians(kept)
    return float(eigh(part, full, eigvals_only=True)[0])


@cache
def pruned_without_a_floor() -> Any:
    """What the floors are compared with; the same search each time."""
    return subsetsel.prune(X, Y, l2=L2, rel_epsilon=0.1, num_proposals=5000)[0]


@settings(deadline=None, max_examples=12, derandomize=True)
@given(seed=st.integers(0, 10_000), num_kept=st.integers(5, 85), share=st.floats(0.05, 0.95))
def test_a_cut_holds_exactly_where_the_share_is_kept(
    seed: int, num_kept: int, share: float
) -> None:
    """At every size, against Hessians by automatic differentiation."""
    rng = np.random.default_rng(seed)
    V = rng.normal(size=HEAD.theta.shape)
    kept = np.isin(np.arange(90), rng.choice(90, size=num_kept, replace=False))
    held = kept_share(V, *hessians(kept))
    if abs(held - share) > 1e-6:
        cut = Constraints.build(90, [curvature_cut(HEAD, V, share)])
        assert bool(cut.violations(~kept)) == (held < share)


def test_weak_directions_are_the_ones_that_are_short() -> None:
    """Weakest first; the shares along them are the smallest eigenvalues."""
    kept = np.isin(np.arange(90), np.random.default_rng(3).choice(90, size=15, replace=False))
    full, part = hessians(kept)
    values = eigh(part, full, eigvals_only=True)
    found = weak_directions(HEAD, kept, 0.8, most=4)
    assert len(found) == min(4, int((values < 0.8).sum()))
    shares = [kept_share(V, full, part) for V in found]
    np.testing.assert_allclose(shares, values[: len(shares)], rtol=1e-8)
    single = weak_directions(HEAD, kept, 0.8)
    assert kept_share(single[0], full, part) == pytest.approx(values[0], rel=1e-8)


def test_no_direction_is_short_of_what_is_kept() -> None:
    """Below the smallest eigenvalue there is nothing to cut."""
    kept = np.arange(90) < 60
    assert not weak_directions(HEAD, kept, 0.99 * least_eigenvalue(kept), most=4)


@pytest.mark.parametrize("floor", [0.5, 0.9])
def test_the_returned_set_keeps_the_curvature_asked_for(floor: float) -> None:
    """Eigenvalues computed here; without the floor less is kept."""
    free = pruned_without_a_floor()
    solution, check = subsetsel.prune(
        X, Y, l2=L2, rel_epsilon=0.1, min_curvature=floor, num_proposals=5000
    )
    assert solution.size > 10
    assert check.is_verified
    assert least_eigenvalue(~solution.mask) >= floor * (1 - 1e-9)
    assert check.curvature >= floor
    assert least_eigenvalue(~free.mask) < floor or solution.size >= free.size - 5


def test_a_curvature_that_cannot_be_kept_is_said() -> None:
    """With a class all but gone, its directions are lost whatever else is kept."""
    gone = np.flatnonzero(Y == 0)[1:]
    solution, _ = subsetsel.prune(
        X, Y, l2=L2, epsilon=10.0, min_curvature=0.9, must_prune=gone, num_proposals=500
    )
    assert solution.status == "unknown"
    assert "curvature" in solution.message
