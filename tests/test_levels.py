"""Eq. 4 on rows in shards: shards swap first, a core takes the rest."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import subsetsel
from subsetsel.engine import core
from subsetsel.engine.core import core_size, gather
from subsetsel.engine.journal import Journal
from subsetsel.engine.levels import by_levels
from subsetsel.engine.options import Limits
from subsetsel.engine.registry import get_spec
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.engine.share import Asked, Slack, Work, take_share
from subsetsel.errors import OutOfMemoryError
from subsetsel.problem.constraints import Constraints
from subsetsel.problem.problem import Problem
from subsetsel.rows import DenseRows
from subsetsel.rows.base import FloatArray, Rows
from subsetsel.rows.sharded import ShardedRows
from subsetsel.shards.table import Shards
from subsetsel.shards.workers import Serial


class Backwards(Serial):
    """Four workers of an engine that runs the last task first."""

    num_workers = 4

    def run(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Give the answers in the order of the arguments all the same."""
        return super().run(function, list(arguments)[::-1])[::-1]


class Failing(Serial):
    """The user presses Ctrl-C in the first pass over the shards."""

    def run(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Interrupt where shards are asked to swap."""
        if function is take_share:
            raise KeyboardInterrupt
        return super().run(function, arguments)


def as_shard(part: np.ndarray) -> Rows | None:
    """Rows of a shard; None of an empty one."""
    return DenseRows(part) if len(part) else None


def in_shards(S: np.ndarray, lengths: Sequence[int], workers: Serial | None = None) -> ShardedRows:
    """Lay out rows in shards of these lengths."""
    workers = workers or Serial(2**30)
    cuts = np.cumsum(lengths)[:-1]
    held = workers.hold(as_shard, [(part,) for part in np.split(S, cuts)])
    return ShardedRows(Shards(workers, held, lengths), S.shape[1], S.dtype)


def made(n: int, d: int, seed: int = 0) -> FloatArray:
    """Rows of very different lengths that cancel."""
    rng = np.random.default_rng(seed)
    S = rng.normal(size=(n, d)) * np.exp(rng.normal(size=(n, 1)))
    S -= S.mean(axis=0)
    return S


def anneal(problem: Problem, run: Run) -> Candidate:
    """The solver that is asked for."""
    spec = get_spec("anneal")
    solver = spec.load()
    return solver.solve(problem, spec.options(solver, {}), run)


def solved(problem: Problem, **limits: Any) -> tuple[Run, Candidate]:
    """Answer a problem by levels."""
    run = Run(problem, Limits(bound=False, **limits))
    return run, by_levels(anneal, problem, run)


@pytest.fixture(autouse=True)
def small_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few hundred rows be enough for levels."""
    monkeypatch.setattr(core, "_FEWEST_ROWS", 40)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), constrained=st.booleans(), has_offset=st.booleans())
def test_every_answer_respects_everything_linear(
    seed: int, constrained: bool, has_offset: bool
) -> None:
    """Quotas, a weighted limit, fixed examples and the size hold, in uneven and empty shards."""
    rng = np.random.default_rng(seed)
    S = made(500, 2, seed)
    fixed = rng.permutation(500)[:30]
    groups = np.sort(rng.integers(0, 3, 500))
    problem = Problem(
        in_shards(S, [0, 1, 99, 150, 250]),
        size=int(rng.integers(40, 400)),
        must_prune=fixed[:15],
        must_keep=fixed[15:],
        offset=rng.normal(size=2) if has_offset else None,
        constraints=[(rng.normal(size=500), -40.0, 40.0)] if constrained else None,
        groups=groups,
        group_limits={0: (5, 100), 2: (10, 150)},
    )
    run, candidate = solved(problem, max_iterations=3000, seed=seed)
    if candidate.is_infeasible:
        assert run.mask is None
    else:
        assert run.mask is not None
        assert problem.violations(run.mask) == []
        assert not candidate.stats["is_gathered"]


def test_the_norm_is_near_that_of_one_machine() -> None:
    """Shards and a core find a norm of the same order as a search of all rows together."""
    S = made(2000, 3)
    problem = Problem(in_shards(S, [500, 200, 800, 500]), size=800)
    run, candidate = solved(problem, max_iterations=200_000)
    alone = subsetsel.solve(S, size=800, max_iterations=200_000, bound=False)
    assert not candidate.stats["is_gathered"]
    assert run.norm < 1e-3 * np.linalg.norm(S[:800].sum(axis=0))
    assert run.norm < 5 * alone.norm


def test_few_rows_are_brought_together_and_answered_as_on_one_machine() -> None:
    """Where a core would be most of the rows the subset is that of rows in one piece."""
    S = made(150, 3)
    problem = Problem(in_shards(S, [50, 60, 40]), size=60)
    run, candidate = solved(problem, seed=3)
    assert candidate.stats["is_gathered"]
    assert "150 rows were brought together" in candidate.message
    assert run.mask is not None
    assert (run.mask == subsetsel.solve(S, size=60, seed=3, bound=False).mask).all()


def test_any_number_of_workers_gives_the_same_subset() -> None:
    """Workers in another order, four at a time, change nothing."""
    S, lengths = made(900, 3), [300, 100, 500]
    found = [
        solved(Problem(in_shards(S, lengths, workers), size=300), max_iterations=20_000)[0]
        for workers in (Serial(2**30), Backwards(2**30))
    ]
    np.testing.assert_array_equal(found[0].mask, found[1].mask)


def test_rounds_do_not_grow_with_the_shards() -> None:
    """Three times as many shards are asked as often."""
    S, rounds = made(2400, 2), []
    for number in (4, 12):
        rows = in_shards(S, [2400 // number] * number)
        solved(Problem(rows, size=900), max_iterations=20_000)
        rounds.append(rows.shards.num_rounds)
    assert rounds[0] == rounds[1] <= 8


def asked_of(S: np.ndarray, seed: int, part: np.ndarray) -> tuple[Asked, np.ndarray, Constraints]:
    """A random subset of a shard, half of which may move, under one equality and one limit."""
    rng = np.random.default_rng(seed)
    mask, movers = rng.random(len(S)) < 0.4, rng.random(len(S)) < 0.5
    limits = Constraints.build(
        len(S), [(rng.random(len(S)) < 0.5, 0, 0), (rng.normal(size=len(S)), 0, 0)]
    )
    slack = Slack(limits.matrix, np.array([0.0, 0.5]), np.array([0.0, 2.0]))
    return Asked(part, 1, np.packbits(mask), np.packbits(movers), slack), mask, limits


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_shard_makes_its_part_no_longer_and_keeps_its_limits(seed: int) -> None:
    """Size, quotas and slack hold, only movers move, and the change is that of the rows.

    Mutation: the rows that may move count twice: fails.
    """
    S = made(60, 3, seed)
    part = 5.0 * np.random.default_rng(seed).normal(size=3)
    asked, before, limits = asked_of(S, seed, part)
    share = take_share(DenseRows(S), Work(20, 5, np.inf, seed), asked)
    after = np.unpackbits(share.chosen, count=60).astype(bool)
    assert np.linalg.norm(part + share.change) <= np.linalg.norm(part) * (1 + 1e-12)
    np.testing.assert_allclose(share.change, S[after].sum(0) - S[before].sum(0), atol=1e-9)
    assert after.sum() == before.sum()
    assert (np.unpackbits(asked.may_move, count=60)[after != before] == 1).all()
    moved = limits.activity(after) - limits.activity(before)
    assert moved[0] == 0
    assert -0.5 - 1e-6 <= moved[1] <= 2.0 + 1e-6


def test_shards_share_the_slack_of_a_limit() -> None:
    """What shards find keeps a narrow limit on a sum, before any core is searched."""
    coefficients = np.random.default_rng(0).normal(size=900)
    problem = Problem(
        in_shards(made(900, 3), [100] * 9), size=300, constraints=[(coefficients, -1.0, 1.0)]
    )
    run = Run(problem, Limits(bound=False))
    first: list[float] = []

    def idle(core: Problem, inner: Run) -> Candidate:
        first.append(run.norm)
        return Candidate()

    by_levels(idle, problem, run)
    assert run.norm < 0.5 * first[0]


def test_shards_that_cannot_swap_are_told_of() -> None:
    """With one example in each shard none can swap, and the message says what is left and why."""
    problem = Problem(in_shards(made(900, 3), [1] * 900), size=300)
    run, candidate = solved(problem, max_iterations=20_000)
    assert run.mask is not None
    assert "the shards leave a sum" in candidate.message
    assert "larger shards" in candidate.message


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_rows_that_share_a_direction_end_near_one_machine(shift: float) -> None:
    """Where the slopes decide, whether or not 0 is near, the norm is that of all rows searched."""
    S = np.sort(made(2000, 2) + shift * np.array([1.0, 0.5]), axis=0)
    problem = Problem(in_shards(S, [1000, 300, 700]), size=800)
    run, candidate = solved(problem, max_iterations=200_000)
    alone = subsetsel.solve(S, size=800, max_iterations=200_000, bound=False).norm
    assert not candidate.stats["is_gathered"]
    assert run.norm <= max(1.01 * alone, 1e-2)
    assert candidate.message == ""


def test_rows_that_share_a_direction_may_cancel_all_the_same() -> None:
    """Where more could be pruned at a norm near 0, the norm of fewer is near 0 too."""
    S = made(30_000, 4) + 0.3
    problem = Problem(in_shards(S, [15_000, 5_000, 10_000]), size=12_000)
    run, _ = solved(problem, max_iterations=200_000)
    assert run.norm <= 1e-6 * float(np.linalg.norm(S.sum(axis=0)))


def test_a_guess_near_the_answer_needs_no_pass_over_the_shards() -> None:
    """The sum of a good guess is within reach of the core, and the answer is no worse."""
    problem = Problem(in_shards(made(900, 3), [300, 100, 500]), size=300)
    first, _ = solved(problem, max_iterations=20_000)
    again, candidate = solved(problem, max_iterations=20_000, initial_guess=first.mask)
    assert candidate.stats["num_passes"] == 0
    assert again.norm <= first.norm


def test_a_few_exchanges_go_on_from_the_guess() -> None:
    """An engine that is allowed a few moves only starts where the guess is, in the core."""
    problem = Problem(in_shards(made(900, 3), [300, 100, 500]), size=300)
    first, _ = solved(problem, time_limit=0)
    greedy = get_spec("greedy")
    exchanges = greedy.load()
    limits = Limits(bound=False, max_iterations=4, initial_guess=first.mask)
    run = Run(problem, limits)
    assert first.mask is not None
    run.submit(first.mask)
    by_levels(
        lambda sub, inner: exchanges.solve(sub, greedy.options(exchanges, {}), inner), problem, run
    )
    assert run.norm < first.norm
    assert 0 < np.count_nonzero(run.mask != first.mask) <= 8


def test_sizes_of_a_kept_question_are_searched_in_shards() -> None:
    """Eq. 3 with normalization "kept" prunes about as many as with all rows in one piece."""
    S = made(900, 3)
    found, alone = (
        subsetsel.solve(
            rows, epsilon=0.5, normalization="kept", max_iterations=100_000, bound=False
        )
        for rows in (in_shards(S, [300, 100, 500]), S)
    )
    assert 900 - found.size <= 3 * (900 - alone.size)


def test_a_core_comes_once_for_all_sizes() -> None:
    """Rows that were gathered last are not asked for again."""
    rows = in_shards(made(50, 2), [20, 30])
    items = np.arange(0, 50, 2)
    first = gather(rows, items)
    before = rows.shards.num_rounds
    assert gather(rows, items.copy()) is first
    assert rows.shards.num_rounds == before


def test_a_core_that_memory_is_not_planned_for_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error says what a core takes and to what the variable must be set; that is enough."""
    S = made(600, 8)
    problem = Problem(in_shards(S, [300, 300]), size=200)
    least = 24 * 8 * 8 * 8
    monkeypatch.setenv("SUBSETSEL_MEMORY_GIB", str(1.9 * least / 2**30))
    with pytest.raises(OutOfMemoryError, match=r"24 examples for each.*SUBSETSEL_MEMORY"):
        core_size(problem)
    monkeypatch.setenv("SUBSETSEL_MEMORY_GIB", str(2.1 * least / 2**30))
    assert core_size(problem) == 24 * 8 + 9


def test_constraints_that_exclude_each_other_are_proved_infeasible() -> None:
    """The answer says so before a shard is asked."""
    rows = in_shards(made(600, 2), [300, 300])
    problem = Problem(rows, size=50, constraints=[(np.ones(600), 60, 70)])
    _, candidate = solved(problem)
    assert candidate.is_infeasible


def test_iterations_are_those_of_shards_and_core_together() -> None:
    """No more are made than allowed."""
    problem = Problem(in_shards(made(900, 3), [300, 100, 500]), size=300)
    run, _ = solved(problem, max_iterations=3000)
    assert 1000 < run.num_iterations <= 3000


def test_no_time_gives_the_first_subset() -> None:
    """Where the clock has run out there is a subset of the right size, and the limit is named."""
    run, candidate = solved(Problem(in_shards(made(900, 3), [400, 500]), size=300), time_limit=0)
    assert run.size == 300
    assert candidate.limit == "time"


def test_an_interrupted_pass_leaves_the_best_so_far() -> None:
    """Ctrl-C while shards swap: the run holds a subset of the right size."""
    problem = Problem(in_shards(made(900, 3), [400, 500], Failing(2**30)), size=300)
    run = Run(problem, Limits(bound=False))
    with pytest.raises(KeyboardInterrupt):
        by_levels(anneal, problem, run)
    assert run.size == 300


class Counting(Journal):
    """Counts what it finds."""

    num_found = 0

    def get(self, key: str) -> dict[str, NDArray[Any]] | None:
        """Look up, and count."""
        found = super().get(key)
        self.num_found += found is not None
        return found


def test_a_killed_search_goes_on_where_it_was(tmp_path: Any) -> None:
    """With a journal no shard and no core is asked twice, and the subset is the same."""
    S = made(900, 3)
    problem = Problem(in_shards(S, [400, 500]), size=300)
    whole, _ = solved(problem, max_iterations=20_000)

    def killed(asked: Problem, run: Run) -> Candidate:
        raise SystemExit

    run = Run(problem, Limits(bound=False, max_iterations=20_000))
    run.journal = Journal(tmp_path)
    with pytest.raises(SystemExit):
        by_levels(killed, problem, run)
    again = Run(replace_workers(S), run.limits)
    again.journal = journal = Counting(tmp_path)
    by_levels(anneal, again.problem, again)
    assert journal.num_found == 1
    np.testing.assert_array_equal(again.mask, whole.mask)
    assert again.num_iterations == whole.num_iterations
    last = Run(again.problem, run.limits)
    last.journal = Journal(tmp_path)
    by_levels(killed, last.problem, last)
    np.testing.assert_array_equal(last.mask, whole.mask)


def replace_workers(S: np.ndarray) -> Problem:
    """The same problem where no shard may be asked to swap."""
    return Problem(in_shards(S, [400, 500], Failing(2**30)), size=300)


def test_progress_is_told_while_shards_and_core_work() -> None:
    """A callback is called, and may stop the search."""
    problem = Problem(in_shards(made(900, 3), [400, 500]), size=300)
    run, candidate = solved(problem, callback=lambda record: record.num_iterations > 0)
    assert candidate.limit == "interrupted"
    assert run.size == 300
