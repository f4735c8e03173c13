"""Eq. 3 on rows in shards: as many as in one piece, the same after a kill, refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_shards import cut_evenly, in_shards
from numpy.typing import NDArray

from subsetsel import OptionError, Problem, ProblemError, Solution, path, solve
from subsetsel.bounds import point
from subsetsel.engine import sharded

_N = 3000
_EPSILON = 60.0


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a step and a core be of 300 rows, so that most examples are decided by their prices."""
    monkeypatch.setattr(point, "most_rows", lambda _: 300)
    monkeypatch.setattr(sharded, "_num_rows", lambda _: 300)


@pytest.fixture(scope="module")
def S() -> NDArray[np.float64]:
    """Rows of uneven lengths that share a direction."""
    rng = np.random.default_rng(11)
    return (rng.normal(size=(_N, 6)) + 0.3) * rng.lognormal(0.0, 1.0, size=(_N, 1))


def answer(S: NDArray[np.float64], num: int = 3, **options: Any) -> Solution:
    """Solve with S in so many shards."""
    question = {name: options.pop(name) for name in _QUESTION & options.keys()}
    rows = in_shards(S, cut_evenly(len(S), num))
    return solve(Problem(rows, epsilon=_EPSILON, **question), **options)


_QUESTION = {"must_prune", "must_keep", "offset", "groups", "group_limits", "max_size"}

QUESTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "fixed": {"must_prune": np.arange(20), "must_keep": np.arange(100, 400)},
    "offset": {"offset": np.full(6, 10.0)},
    "groups": {"groups": np.arange(_N) % 2, "group_limits": {0: (0, 900), 1: (0, 1500)}},
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_as_many_as_in_one_piece(S: NDArray[np.float64], name: str) -> None:
    """The size is that of S in one piece up to 1e-3, within a bound that holds for both."""
    whole = solve(Problem(S, epsilon=_EPSILON, **QUESTIONS[name]))
    cut = answer(S, **QUESTIONS[name])
    assert cut.bound is not None
    assert whole.size <= cut.bound
    assert cut.size >= (1 - 1e-3) * whole.size
    assert Problem(S, epsilon=_EPSILON, **QUESTIONS[name]).is_feasible(cut.mask)


def test_any_sharding_gives_as_many(S: NDArray[np.float64]) -> None:
    """One, three and seven shards, one of a single row and an empty one prune as many."""
    problem = Problem(in_shards(S, [0, 1, 1, 2000]), epsilon=_EPSILON)
    sizes = {answer(S, num).size for num in (1, 3, 7)} | {solve(problem).size}
    assert len(sizes) == 1


def test_the_same_twice(S: NDArray[np.float64]) -> None:
    """The same shards give the same subset, and another seed is honoured."""
    assert np.array_equal(answer(S).mask, answer(S).mask)
    assert answer(S, seed=1).is_feasible


@pytest.mark.parametrize("solver", ["greedy", "relax"])
def test_other_solvers_get_the_rows_near_the_margin(S: NDArray[np.float64], solver: str) -> None:
    """Any solver that takes Eq. 3 comes near the bound, since prices decide the others."""
    found = answer(S, solver=solver)
    assert found.bound is not None
    assert found.size >= 0.99 * found.bound


def test_tells_rounds_bytes_and_steps(S: NDArray[np.float64]) -> None:
    """Stats say what was asked of the shards, and progress is told of each step."""
    seen: list[float | None] = []
    found = answer(S, progress=lambda record: seen.append(record.bound))
    stats = found.stats
    assert stats["num_shards"] == 3
    assert stats["num_steps"] == len(stats["steps"]) >= 1
    assert stats["rows_sampled"] == sum(step["num_rows"] for step in stats["steps"])
    assert 3 * stats["num_steps"] < stats["num_rounds"] <= 3 * stats["num_steps"] + 16
    assert stats["bytes_sent"] > 0
    assert stats["steps"][-1]["gap"] < 1e-4
    assert len(seen) >= 1


def test_rounds_do_not_grow_with_shards(S: NDArray[np.float64]) -> None:
    """What is asked before, between and after the steps is asked of all shards at once."""
    counts = {answer(S, num).stats["num_rounds"] for num in (2, 40)}
    assert len(counts) == 1


@pytest.mark.parametrize("call", [2, 3, 4])
def test_goes_on_after_it_was_killed(S: NDArray[np.float64], tmp_path: Path, call: int) -> None:
    """A run that ended in the middle goes on from its folder, and ends with the same subset.

    Mutation: nothing is kept: fails.
    """

    class Killed(Exception):
        pass

    class Kill:
        num = 0

        def __call__(self, *given: Any, **named: Any) -> Any:
            self.num += 1
            if self.num == call:
                raise Killed
            return put(*given, **named)

    put = np.savez
    whole = answer(S)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "savez", Kill())
        with pytest.raises(Killed):
            answer(S, checkpoint=tmp_path)
    again = answer(S, checkpoint=tmp_path)
    assert np.array_equal(again.mask, whole.mask)
    assert again.bound == whole.bound
    third = answer(S, checkpoint=tmp_path)
    assert np.array_equal(third.mask, whole.mask)
    assert third.stats["num_rounds"] < whole.stats["num_rounds"]


def test_a_resumed_bound_is_computed_and_not_read(S: NDArray[np.float64], tmp_path: Path) -> None:
    """Whatever numbers the file of the relaxation holds, no subset is larger than the bound.

    Mutation: the bound is taken from the file: it is half of what is pruned.
    """
    first = answer(S, checkpoint=tmp_path)
    (path,) = tmp_path.glob("*relaxation*.npz")
    held = dict(np.load(path))
    held["numbers"][:] = first.size / 2
    np.savez(path, **held)
    again = answer(S, checkpoint=tmp_path)
    assert again.bound is not None
    assert again.bound >= first.size


def test_rows_next_to_nothing_are_sampled_beside_fixed_ones(S: NDArray[np.float64]) -> None:
    """What is fit for sums as a whole is not looked at again in a part.

    Mutation: the drawn rows are checked: they are refused as too small.
    """
    scaled = 1e-145 * S
    scaled[::1000] = 1.0
    rows = in_shards(scaled, cut_evenly(len(S), 3))
    found = solve(Problem(rows, epsilon=1e-143, must_keep=[0, 1000, 2000]), solver="greedy")
    assert found.is_feasible
    assert found.size > 0


def test_the_folder_of_another_question_is_refused(S: NDArray[np.float64], tmp_path: Path) -> None:
    """Another limit on the same rows does not go on from the folder."""
    answer(S, checkpoint=tmp_path)
    with pytest.raises(ProblemError, match=r"checkpoint = .* another question"):
        answer(S, must_keep=[0], checkpoint=tmp_path)


def test_what_shards_do_not_allow_is_refused(S: NDArray[np.float64]) -> None:
    """The message names the option, before anything is computed."""
    with pytest.raises(OptionError, match=r"bound='tight' .* in shards"):
        answer(S, bound="tight")
    assert answer(S, bound=True).is_feasible


def test_each_point_of_a_path_has_its_folder(S: NDArray[np.float64], tmp_path: Path) -> None:
    """A curve goes on from its points, each of which is another question."""
    problem = Problem(in_shards(S, [1000]), epsilon=1.0)
    curve = [list(path(problem, epsilons=[30.0, 60.0], checkpoint=tmp_path)) for _ in range(2)]
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["0", "1"]
    for first, again in zip(*curve, strict=True):
        assert np.array_equal(first.mask, again.mask)
        assert again.stats["num_rounds"] < first.stats["num_rounds"]


def test_a_checkpoint_needs_shards(S: NDArray[np.float64], tmp_path: Path) -> None:
    """Rows in one piece keep no steps, and say so."""
    with pytest.raises(OptionError, match=r"checkpoint .* in one piece"):
        solve(S, epsilon=1.0, checkpoint=tmp_path)


def test_too_many_columns_are_refused_first() -> None:
    """A d that no step can take is refused before the first round."""
    rows = in_shards(np.ones((2, 20_001), np.float32), [1])
    with pytest.raises(ProblemError, match="d = 20,001 columns"):
        solve(Problem(rows, epsilon=1.0))
    assert rows.shards.num_rounds == 0


def test_without_time_a_feasible_subset_comes_back(S: NDArray[np.float64]) -> None:
    """A time limit of 0 gives what one sort gives, within the bound."""
    found = answer(S, time_limit=0.0)
    assert found.limit == "time"
    assert found.is_feasible
    assert found.size > 0


def test_limits_that_bind_alone_are_reached(S: NDArray[np.float64]) -> None:
    """Where group limits leave room to the norm, as many as they allow are pruned."""
    limits = {0: (100, 600), 1: (900, 1200)}
    found = answer(S, groups=np.arange(_N) % 2, group_limits=limits)
    assert (found.size, found.status) == (1800, "optimal")


def test_a_cap_is_reached(S: NDArray[np.float64]) -> None:
    """A cap below what the norm allows is reached, and that is proved."""
    found = answer(S, max_size=500)
    assert (found.size, found.status) == (500, "optimal")


def test_the_kept_normalization_goes_by_sizes(S: NDArray[np.float64]) -> None:
    """With normalization "kept" about as many are pruned as in one piece, within a proven bound."""
    whole = solve(Problem(S, epsilon=_EPSILON, normalization="kept"))
    rows = in_shards(S, cut_evenly(_N, 3))
    cut = solve(Problem(rows, epsilon=_EPSILON, normalization="kept"))
    assert cut.is_feasible
    assert cut.size >= 0.99 * whole.size
    assert cut.bound is None or cut.bound >= whole.size
