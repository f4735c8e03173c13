"""Predicted against measured: what the rows that were searched say of a choice."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import theory_check
from data import Features


def blobs(n: int = 150) -> Features:
    """Three overlapping classes, few examples for each parameter."""
    rng = np.random.default_rng(0)
    y = np.arange(n + 30) % 3
    X = np.eye(3, 6)[y] + 0.7 * rng.normal(size=(n + 30, 6))
    return Features(X[:n], y[:n], X[n:], y[n:])


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, float]]:
    """The row of each selector at 70 % pruned."""
    measured = theory_check.measure("blobs", blobs(), 1e-3, [0.7])
    return {row["selector"]: row for row in measured}


def test_every_selector_prunes_as_many(rows: dict[str, dict[str, float]]) -> None:
    """Each has its mark in the picture, and prunes 70 % of 150."""
    assert set(rows) == set(theory_check.MARKS)
    assert {row["pruned"] for row in rows.values()} == {105}


def test_first_order_is_what_a_search_by_default_predicts(
    rows: dict[str, dict[str, float]],
) -> None:
    """Of the rows of all examples; what was not searched has no such prediction."""
    for selector in ("joint", "joint, from random"):
        row = rows[selector]
        assert row["predicted_searched"] == pytest.approx(row["predicted_kept"], rel=1e-5)
        assert row["searched_over_change"] == row["predicted_searched"] / row["change"]
    assert np.isnan(rows["random"]["predicted_searched"])


def test_what_refitting_does_is_predicted_better(rows: dict[str, dict[str, float]]) -> None:
    """Within 2 %, where first order is much farther off, of the same subset and of its own."""
    row = rows["joint, by refit"]
    assert row["change"] < rows["joint"]["change"]
    off = abs(row["searched_over_change"] - 1)
    assert off <= 0.02
    assert off < 0.5 * abs(row["predicted_kept"] / row["change"] - 1)
    assert off < 0.5 * abs(rows["joint"]["searched_over_change"] - 1)


def test_picture_shows_what_was_searched_where_something_was(
    rows: dict[str, dict[str, float]], tmp_path: Path
) -> None:
    """First order stands for the others; every selector is drawn."""
    again, random = rows["joint, by refit"], rows["random"]
    assert theory_check.predicted_of(again) == again["predicted_searched"]
    assert theory_check.predicted_of(random) == random["predicted_kept"]
    theory_check.draw(list(rows.values()), tmp_path / "theory.png")
    assert (tmp_path / "theory.png").read_bytes().startswith(b"\x89PNG")
