"""What `prune` is asked: a problem with a head, its limits, and an earlier answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from subsetsel.errors import OptionError, ProblemError
from subsetsel.guarantee.limits import Criteria
from subsetsel.guarantee.search import NO_LIMIT
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray


def pose(
    X: Any,
    y: Any,
    l2: float | None,
    epsilon: float | None,
    rel_epsilon: float | None,
    criteria: Criteria,
    question: dict[str, Any],
) -> tuple[Problem, Criteria]:
    """Train the head where there is none, and settle what is limited.

    Parameters
    ----------
    X, y, l2, epsilon, rel_epsilon
        As in `subsetsel.prune`.
    criteria : Criteria
        Without its epsilon.
    question : dict
        Everything else the problem is made of.

    Returns
    -------
    Problem
    Criteria
        With epsilon, where there is one.

    Raises
    ------
    ProblemError
        If there is no limit, or too many, or no head.
    """
    if epsilon is not None and rel_epsilon is not None:
        raise ProblemError("give epsilon or rel_epsilon, not both.")
    goal = {"epsilon": epsilon, "rel_epsilon": rel_epsilon}
    asked = {name: value for name, value in goal.items() if value is not None}
    if isinstance(X, Problem):
        problem = _take(X, y, l2, question)
        if rel_epsilon is not None:
            assert problem.head is not None
            asked = {"epsilon": rel_epsilon * problem.head.theta_norm}
        if asked:
            problem = problem.replace(epsilon=asked["epsilon"])
        allowed = problem.epsilon
    else:
        if y is None or l2 is None:
            raise ProblemError(
                "prune needs features, labels and the weight decay: prune(X, y, l2=1e-3, "
                "rel_epsilon=0.01); or a Problem that knows its head."
            )
        if not asked and not criteria.needs_validation:
            raise ProblemError(_NO_LIMIT_GIVEN)
        question |= asked or {"epsilon": NO_LIMIT}
        problem = Problem.from_features(X, y, l2=l2, **question)
        allowed = problem.epsilon if asked else None
    if allowed is None and not criteria.needs_validation:
        raise ProblemError(_NO_LIMIT_GIVEN)
    return problem, replace(criteria, epsilon=allowed)


_NO_LIMIT_GIVEN = (
    "prune needs a limit: epsilon, rel_epsilon (a fraction of ||theta||_2), or max_loss_gap or "
    "max_accuracy_drop with validation=(X, y). For a fixed size use solve and verify."
)


def _take(problem: Problem, y: Any, l2: float | None, question: dict[str, Any]) -> Problem:
    """Accept a problem that is posed already."""
    if y is not None or l2 is not None:
        raise ProblemError("y and l2 cannot be given beside a Problem, which has its own head.")
    if problem.head is None:
        raise ProblemError(
            "prune needs a problem that knows its head and data: make it with "
            "Problem.from_features(X, y, l2=...); Problem(S) knows only S."
        )
    if getattr(problem.rows, "metric", "parameter") != "parameter":
        raise ProblemError("prune limits the change of the parameters; use metric='parameter'.")
    changes = {
        name: question.pop(name)
        for name in ("max_size", "must_prune", "must_keep")
        if name in question
    }
    if question:
        raise ProblemError(
            f"{' and '.join(question)} cannot be given beside a Problem; build it with them."
        )
    cap = changes.pop("max_size", None)
    if cap is not None:
        allowed = NO_LIMIT if problem.epsilon is None else problem.epsilon
        problem = problem.replace(epsilon=allowed, max_size=cap)
    return problem.replace(**changes) if changes else problem


def check_splits(
    problem: Problem,
    criteria: Criteria,
    validation: tuple[Any, Any] | None,
    test: tuple[Any, Any] | None,
) -> None:
    """Refuse held-out examples that are missing or do not fit the head.

    Raises
    ------
    ProblemError
    """
    if criteria.needs_validation and validation is None:
        raise ProblemError(
            "max_loss_gap and max_accuracy_drop are measured on validation=(X, y); give it."
        )
    assert problem.head is not None
    for name, split in (("validation", validation), ("test", test)):
        if split is None:
            continue
        if not isinstance(split, (tuple, list)) or len(split) != 2:
            raise ProblemError(f"{name} must be a pair (X, y), got {type(split).__name__}.")
        problem.head.encode(*split)


def as_guess(given: Any, n: int) -> tuple[BoolArray | None, int]:
    """Read an earlier answer.

    Returns
    -------
    ndarray of shape (n,), bool, or None
    int
        For how many of the examples, the first ones, it was an answer.

    Raises
    ------
    OptionError
        If it is no mask, or one for more examples.
    """
    if given is None:
        return None, n
    array = np.asarray(getattr(given, "mask", given))
    if array.dtype != np.bool_ or array.ndim != 1 or len(array) > n:
        raise OptionError(
            f"initial_guess must be a Solution or a Boolean mask of at most n = {n} examples, got "
            f"{array.dtype} of shape {array.shape}. Of an answer for more examples take the part "
            "that is left: old.mask[still_there]."
        )
    guess = np.zeros(n, dtype=np.bool_)
    guess[: len(array)] = array
    return guess, len(array)
