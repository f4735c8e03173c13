"""LiSSA, for comparison with the paper, and the estimate of what exact rows cost."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from subsetsel.errors import OptionError, ProblemError
from subsetsel.influence import Head, fit_head, influence_rows
from subsetsel.influence.estimate import estimate_cost
from subsetsel.influence.head.lissa import lissa_influence


@pytest.fixture(scope="module")
def head() -> Head:
    """A small, well-conditioned head."""
    rng = np.random.default_rng(0)
    return fit_head(rng.standard_normal((60, 3)), rng.integers(0, 3, 60), l2=0.1)


def exact(head: Head) -> Any:
    """S by the factor."""
    return influence_rows(head, dtype=np.float64).dense()


def test_full_batches_reach_the_exact_rows(head: Head) -> None:
    """With enough steps the recursion's fixed point is H^-1 g."""
    found = lissa_influence(head, tolerance=1e-6)
    assert found.residual <= 1e-6
    np.testing.assert_allclose(found.S, exact(head), atol=1e-5 * np.abs(exact(head)).max())


def test_too_few_steps_make_rows_too_small(head: Head) -> None:
    """Stopping early under-estimates every row, and says how far it is from solving."""
    found = lissa_influence(head, num_steps=1, tolerance=math.inf)
    assert found.residual > 0.1
    assert np.linalg.norm(found.S) < 0.9 * np.linalg.norm(exact(head))


def test_refuses_above_its_tolerance(head: Head) -> None:
    """Rows that do not solve are not handed out unasked."""
    with pytest.raises(ProblemError, match="nothing can be certified"):
        lissa_influence(head, num_steps=3)


def test_batches_are_reproducible(head: Head) -> None:
    """The same seed draws the same batches, another seed does not."""
    options: dict[str, Any] = {"batch_size": 30, "num_steps": 40, "tolerance": math.inf}
    first = lissa_influence(head, seed=1, **options)
    np.testing.assert_array_equal(first.S, lissa_influence(head, seed=1, **options).S)
    assert not np.array_equal(first.S, lissa_influence(head, seed=2, **options).S)


def test_damping_is_another_hessian(head: Head) -> None:
    """The fixed point with damping a is (H + a s)^-1 v: shorter rows."""
    found = lissa_influence(head, damping=0.5, num_steps=200, tolerance=math.inf)
    assert np.linalg.norm(found.S) < 0.9 * np.linalg.norm(exact(head))


def test_divergence_is_named(head: Head) -> None:
    """A scale below the largest eigenvalue diverges, with the cure."""
    with pytest.raises(ProblemError, match="leave scale out"):
        lissa_influence(head, scale=1e-3, num_steps=500, tolerance=math.inf)


@pytest.mark.parametrize(
    "options", [{"num_steps": 0}, {"batch_size": 61}, {"scale": -1.0}, {"damping": 1.0}]
)
def test_bad_options(head: Head, options: dict[str, Any]) -> None:
    """Options out of range are named."""
    with pytest.raises(OptionError, match=next(iter(options))):
        lissa_influence(head, **options)


def test_estimate_of_a_small_head() -> None:
    """A small S is held densely and its size is exact."""
    found = estimate_cost(1797, 64, 10)
    assert (found.d, found.inverse, found.storage) == (585, "cholesky", "dense")
    assert found.S_bytes == 1797 * 585 * 4
    assert "1,797 x 585" in str(found)


def test_estimate_of_a_large_head() -> None:
    """A head beyond any factor is solved iteratively and never written out."""
    found = estimate_cost(100_000, 2048, 200)
    assert (found.inverse, found.storage, found.S_bytes) == ("cg", "factored", 0)
    assert found.num_bytes < 4 * 2**30
    assert "never written out" in str(found)
