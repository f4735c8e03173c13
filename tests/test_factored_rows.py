"""Factored rows answer every question as the dense matrix does, without n x d numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from head_oracle import blobs

from subsetsel import Problem
from subsetsel.influence import device, fit_head, influence_rows
from subsetsel.rows.factored import FactoredRows

X, Y = blobs(n=70, num_classes=4, seed=6)
HEAD = fit_head(X, Y, l2=1e-2)
N, D = 70, 15


@pytest.fixture(
    params=[(r, m) for r in ("included", "excluded") for m in ("parameter", "loss")],
    ids=lambda pair: "-".join(pair),
)
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """The same S twice, factored and as an array, in float64."""
    ridge, metric = request.param
    given: Any = {"ridge": ridge, "metric": metric, "dtype": np.float64}
    factored = influence_rows(HEAD, storage="factored", **given)
    assert isinstance(factored, FactoredRows)
    return factored, influence_rows(HEAD, storage="dense", **given).dense()


def plan(monkeypatch: pytest.MonkeyPatch, num_bytes: int) -> None:
    """Let choices count with so much memory."""
    monkeypatch.setattr("subsetsel.support.memory.DEFAULT_GIB", num_bytes / 2**30)


def close(value: Any, expected: Any) -> bool:
    """Equal to rounding, relative to the largest entry."""
    return bool(np.abs(value - expected).max() <= 1e-11 * np.abs(expected).max())


def test_weighted_sums_need_no_rows(pair: tuple[Any, Any]) -> None:
    """S^T w for real weights, for masks, and for all examples."""
    rows, S = pair
    w = np.random.default_rng(0).normal(size=N)
    assert close(rows.sum(w), w @ S)
    mask = w > 0
    assert close(rows.sum(mask), S[mask].sum(axis=0))
    assert np.abs(rows.total - S.sum(axis=0)).max() <= 1e-12 * np.abs(S).max() * N


def test_products_with_a_direction_need_no_rows(pair: tuple[Any, Any]) -> None:
    """S u, also for a direction that is a column of something."""
    rows, S = pair
    U = np.random.default_rng(1).normal(size=(D, 3))
    assert close(rows.dot(U[:, 1]), S @ U[:, 1])


def test_single_rows_are_solved_for(pair: tuple[Any, Any]) -> None:
    """Blocks and chosen rows, in any order and with repetition."""
    rows, S = pair
    assert close(rows.block(5, 9), S[5:9])
    chosen = np.array([3, 69, 0, 3])
    assert close(rows.take(chosen), S[chosen])
    assert rows.take(chosen[:0]).shape == (0, D)


def test_row_norms_are_exact(pair: tuple[Any, Any]) -> None:
    """Squared norms from exact solves."""
    rows, S = pair
    assert close(rows.squared_norms, np.square(S).sum(axis=1))


def test_small_blocks_do_not_show(pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows solved for at a time give what all at once give."""
    rows, S = pair
    three = replace(device.CPU, block_bytes=3 * 8 * D)
    monkeypatch.setattr(device, "CPU", three)
    monkeypatch.setattr(device, "CUDA", three)
    assert rows.block_size == 3
    assert close(rows.squared_norms, np.square(S).sum(axis=1))
    assert close(rows.take(np.arange(N)), S)
    assert close(np.concatenate([part for _, _, part in rows.blocks()]), S)


def test_a_search_gets_the_matrix_where_it_fits(pair: tuple[Any, Any]) -> None:
    """With memory to spare the search works on S itself."""
    rows, S = pair
    assert rows.search_width == D
    assert close(rows.search_matrix(), S)


def test_a_search_gets_a_projection_where_the_plan_is_short(
    pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan for 8 numbers a row gives 8, with squared norms right on average."""
    rows, S = pair
    plan(monkeypatch, 2 * 4 * N * 8)
    projected = rows.search_matrix()
    assert projected.shape == (N, 8)
    share = np.square(projected).sum() / np.square(S).sum()
    assert 0.4 < share < 2.5


def test_rows_are_handed_out_in_the_type_asked_for() -> None:
    """float32 rows, float64 products."""
    rows = influence_rows(HEAD, storage="factored", dtype=np.float32)
    assert rows.block(0, 3).dtype == np.float32
    assert rows.take(np.array([1])).dtype == np.float32
    assert rows.sum(np.ones(N)).dtype == np.float64
    assert rows.nbytes == 4 * N * D


def test_storage_is_chosen_by_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dense up to half of the memory that is planned with, factored beyond."""
    plan(monkeypatch, 2 * 4 * N * D)
    assert influence_rows(HEAD).dense() is not None
    plan(monkeypatch, 2 * 4 * N * D - 2)
    assert isinstance(influence_rows(HEAD), FactoredRows)


def test_a_problem_works_on_factored_rows() -> None:
    """Norms and feasibility come out the same, and S is handed out as the rows."""
    given: Any = {"l2": 1e-2, "size": 20, "dtype": np.float64}
    dense = Problem.from_features(X, Y, storage="dense", **given)
    factored = Problem.from_features(X, Y, storage="factored", **given)
    mask = np.arange(N) < 20
    assert factored.norm(mask) == pytest.approx(dense.norm(mask), rel=1e-10)
    assert factored.S is factored.rows
