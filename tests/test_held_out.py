"""What held-out examples say of new ones: intervals that cover what they promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from head_oracle import blobs

import subsetsel
from subsetsel.guarantee.held_out import drop_interval, mean_interval


@pytest.mark.parametrize("n", [10, 100, 1000])
@pytest.mark.parametrize(("fell", "rose"), [(0.02, 0.005), (0.001, 0.001), (0.1, 0.02), (0.3, 0.1)])
def test_the_interval_of_the_accuracy_covers_the_true_fall(
    n: int, fell: float, rose: float
) -> None:
    """In 2,000 draws at least 93.5 % of the time: 95 %, less three standard errors."""
    counts = np.random.default_rng(0).multinomial(n, [fell, rose, 1 - fell - rose], size=2000)
    ends = np.array([drop_interval(down, up, n) for down, up, _ in counts.tolist()])
    assert ((ends[:, 0] <= fell - rose) & (fell - rose <= ends[:, 1])).mean() >= 0.935


def test_where_no_example_differs_the_interval_is_no_point() -> None:
    """A fall of 3 / n would be missed as often as once in twenty draws."""
    low, high = drop_interval(0, 0, 1000)
    assert high == -low
    assert 0.0018 < high < 0.0022


def test_the_interval_of_the_accuracy_stays_a_share() -> None:
    """Of one example that fell little is known, but nothing falls by more than everything."""
    low, high = drop_interval(1, 0, 1)
    assert low == pytest.approx(1 / 3 - 1.96 * (5 / 3) ** 0.5 / 3, abs=1e-4)
    assert high == 1.0


@pytest.mark.parametrize(("n", "shape"), [(100, 0.5), (100, 1.0), (1000, 1.0), (100, 0.0)])
def test_the_interval_of_the_loss_covers_the_true_mean(n: int, shape: float) -> None:
    """Of symmetric and of skewed values, in 2,000 draws, at least 93.5 % of the time."""
    drawn = np.random.default_rng(0).normal(size=(2000, n))
    values = np.exp(shape * drawn) if shape else drawn
    mean = float(np.exp(shape**2 / 2)) if shape else 0.0
    found = [mean_interval(one) for one in values]
    ends = np.array([one for one in found if one is not None])
    assert len(ends) == 2000
    assert ((ends[:, 0] <= mean) & (mean <= ends[:, 1])).mean() >= 0.935


@pytest.mark.parametrize("values", [np.arange(99.0), np.full(100, 0.25)])
def test_few_or_equal_differences_tell_nothing_of_the_loss(values: np.ndarray) -> None:
    """No interval is better than one that promises too much."""
    assert mean_interval(values) is None


def test_both_intervals_come_from_paired_differences() -> None:
    """Hundreds of test examples are judged by both heads; the intervals hold the estimates."""
    X, y = blobs()
    problem = subsetsel.Problem.from_features(X, y, l2=1e-2, size=60)
    check: Any = subsetsel.verify(problem, np.arange(90) < 60, test=blobs(300, seed=0))
    assert check.accuracy_drop_interval is not None
    assert check.loss_gap_interval is not None
    low, high = check.accuracy_drop_interval
    assert low <= check.accuracy_drop <= high
    low, high = check.loss_gap_interval
    assert low < check.loss_gap < high
    assert subsetsel.verify(problem, np.arange(90) < 60).accuracy_drop_interval is None
