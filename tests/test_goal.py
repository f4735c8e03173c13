"""What is asked: five ways of saying it, exactly one at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from subsetsel.errors import ProblemError
from subsetsel.problem.goal import Goal


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"epsilon": 0.5}, Goal(0.5, None, 10)),
        ({"epsilon": 0}, Goal(0.0, None, 10)),
        ({"epsilon": np.float32(0.5)}, Goal(0.5, None, 10)),
        ({"epsilon": 0.5, "max_size": 3}, Goal(0.5, None, 3)),
        ({"epsilon": 0.5, "max_size": 0}, Goal(0.5, None, 0)),
        ({"rel_epsilon": 0.1, "theta_norm": 20.0}, Goal(2.0, None, 10)),
        ({"size": 4}, Goal(None, 4, 4)),
        ({"size": np.int32(4)}, Goal(None, 4, 4)),
        ({"size": 0}, Goal(None, 0, 0)),
        ({"size": 10}, Goal(None, 10, 10)),
        ({"fraction": 0.25}, Goal(None, 2, 2)),
        ({"fraction": 0.0}, Goal(None, 0, 0)),
        ({"fraction": 1}, Goal(None, 10, 10)),
        ({"num_kept": 3}, Goal(None, 7, 7)),
        ({"num_kept": 10}, Goal(None, 0, 0)),
    ],
)
def test_five_ways_come_to_one(given: dict[str, Any], expected: Goal) -> None:
    """Every way of asking ends as epsilon or a size."""
    assert Goal.parse(10, **given) == expected


def test_kept_leaves_one() -> None:
    """Where one example must stay, the cap is n - 1."""
    assert Goal.parse(10, epsilon=0.5, must_leave_one=True).max_size == 9
    assert Goal.parse(10, epsilon=0.5, max_size=10, must_leave_one=True).max_size == 9


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, ["exactly one of epsilon, rel_epsilon, size, fraction, num_kept", "got none"]),
        ({"epsilon": 1.0, "size": 3}, ["exactly one", "epsilon and size"]),
        ({"fraction": 0.1, "num_kept": 3}, ["exactly one", "fraction and num_kept"]),
        ({"epsilon": -0.1}, ["epsilon must be a finite number >= 0", "-0.1"]),
        ({"epsilon": np.nan}, ["epsilon must be a finite number >= 0", "nan"]),
        ({"epsilon": np.inf}, ["epsilon must be a finite number >= 0", "inf"]),
        ({"epsilon": "small"}, ["epsilon must be a number", "'small'"]),
        ({"epsilon": [1.0, 2.0]}, ["epsilon must be a number"]),
        ({"rel_epsilon": 0.1}, ["rel_epsilon", "Problem.from_features"]),
        ({"rel_epsilon": -1.0, "theta_norm": 2.0}, ["rel_epsilon", "-1.0"]),
        ({"size": -1}, ["size must be between 0 and n = 10", "-1"]),
        ({"size": 11}, ["size must be between 0 and n = 10", "11"]),
        ({"size": 3.0}, ["size must be an integer", "3.0"]),
        ({"size": True}, ["size must be an integer", "True"]),
        ({"size": "3"}, ["size must be an integer", "'3'"]),
        ({"num_kept": -1}, ["num_kept must be between 0 and n = 10"]),
        ({"num_kept": 11}, ["num_kept must be between 0 and n = 10"]),
        ({"num_kept": 2.5}, ["num_kept must be an integer"]),
        ({"fraction": 1.5}, ["fraction", "between 0 and 1", "1.5"]),
        ({"fraction": -0.5}, ["fraction", "-0.5"]),
        ({"fraction": np.nan}, ["fraction", "nan"]),
        ({"epsilon": 1.0, "max_size": -1}, ["max_size must be between 0 and n = 10"]),
        ({"epsilon": 1.0, "max_size": 11}, ["max_size must be between 0 and n = 10"]),
        ({"epsilon": 1.0, "max_size": 2.5}, ["max_size must be an integer"]),
        ({"size": 3, "max_size": 4}, ["max_size goes with epsilon"]),
        ({"size": 10, "must_leave_one": True}, ["normalization 'kept'", "at least one"]),
        ({"num_kept": 0, "must_leave_one": True}, ["normalization 'kept'", "at least one"]),
    ],
)
def test_refuses(given: dict[str, Any], words: list[str]) -> None:
    """A question that makes no sense is refused, naming the argument and its value."""
    with pytest.raises(ProblemError) as error:
        Goal.parse(10, **given)
    for word in words:
        assert word in str(error.value)
