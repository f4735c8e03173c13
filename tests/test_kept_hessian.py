"""``hessian="kept"``: the expansion around a refit, and the search that minimizes the refit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import subsetsel
from subsetsel import OptionError, Problem, ProblemError
from subsetsel.engine.trust_region import TrustRegion, descend
from subsetsel.problem.arguments import Storage
from subsetsel.problem.progress import Progress
from subsetsel.problem.searched_rows import SearchedRows
from subsetsel.rows.base import BoolArray, FloatArray
from subsetsel.support.clock import NO_CLOCK


def blobs(n: int = 150, seed: int = 0) -> tuple[FloatArray, Any]:
    """Three overlapping classes, few examples for each parameter."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return np.eye(3, 5)[y] + 0.8 * rng.normal(size=(n, 5)), y


def problem_of(n: int = 150, seed: int = 0, **question: Any) -> Problem:
    """A problem about the blobs, 80 % pruned."""
    question = {"l2": 1e-2, "fraction": 0.8, "hessian": "kept", **question}
    return Problem.from_features(*blobs(n, seed), **question)


def change_of(problem: Problem, mask: BoolArray) -> float:
    """How far an exact refit moves the head."""
    head = problem.head
    assert head is not None
    return float(np.linalg.norm(head.refit(~mask).theta - head.theta))


def expanded(problem: Problem, mask: BoolArray) -> SearchedRows:
    """The rows expanded around a pruned set."""
    assert problem.head is not None
    assert problem.size is not None
    searched = SearchedRows(problem)
    theta = problem.head.refit(~mask).theta
    searched.expand(mask, theta, problem.size, NO_CLOCK)
    return searched


def random_mask(problem: Problem) -> BoolArray:
    """As many pruned as asked, at random."""
    mask = np.zeros(problem.n, dtype=np.bool_)
    mask[np.random.default_rng(5).permutation(problem.n)[: problem.size]] = True
    return mask


@pytest.mark.parametrize("storage", ["dense", "factored"])
def test_expansion_is_exact_at_its_own_set(storage: str) -> None:
    """What it predicts there is the refit, unlike first order."""
    problem = problem_of(storage=storage, dtype=np.float64)
    mask = random_mask(problem)
    change = change_of(problem, mask)
    assert expanded(problem, mask).predict(mask) == pytest.approx(change, rel=1e-7)
    assert abs(SearchedRows(problem).predict(mask) / change - 1) > 0.05


def test_expansion_is_exact_with_sample_weights() -> None:
    """The shares of the weights take the place of 1 / n."""
    from subsetsel.influence import fit_head

    X, y = blobs()
    weights = np.random.default_rng(1).uniform(0.2, 3.0, size=len(y))
    head = fit_head(X, y, l2=1e-2, sample_weight=weights)
    problem = Problem.from_head(head, fraction=0.8, hessian="kept", dtype=np.float64)
    mask = random_mask(problem)
    found = expanded(problem, mask).predict(mask)
    assert found == pytest.approx(change_of(problem, mask), rel=1e-7)


@pytest.mark.parametrize("storage", ["dense", "factored"])
def test_swap_changes_the_expansion_as_it_changes_the_refit(storage: Storage) -> None:
    """Central differences of exact refits: two examples trade shares of their weight."""
    from subsetsel.influence import fit_head

    X, y = blobs(400)
    step = 1e-3
    head = fit_head(X, y, l2=1e-2)
    problem = Problem.from_head(
        head, fraction=0.5, hessian="kept", storage=storage, dtype=np.float64
    )
    mask = random_mask(problem)
    out, into = np.flatnonzero(mask)[0], np.flatnonzero(~mask)[0]
    rows = expanded(problem, mask).rows
    one = rows.take(np.array([out, into]))
    predicted = problem.n / (~mask).sum() * (one[1] - one[0])

    def refitted(share: float) -> FloatArray:
        """The head where so much of one kept example was traded for a pruned one."""
        weights = (~mask).astype(float)
        weights[into] -= share
        weights[out] += share
        there = weights > 0
        return np.asarray(fit_head(X[there], y[there], l2=1e-2, sample_weight=weights[there]).theta)

    # A share cannot be traded both ways, since a pruned example has no weight to give.
    slope = (-3 * refitted(0.0) + 4 * refitted(step) - refitted(2 * step)) / (2 * step)
    basis = head.objective_function.basis.cpu().numpy()
    found = (basis @ predicted.reshape(basis.shape[1], -1)).ravel()
    np.testing.assert_allclose(found, slope.ravel(), atol=1e-4 * np.abs(slope).max())


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    kept=st.integers(8, 70),
    storage=st.sampled_from(["dense", "factored"]),
)
def test_refit_is_never_farther_than_with_all_examples(seed: int, kept: int, storage: str) -> None:
    """On the same data with the same seed, since that answer is one of those refitted."""
    changes = []
    for hessian in ("all", "kept"):
        problem = problem_of(
            80, seed, fraction=None, num_kept=kept, hessian=hessian, storage=storage, l2=1e-3
        )
        solution = subsetsel.solve(problem, seed=seed % 7, num_stages=20, num_proposals=2000)
        assert solution.size == 80 - kept
        changes.append(change_of(problem, solution.mask))
    assert changes[1] <= changes[0] * (1 + 1e-9)


def test_answer_has_the_smallest_refit_of_all_rounds() -> None:
    """What `stats` lists are the changes of exact refits, the smallest is that of the answer."""
    problem = problem_of(400, l2=1e-3, fraction=0.9)
    solution = subsetsel.solve(problem)
    rounds = solution.stats["rounds"]
    change = change_of(problem, solution.mask)
    assert min(one["change"] for one in rounds) == pytest.approx(change, rel=1e-9)
    assert change < 0.9 * rounds[0]["change"]


def test_predictions_are_told_apart() -> None:
    """First order for every round; those that were searched are better in the end."""
    problem = problem_of(400, l2=1e-3, fraction=0.9)
    solution = subsetsel.solve(problem)
    best = min(reversed(solution.stats["rounds"]), key=lambda one: one["change"])
    assert best["predicted_kept"] == pytest.approx(solution.predicted_kept, rel=1e-5)
    assert best["predicted_searched"] == pytest.approx(best["change"], rel=0.02)
    assert abs(best["predicted_kept"] / best["change"] - 1) > 0.05


def test_norm_is_that_of_the_problem_and_nothing_is_proved() -> None:
    """The first-order norm, which users compare; the message says what was minimized."""
    problem = problem_of()
    solution = subsetsel.solve(problem, bound="tight")
    assert solution.norm == pytest.approx(problem.norm(solution.mask))
    assert (solution.status, solution.bound) == ("feasible", None)
    assert f"{change_of(problem, solution.mask):.6g}" in solution.message


def test_works_where_rows_are_solved_for_by_conjugate_gradients() -> None:
    """Nothing reads single rows; the refit still falls."""
    from subsetsel.influence import fit_head

    X, y = blobs(300)
    head = fit_head(X, y, l2=1e-3, inverse="cg")
    question: dict[str, Any] = {"num_kept": 40, "dtype": np.float64}
    problem = Problem.from_head(head, hessian="kept", **question)
    assert problem.rows.proxy is not problem.rows
    solution = subsetsel.solve(problem)
    first = subsetsel.solve(Problem.from_head(head, **question))
    assert change_of(problem, solution.mask) <= change_of(problem, first.mask)
    assert len(solution.stats["rounds"]) > 1


def test_same_seed_gives_the_same_subset() -> None:
    """Rounds included."""
    one, two = (subsetsel.solve(problem_of(), seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.mask, two.mask)
    assert one.stats["rounds"] == two.stats["rounds"]


def test_other_solvers_have_their_refits_minimized_too() -> None:
    """With their own options and one start."""
    problem = problem_of()
    plain = subsetsel.solve(problem_of(hessian="all"), solver="greedy", patience=5)
    solution = subsetsel.solve(problem, solver="greedy", patience=5)
    assert solution.solver == "greedy"
    assert change_of(problem, solution.mask) <= change_of(problem, plain.mask)


def test_guess_is_never_made_worse() -> None:
    """It is refitted like every other choice."""
    problem = problem_of()
    best = subsetsel.solve(problem)
    again = subsetsel.solve(problem, initial_guess=best, max_iterations=3)
    assert change_of(problem, again.mask) <= change_of(problem, best.mask)


def test_iterations_are_limited_over_all_searches() -> None:
    """The sum stays within the limit, and there is an answer."""
    solution = subsetsel.solve(problem_of(), max_iterations=5_000)
    assert 0 < solution.num_iterations <= 5_000
    assert solution.is_feasible


def test_time_that_is_up_gives_the_best_refit_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock ends a refit as it ends a search."""
    from subsetsel.engine import refitted
    from subsetsel.support.clock import TimeIsUp

    whole = refitted.RefittedSearch._choose
    calls = 0

    def choose(self: Any, way: int, base: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise TimeIsUp
        return whole(self, way, base)

    monkeypatch.setattr(refitted.RefittedSearch, "_choose", choose)
    problem = problem_of()
    solution = subsetsel.solve(problem)
    assert solution.limit == "time"
    assert change_of(problem, solution.mask) == pytest.approx(
        min(one["change"] for one in solution.stats["rounds"]), rel=1e-9
    )


def test_search_that_ends_before_any_refit_has_its_subset(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says that it was not refitted."""
    from subsetsel.influence.head.refit import KeptHead
    from subsetsel.support.clock import TimeIsUp

    def refit(self: Any) -> Any:
        raise TimeIsUp

    problem = problem_of()
    monkeypatch.setattr(KeptHead, "refit", refit)
    solution = subsetsel.solve(problem)
    assert solution.limit == "time"
    assert solution.size == problem.size
    assert "before the head could be refitted" in solution.message


def test_interrupt_gives_the_best_refit_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the second refit."""
    from subsetsel.influence.head.refit import KeptHead

    whole, calls = KeptHead.refit, 0

    def refit(self: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise KeyboardInterrupt
        return whole(self)

    problem = problem_of()
    monkeypatch.setattr(KeptHead, "refit", refit)
    solution = subsetsel.solve(problem)
    assert solution.limit == "interrupted"
    assert len(solution.stats["rounds"]) == 1
    assert solution.size == problem.size


def test_callback_stops_and_sees_the_best_by_refit() -> None:
    """Progress tells the first-order norm of the incumbent."""
    seen: list[Progress] = []

    def callback(record: Progress) -> bool:
        seen.append(record)
        return record.norm is not None

    problem = problem_of()
    solution = subsetsel.solve(problem, callback=callback)
    assert solution.limit == "interrupted"
    assert seen[-1].norm == pytest.approx(problem.norm(solution.mask))


def test_smaller_size_can_be_asked_of_the_same_problem() -> None:
    """`replace` and `path` keep the Hessian."""
    problem = problem_of()
    sizes = [s.size for s in subsetsel.path(problem, sizes=[100, 110]) if "refit" in s.message]
    assert sizes == [100, 110]


def test_prune_takes_such_a_problem() -> None:
    """It searches what refitting does anyway."""
    _, check = subsetsel.prune(problem_of(), rel_epsilon=0.3)
    assert check.is_verified


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ({"hessian": "half"}, "hessian must be 'all' or 'kept', got 'half'"),
        ({"fraction": None, "epsilon": 0.5}, "epsilon = 0.5.*subsetsel.prune"),
        ({"fraction": None, "rel_epsilon": 0.1}, "rel_epsilon = 0.1.*subsetsel.prune"),
        ({"formulation": "paper"}, "ridge = 'excluded'.*Leave them out"),
        ({"metric": "loss"}, "metric = 'loss'.*Leave metric out"),
    ],
)
def test_what_contradicts_it_is_refused_with_a_cure(question: dict[str, Any], words: str) -> None:
    """Value, rule and cure."""
    with pytest.raises(ProblemError, match=words):
        problem_of(**question)


def test_another_goal_is_refused_later_too() -> None:
    """By `replace`, with the same words."""
    with pytest.raises(ProblemError, match=r"epsilon = 0.5.*subsetsel.prune"):
        problem_of().replace(epsilon=0.5)


def test_matrix_has_no_head_to_refit() -> None:
    """The cure names the ways to a head."""
    with pytest.raises(ProblemError, match=r"no head to refit.*from_features"):
        Problem(np.ones((4, 2)), size=1, hessian="kept")


def test_parameters_of_a_network_have_no_head_to_refit() -> None:
    """Refused before anything is computed."""
    X, y = blobs(12)
    data = torch.utils.data.TensorDataset(torch.as_tensor(X).float(), torch.as_tensor(y))
    with pytest.raises(ProblemError, match=r"without parameters="):
        Problem.from_model(
            torch.nn.Linear(5, 3), data, l2=1e-2, parameters="weight", size=2, hessian="kept"
        )


def test_target_is_refused_with_a_cure() -> None:
    """A first-order norm says nothing of the refit."""
    with pytest.raises(OptionError, match=r"target = 0.1 .*leave target out"):
        subsetsel.solve(problem_of(), target=0.1)


class Step:
    """A point of a descent: one change, and what was promised of it."""

    def __init__(self, change: float, predicted: float, mark: int) -> None:
        self.change, self.predicted = change, predicted
        self.mask = np.arange(100) < 50
        self.mask[99] = bool(mark % 2)
        self.mask[:mark] = False


def test_unconfirmed_choice_begins_exchanges_and_fewer_each_time() -> None:
    """Three per cent of what is kept, then a quarter; twice as many where confirmed."""
    region, old = TrustRegion(), Step(1.0, 1.0, 0)
    assert not region.learn(old, Step(1.1, 0.5, 1))
    assert region.most == 2
    assert region.learn(old, Step(0.9, 0.9, 2))
    assert region.most == 4
    assert not region.learn(old, Step(0.99, 0.9, 3))
    assert region.most == 1


def test_descent_returns_the_best_and_ends_where_it_no_longer_pays() -> None:
    """A confirmed gain that is too small is taken, and is the last."""
    steps = iter([Step(0.5, 0.5, 1), Step(0.499, 0.499, 2), Step(0.1, 0.1, 3)])
    best = descend(
        Step(1.0, 1.0, 0),
        lambda _: next(steps),
        TrustRegion(),
        cost=lambda step: step.change,
        is_over=lambda _: False,
        pays=1.01,
        most_rounds=9,
    )
    assert best.change == 0.499
