"""The options all solvers share: each is checked in one place, and each stops what it should."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from subsetsel import OptionError, Problem, ProblemError, Progress, Solution, solve
from subsetsel.engine.options import Limits
from subsetsel.engine.run import Run
from subsetsel.rows import DenseRows
from subsetsel.rows.base import BoolArray

_S = np.arange(1.0, 11.0)[:, None]


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("time_limit", -1, ["time_limit", ">= 0", "-1"]),
        ("time_limit", np.nan, ["time_limit", "nan"]),
        ("time_limit", np.inf, ["time_limit", "inf"]),
        ("time_limit", "10", ["time_limit", "'10'"]),
        ("time_limit", True, ["time_limit", "True"]),
        ("target", -1.0, ["target", "-1.0"]),
        ("target", np.nan, ["target", "nan"]),
        ("gap", -0.1, ["gap", "between 0 and 1", "-0.1"]),
        ("gap", 1.0, ["gap", "between 0 and 1", "1.0"]),
        ("gap", None, ["gap", "None"]),
        ("seed", -1, ["seed", "integer >= 0", "-1"]),
        ("seed", 1.5, ["seed", "1.5"]),
        ("seed", None, ["seed", "None"]),
        ("num_workers", 0, ["num_workers", "integer >= 1", "0"]),
        ("num_workers", 1.0, ["num_workers", "1.0"]),
        ("max_iterations", -1, ["max_iterations", "integer >= 0", "-1"]),
        ("max_iterations", 1e3, ["max_iterations", "1000.0"]),
        ("max_iterations", True, ["max_iterations", "True"]),
        ("callback", 3, ["callback", "callable", "3"]),
        ("progress", "bar", ["progress", "callable", "'bar'"]),
    ],
)
def test_refuses(exact: str, option: str, value: Any, words: list[str]) -> None:
    """A bad value is refused, naming the option, the rule and the value."""
    with pytest.raises(OptionError) as error:
        solve(_S, size=3, solver=exact, **{option: value})
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("time_limit", 0),
        ("time_limit", np.float32(5)),
        ("max_iterations", 0),
        ("max_iterations", np.int64(5)),
        ("target", 0),
        ("gap", 0.5),
        ("seed", np.uint8(3)),
        ("num_workers", 2),
    ],
)
def test_accepts(exact: str, option: str, value: Any) -> None:
    """Edges and NumPy scalars are fine."""
    assert solve(_S, size=3, solver=exact, **{option: value}) is not None


@pytest.mark.parametrize(
    ("guess", "words"),
    [
        ([0, 1], ["Boolean array of shape (10,)", "int64"]),
        (np.ones(9, dtype=bool), ["(10,)", "(9,)"]),
        (Solution(mask=np.ones(9, dtype=bool), norm=0.0, status="feasible"), ["(10,)", "(9,)"]),
        ("random", ["Boolean"]),
    ],
)
@pytest.mark.parametrize("question", [{"size": 3}, {"size": 0}, {"epsilon": 5.5}])
def test_guess_is_checked(
    exact: str, guess: Any, words: list[str], question: dict[str, Any]
) -> None:
    """A guess that is no mask of this problem is refused, even where nothing is searched."""
    with pytest.raises(ProblemError) as error:
        solve(_S, solver=exact, initial_guess=guess, **question)
    for word in words:
        assert word in str(error.value)


def test_guess_is_not_changed(exact: str) -> None:
    """The user's array stays the user's, writable and as it was."""
    guess = np.zeros(10, dtype=bool)
    guess[[8, 9]] = True
    solve(_S, size=2, solver=exact, initial_guess=guess)
    assert guess.flags.writeable
    np.testing.assert_array_equal(np.flatnonzero(guess), [8, 9])


# --- what stops a run ---------------------------------------------------------------------------


def _run(**limits: Any) -> Run:
    return Run(Problem(_S, epsilon=6.5), Limits(**limits))


def _mask(*pruned: int) -> Any:
    mask = np.zeros(10, dtype=np.bool_)
    mask[list(pruned)] = True
    return mask


def test_nothing_stops_a_run_without_limits() -> None:
    """No limit, no stop."""
    run = _run()
    run.add_iterations(10**9)
    run.submit(_mask(0))
    assert not run.should_stop()
    assert run.limit is None


def test_time_stops() -> None:
    """A clock that has run out is the reason "time"."""
    run = _run(time_limit=0)
    assert run.should_stop()
    assert run.limit == "time"
    assert run.remaining <= 0


def test_iterations_stop() -> None:
    """The budget counts what was reported."""
    run = _run(max_iterations=5)
    run.add_iterations(4)
    assert not run.should_stop()
    assert run.iterations_left == 1
    run.add_iterations(4)
    assert run.should_stop()
    assert (run.limit, run.iterations_left) == ("iterations", 0)


def test_target_size_stops() -> None:
    """For Eq. 3 the target is a size."""
    run = _run(target=2)
    run.submit(_mask(0))
    assert not run.should_stop()
    run.submit(_mask(0, 1))
    assert run.should_stop()
    assert run.limit == "target"


def test_target_norm_stops() -> None:
    """For Eq. 4 the target is a norm."""
    run = Run(Problem(_S, size=1), Limits(target=2.0))
    run.submit(_mask(5))
    assert not run.should_stop()
    run.submit(_mask(1))
    assert run.should_stop()
    assert run.limit == "target"


def test_gap_stops() -> None:
    """A proven gap that is small enough is the reason "gap"."""
    run = _run(gap=0.5)
    run.proof.tighten(4.5)
    run.submit(_mask(0))
    assert not run.should_stop()
    run.submit(_mask(0, 1))
    assert run.gap == 0.5
    assert run.should_stop()
    assert run.limit == "gap"


def test_reaching_the_bound_stops_without_a_limit() -> None:
    """A proved optimum ends the search; no limit is to blame."""
    run = _run()
    run.proof.tighten(3.99)
    run.submit(_mask(0, 1, 2))
    assert run.is_proved_optimal()
    assert run.should_stop()
    assert run.limit is None


def test_parent_stops_its_children() -> None:
    """An interrupted outer search stops the one inside, for the same reason."""
    outer = _run(callback=lambda record: True)
    inner = Run(Problem(_S, size=1), Limits(), parent=outer)
    assert not inner.should_stop()
    outer.submit(_mask(0))
    assert inner.should_stop()
    assert inner.limit == "interrupted"


def test_clock_of_the_parent_holds() -> None:
    """An inner search has no more time than the outer."""
    inner = Run(Problem(_S, size=1), Limits(), parent=_run(time_limit=0))
    assert inner.should_stop()
    assert inner.limit == "time"


@pytest.mark.parametrize(
    ("answer", "stops"), [(True, True), (np.True_, True), (False, False), (None, False)]
)
def test_callback_answers(answer: Any, stops: bool) -> None:
    """True stops, NumPy's too; False and None do not."""
    run = _run(callback=lambda record: answer)
    run.submit(_mask(0))
    assert run.should_stop() == stops
    assert run.limit == ("interrupted" if stops else None)


def test_record_tells_where_the_run_stands() -> None:
    """A callback sees time, work, incumbent and bound."""
    records: list[Progress] = []
    run = _run(callback=records.append)
    run.proof.tighten(4.5)
    run.submit(_mask(0, 1))
    assert (records[0].size, records[0].norm, records[0].bound) == (2, 3.0, 4.5)
    assert records[0].time >= 0


def test_progress_sees_what_the_callback_sees() -> None:
    """Displays and callbacks are told the same."""
    told: list[Progress] = []
    called: list[Progress] = []
    run = _run(callback=called.append, progress=told.append)
    run.submit(_mask(0))
    run.submit(_mask(0, 1))
    assert told == called
    assert len(told) == 2


# --- the incumbent ------------------------------------------------------------------------------


def test_larger_replaces_smaller() -> None:
    """For Eq. 3 the larger subset is kept; of equal size, that with the smaller norm."""
    run = _run()
    assert run.submit(_mask(4))
    assert run.submit(_mask(0, 1))
    assert not run.submit(_mask(0))
    assert not run.submit(_mask(0, 2))
    assert run.submit(_mask(0, 1, 2))
    assert (run.size, run.norm) == (3, 6.0)


def test_smaller_norm_replaces_larger() -> None:
    """For Eq. 4 the smaller norm is kept."""
    run = Run(Problem(_S, size=2), Limits())
    assert run.submit(_mask(3, 4))
    assert not run.submit(_mask(4, 5))
    assert run.submit(_mask(0, 1))
    assert run.norm == 3.0


def test_infeasible_is_never_kept() -> None:
    """A subset that breaks a rule is not an incumbent."""
    run = _run()
    assert not run.submit(_mask(9))
    assert run.mask is None
    assert not Run(Problem(_S, size=2), Limits()).submit(_mask(0))


def test_incumbent_is_a_copy() -> None:
    """A solver may go on using its mask."""
    run = _run()
    mask = _mask(0)
    run.submit(mask)
    mask[:] = False
    np.testing.assert_array_equal(run.mask, _mask(0))


def _racing_run() -> tuple[Run, BoolArray]:
    """A run on rows that let another thread submit a better subset while they are read."""
    S = np.random.default_rng(0).normal(size=(64, 5))
    better = np.arange(64) < 40

    class Racing(DenseRows):
        def take(self, indices: Any) -> Any:
            if run.size < 40:
                other = threading.Thread(target=run.submit, args=(better,), daemon=True)
                other.start()
                other.join(timeout=20)
                assert not other.is_alive(), "a pass over S holds the lock"
            return super().take(indices)

    run = Run(Problem(Racing(S), epsilon=1e9), Limits())
    run.submit(np.arange(64) < 20)
    return run, better


def test_a_sum_is_updated_from_one_and_the_same_incumbent() -> None:
    """Another thread that submits between two reads of the incumbent changes no sum."""
    run, better = _racing_run()
    mask = np.arange(64) < 22
    assert run.sum_of(mask) == pytest.approx(run.problem.rows.sum(mask), abs=1e-12)
    assert run.mask is not None
    assert (run.mask == better).all()


def test_a_slower_thread_does_not_replace_a_better_subset() -> None:
    """What was better when its sum was begun need not be when it is done."""
    run, better = _racing_run()
    assert not run.submit(np.arange(64) < 22)
    best = run.best()
    assert best is not None
    assert (best.mask == better).all()
    assert best.size == 40


def test_the_incumbent_is_read_under_its_lock() -> None:
    """A reader waits while another thread replaces subset, sum, size and norm."""
    run, seen = _run(), []
    run.submit(_mask(0))
    reader = threading.Thread(target=lambda: seen.append(run.best()), daemon=True)
    with run._lock:
        reader.start()
        reader.join(timeout=0.05)
        run.mask, run.total, run.size, run.norm = _mask(0, 1), np.array([3.0]), 2, 3.0
    reader.join(timeout=20)
    assert [(best.size, best.norm) for best in seen if best is not None] == [(2, 3.0)]


def test_threads_see_subset_sum_size_and_norm_of_one_moment() -> None:
    """While four threads submit and sum, each snapshot is of one subset and each sum is right."""
    rng = np.random.default_rng(1)
    rows = DenseRows(rng.normal(size=(400, 6)))
    run = Run(Problem(rows, size=200), Limits())
    orders = np.argsort(rng.random((4, 300, 400)), axis=2)

    def work(number: int) -> None:
        for order in orders[number]:
            mask = order < 200
            run.submit(mask)
            best = run.best()
            assert best is not None
            assert best.total == pytest.approx(rows.sum(best.mask), abs=1e-10)
            assert (best.size, best.norm) == (200, float(np.linalg.norm(best.total)))
            near = best.mask.copy()
            near[order[:10]] ^= True
            for other in (best.mask, near):
                assert run.sum_of(other) == pytest.approx(rows.sum(other), abs=1e-10)

    old = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
    finally:
        sys.setswitchinterval(old)
    norms = [float(np.linalg.norm(rows.sum(order < 200))) for order in orders.reshape(-1, 400)]
    assert run.norm == pytest.approx(min(norms), rel=1e-10)


@pytest.mark.parametrize("seed", [81, 271, 279, 299])
def test_incumbents_stay_feasible_in_float64(seed: int) -> None:
    """Sums that cancel over many improvements do not let an infeasible subset in."""
    rng = np.random.default_rng(seed)
    S = rng.normal(size=(32, 2)) * 10 ** rng.uniform(0, 8, size=(32, 1))
    S[1::2] = -S[::2] + 1e-9 * rng.normal(size=(16, 2))
    problem = Problem(S, epsilon=3e-9)
    run = Run(problem, Limits())
    mask = np.zeros(32, dtype=np.bool_)
    run.submit(mask)
    for i in range(16):
        mask[[2 * i, 2 * i + 1]] = True
        run.submit(mask)
    assert run.mask is not None
    assert problem.is_feasible(run.mask)


def test_trace_keeps_improvements() -> None:
    """With trace=True each new incumbent is recorded, without it none."""
    for trace, length in ((True, 2), (False, 0)):
        run = _run(trace=trace)
        run.submit(_mask(0))
        run.submit(_mask(0, 1))
        run.submit(_mask(0))
        assert len(run.trace) == length


@pytest.mark.parametrize(
    ("question", "bounds", "tightest"),
    [({"epsilon": 6.5}, [9.0, 4.5, 6.0, None], 4.5), ({"size": 2}, [0.0, 1.5, 1.0, None], 1.5)],
)
def test_tightest_bound_wins(
    question: dict[str, Any], bounds: list[float | None], tightest: float
) -> None:
    """Upper bounds on a size only fall, lower bounds on a norm only rise."""
    run = Run(Problem(_S, **question), Limits())
    for bound in bounds:
        run.proof.tighten(bound)
    assert run.bound == tightest


def test_random_streams() -> None:
    """The same seed and stream repeat; another seed or stream differs."""

    def draw(seed: int, *stream: int) -> float:
        return float(_run(seed=seed).generator(*stream).random())

    assert draw(1, 0) == draw(1, 0)
    assert len({draw(1, 0), draw(2, 0), draw(1, 1), draw(1)}) == 4
