"""`prune` within a time limit: what was verified comes back, and nothing begins that cannot end."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pytest
from head_oracle import blobs

import subsetsel
from subsetsel.guarantee.curvature import weak_directions
from subsetsel.guarantee.search import allowed_sizes
from subsetsel.guarantee.trials import Trials
from subsetsel.guarantee.verification import refit_and_measure
from subsetsel.support.clock import Clock, TimeIsUp

X, Y = blobs()


def prune(X: Any, y: Any = None, **given: Any) -> tuple[Any, Any]:
    """Prune with little work per size."""
    if y is not None:
        given["l2"] = 1e-2
    return subsetsel.prune(X, y, num_proposals=20_000, rel_epsilon=0.05, **given)


class FakeTime:
    """A clock that every refit puts forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.num_refits, self._added, self._seconds = 0, 0.0, seconds
        self._real, self._refit = time.perf_counter, refit_and_measure
        monkeypatch.setattr(time, "perf_counter", lambda: self._real() + self._added)
        where = "subsetsel.guarantee.trials.refit_and_measure"
        monkeypatch.setattr(where, self._slow_refit)

    def _slow_refit(self, *arguments: Any, **given: Any) -> Any:
        self.num_refits += 1
        found = self._refit(*arguments, **given)
        self._added += self._seconds
        return found


def test_without_time_for_the_head_nothing_is_pruned() -> None:
    """The answer says what was missing, and the check is that of the empty set."""
    solution, check = prune(X, Y, time_limit=0.0)
    assert (solution.status, solution.limit, solution.size) == ("unknown", "time", 0)
    assert "time was up before the head was trained" in solution.message
    assert (check.num_pruned, check.change, check.is_verified) == (0, 0.0, False)
    assert sum(check.class_sizes.values()) == len(Y)


def test_the_check_of_the_empty_set_prints() -> None:
    """Also where no epsilon is known, since the head is not."""
    _, check = prune(X, Y, time_limit=0.0)
    assert check.epsilon is None
    assert "NOT verified: nothing is pruned" in str(check)


def test_ctrl_c_while_the_head_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is the same as at any later moment: nothing verified yet, and interrupted."""

    def press(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("subsetsel.influence.head.fit.minimize", press)
    solution, check = prune(X, Y)
    assert (solution.status, solution.limit) == ("unknown", "interrupted")
    assert check.num_pruned == 0


def test_no_refit_begins_without_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A problem whose head is trained, and no second: the empty set needs no refit."""
    problem = subsetsel.Problem.from_features(X, Y, l2=1e-2, rel_epsilon=0.05)
    clock = FakeTime(monkeypatch, 0.0)
    solution, check = prune(problem, time_limit=0.0, test=(X, Y))
    assert clock.num_refits == 0
    assert (solution.status, solution.limit, check.change) == ("unknown", "time", 0.0)
    assert check.accuracy == check.full_accuracy is not None
    assert "smallest_epsilon" not in solution.stats


def test_no_refit_begins_that_would_not_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """After one that took 60 of 100 seconds there is no second, and the first comes back."""
    clock = FakeTime(monkeypatch, 60.0)
    solution, _ = prune(X, Y, time_limit=100.0)
    assert clock.num_refits == 1
    assert solution.limit == "time"
    assert len(solution.stats["curve"]) == 1


def test_what_was_verified_in_time_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time for a few refits: the largest verified set, tested without another refit."""
    clock = FakeTime(monkeypatch, 10.0)
    solution, check = prune(X, Y, time_limit=100.0, test=(X, Y))
    assert clock.num_refits == len(solution.stats["curve"])
    assert (solution.status, solution.limit) == ("feasible", "time")
    assert check.is_verified
    assert check.accuracy is not None


def test_a_choice_leaves_time_for_its_refit_and_for_other_sizes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The solver sees a quarter of what is left, and less where the refit needs more."""
    FakeTime(monkeypatch, 30.0)
    left: list[float] = []
    choose = Trials._solve

    def watched(self: Any, *arguments: Any) -> Any:
        engines = self._engines

        def follow(engine: Any, sub: Any, run: Any) -> Any:
            left.append(run.remaining)
            return engine(sub, run)

        self._engines = tuple(partial(follow, engine) for engine in engines)
        try:
            return choose(self, *arguments)
        finally:
            self._engines = engines

    monkeypatch.setattr(Trials, "_solve", watched)
    prune(X, Y, time_limit=100.0)
    # Of 100, 70 and 40 seconds; a refit is expected to take 36.
    assert left == pytest.approx([25.0, 17.5, 4.0], abs=3.0)


def test_the_weakest_directions_stop_with_the_clock() -> None:
    """No Hessian of the kept examples is built after the end."""
    head = subsetsel.Problem.from_features(X, Y, l2=1e-2, size=1).head
    assert head is not None
    with pytest.raises(TimeIsUp):
        weak_directions(head, np.arange(len(Y)) % 2 == 0, 0.9, most=2, clock=Clock(0.0))


def test_the_sizes_allowed_are_not_sought_after_the_end() -> None:
    """Where must_prune breaks a limit, HiGHS is asked for a start, and not without time."""
    row = np.random.default_rng(0).normal(size=30)
    S = np.random.default_rng(1).normal(size=(30, 3))
    problem = subsetsel.Problem(S, epsilon=1.0, constraints=[(row, 1.0, 2.0)])
    with pytest.raises(TimeIsUp):
        allowed_sizes(problem, Clock(0.0))


def test_the_command_says_that_the_head_had_no_time(data: Path) -> None:
    """`subsetsel prune --time-limit 0` ends with nothing pruned and exit code 1."""
    shown = commands.prune(data, "--rel-epsilon", 0.05, "--time-limit", 0, expect=1)
    assert "time was up before the head was trained" in shown.stdout


def test_the_command_refuses_a_bad_time_limit(data: Path) -> None:
    """Before the head is trained."""
    text = commands.refused("prune", data, "--l2", 1e-2, "--fraction", 0.3, "--time-limit", -1)
    assert "time_limit must be a finite number" in text
