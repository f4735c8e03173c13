"""Expansions of the refitted head in `prune`: what they find, and when they are given up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import subsetsel
from subsetsel.engine.options import Limits
from subsetsel.engine.run import Run
from subsetsel.engine.trust_region import TrustRegion
from subsetsel.errors import ProblemError
from subsetsel.guarantee.checkpoint import Journal
from subsetsel.guarantee.criteria import Criteria
from subsetsel.guarantee.task import NO_LIMIT, Task
from subsetsel.guarantee.trial import Trial
from subsetsel.guarantee.trials import Question, Trials
from subsetsel.problem.searched_rows import Move, SearchedRows


def overlapping(n: int, seed: int) -> tuple[Any, Any]:
    """Give three classes that overlap, with few examples for each parameter."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return rng.normal(size=(3, 12))[y] * 0.7 + rng.normal(size=(n, 12)), y


X, Y = overlapping(240, seed=3)
QUESTION: dict[str, Any] = {"l2": 1e-3, "rel_epsilon": 0.2, "num_proposals": 20_000}


@pytest.fixture
def trials() -> Trials:
    """Trials of a small task with a fake engine for each way to start."""
    problem = subsetsel.Problem.from_features(X, Y, l2=1e-3, epsilon=1.0)
    task = Task(problem, Criteria(1.0), None, None, None)
    run = Run(problem.replace(epsilon=NO_LIMIT), Limits(bound=False))
    return Trials(task, run, (refuse, refuse, refuse), Journal(None, "", problem.n))


def refuse(*_: Any) -> Any:
    """Stand for a solver that must not be called."""
    raise AssertionError("a solver was called")


def tried(trials: Trials, size: int, usage: float, *, predicted: float | None = None) -> Trial:
    """Make a trial whose refit is twice what the rows of Eq. 2 predict."""
    mask = np.zeros(trials.problem.n, dtype=np.bool_)
    mask[:size] = True
    problem: Any = trials.problem
    move = Move(usage, 0.5 * usage, usage if predicted is None else predicted)
    check, theta = subsetsel.verify(problem, mask), problem.head.theta
    return Trial(mask, check, theta, usage, usage <= 1.0, move)


def test_an_expansion_is_searched_where_the_rows_are_off() -> None:
    """Some trial was predicted to within 1 % by the rows searched, not by those of Eq. 2."""
    curve = subsetsel.prune(X, Y, **QUESTION)[0].stats["curve"]
    ratios = [
        (point["predicted_searched"] / point["change"], point["predicted_kept"] / point["change"])
        for point in curve
    ]
    assert any(abs(a - 1) < 0.01 < 0.03 < abs(b - 1) for a, b in ratios)


def test_expansions_verify_larger_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of Eq. 2 alone verify fewer, in sum over three data sets."""
    data = [overlapping(240, seed) for seed in (3, 4, 5)]
    with_them = sum(subsetsel.prune(*pair, **QUESTION)[0].size for pair in data)
    monkeypatch.setattr(Trial, "is_off", property(lambda _: False))
    assert with_them > sum(subsetsel.prune(*pair, **QUESTION)[0].size for pair in data)


def test_an_expansion_of_numbers_too_large_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was verified before comes back, and sizes are tried without it.

    Mutation: `_choose` lets the error of `expand` through: fails.
    """

    def fail(*_: Any) -> None:
        raise ProblemError("S holds an entry of size 7.9e+15")

    monkeypatch.setattr(SearchedRows, "expand", fail)
    solution, check = subsetsel.prune(X, Y, **QUESTION)
    assert check.is_verified
    assert solution.size > 0
    assert solution.limit is None


def test_a_way_that_gives_nothing_leaves_the_others(
    trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An expansion that was given up, though it is the best way so far, ends no size.

    Mutation: `try_size` breaks off at the first way that gives nothing: fails.
    """

    def choose(_: Trials, question: Question) -> Trial | None:
        return None if question.around is not None else tried(trials, question.size, 0.5)

    trials.done.append(tried(trials, 60, 0.4))
    trials._num_lost |= {0: 1, 1: 1}
    monkeypatch.setattr(Trials, "_try", choose)
    found = trials.try_size(64, None)
    assert found is not None
    assert found.size == 64


def test_a_way_to_start_that_lost_three_times_is_not_tried_again(
    trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first way wins each time; from the fourth size on the second one is not asked."""
    asked: list[tuple[int, int]] = []

    def choose(_: Trials, question: Question) -> Trial:
        asked.append((question.size, question.way))
        return tried(trials, question.size, 0.5 if question.way == 0 else 0.9)

    monkeypatch.setattr(Trials, "_try", choose)
    for m in (40, 60, 80, 100):
        trials.try_size(m, None)
    assert [size for size, way in asked if way == 1] == [40, 60, 80]
    assert [size for size, way in asked if way == 0] == [40, 60, 80, 100]


@pytest.mark.parametrize(
    ("reach", "predicted", "expected"),
    [(None, 0.9, None), (None, 0.2, 6), (40, 0.9, 80), (40, 0.2, 10), (1, 0.2, 1)],
)
def test_exchanges_are_as_many_as_refits_confirm(
    trials: Trials, reach: int | None, predicted: float, expected: int | None
) -> None:
    """Three quarters of the predicted gain: the solver goes on, or twice as many; else fewer."""
    old = tried(trials, 40, 1.5)
    new = tried(trials, 40, 1.0, predicted=predicted)
    region = TrustRegion(reach)
    region.learn(old, new)
    assert region.most == expected


def test_the_trial_with_the_smallest_usage_near_by_is_expanded_around(trials: Trials) -> None:
    """A nearer one that uses up more is not, nor one that is far away."""
    good, poor, far = tried(trials, 60, 0.4), tried(trials, 63, 3.0), tried(trials, 20, 0.1)
    trials.done += [good, poor, far]
    assert trials._base(64) is good
    assert trials._base(120) is None
