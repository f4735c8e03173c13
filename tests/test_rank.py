"""Rank reduction keeps every norm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from subsetsel.errors import ProblemError
from subsetsel.rows import as_rows, rank
from subsetsel.rows.rank import reduce_rank


def low_rank(n: int, d: int, rank: int, seed: int = 0) -> NDArray[np.float64]:
    """Rows that span ``rank`` directions."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, rank)) @ rng.normal(size=(rank, d))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 8), st.integers(0, 10))
def test_norms_differ_by_no_more_than_the_tails(n: int, d: int, rank: int, seed: int) -> None:
    """| ||W^T S|| - ||W^T S V|| | <= sum of the tails over W, for tall and wide S."""
    S = low_rank(n, d, rank, seed)
    reduced = reduce_rank(as_rows(S))
    for mask in np.random.default_rng(seed).random((20, n)) < 0.5:
        change = np.linalg.norm(S[mask].sum(axis=0)) - np.linalg.norm(
            reduced.rows[mask].sum(axis=0)
        )
        assert abs(change) <= reduced.tails[mask].sum() + 1e-300


@pytest.mark.parametrize(("n", "d"), [(40, 12), (12, 40), (600, 20), (20, 600), (530, 540)])
def test_rank_is_found(n: int, d: int) -> None:
    """Five independent directions stay five, across block borders too."""
    assert reduce_rank(as_rows(low_rank(n, d, 5))).rank == 5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tails_are_at_rounding_level(dtype: type[Any]) -> None:
    """Nothing but rounding is lost where the rank is exact."""
    S: NDArray[Any] = np.random.default_rng(0).normal(size=(50, 20)).astype(dtype)
    reduced = reduce_rank(as_rows(S))
    assert reduced.rank == 20
    assert reduced.tails.max() < 1e-12 * np.linalg.norm(S.astype(np.float64), axis=1).max()


def test_basis_is_orthonormal_for_graded_wide_rows() -> None:
    """Directions of very different strength stay orthonormal."""
    S = low_rank(15, 60, 15) * np.logspace(0, -6, 15)[:, None]
    V = reduce_rank(as_rows(S)).basis
    np.testing.assert_allclose(V.T @ V, np.eye(V.shape[1]), atol=1e-12)


def test_zero_matrix_has_rank_zero() -> None:
    """All-zero rows leave no column."""
    reduced = reduce_rank(as_rows(np.zeros((4, 3))))
    assert reduced.rank == 0
    assert reduced.lift(np.zeros(0)).tolist() == [0.0, 0.0, 0.0]


def test_lift_gives_the_same_products() -> None:
    """S (V u) equals (S V) u."""
    S = low_rank(12, 30, 4)
    reduced = reduce_rank(as_rows(S))
    u = np.arange(4.0)
    np.testing.assert_allclose(S @ reduced.lift(u), reduced.rows @ u, atol=1e-10)


def test_too_large_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the largest Gram matrix the error names its side."""
    monkeypatch.setattr(rank, "MAX_SIDE", 5)
    with pytest.raises(ProblemError, match=r"min\(n, d\) = 6"):
        reduce_rank(as_rows(np.ones((6, 8))))
