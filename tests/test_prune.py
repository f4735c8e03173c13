"""`prune`: what it prints holds against an independent refit, and it says so where it cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from head_oracle import blobs, exact_minimizer
from hypothesis import given, settings
from hypothesis import strategies as st

import subsetsel
from subsetsel.errors import OptionError, ProblemError
from subsetsel.problem.progress import Progress

L2 = 1e-2
X, Y = blobs()


def prune(**given: Any) -> tuple[subsetsel.Solution, subsetsel.Verification]:
    """Prune the blobs with little work per size."""
    return subsetsel.prune(X, Y, **({"l2": L2, "num_proposals": 20_000} | given))


@pytest.fixture(scope="module")
def usual() -> tuple[subsetsel.Solution, subsetsel.Verification]:
    """The blobs, pruned to 5 % of the parameters' norm."""
    return prune(rel_epsilon=0.05)


def independent_reach(features: Any, labels: Any, l2: float, mask: Any) -> tuple[float, float]:
    """||theta_K - theta||_2 between minimizers found in extended precision, and its error."""
    num_classes = int(labels.max()) + 1
    head = subsetsel.Problem.from_features(features, labels, l2=l2, size=0).head
    assert head is not None
    full, full_error = exact_minimizer(features, labels, l2, num_classes, head.theta)
    start = head.refit(~mask).theta
    part, part_error = exact_minimizer(features[~mask], labels[~mask], l2, num_classes, start)
    return float(np.linalg.norm((part - full).astype(np.float64))), full_error + part_error


@settings(deadline=None, max_examples=15, derandomize=True)
@given(
    shape=st.sampled_from([(40, 3), (12, 15), (30, 1)]),
    num_classes=st.integers(2, 3),
    kind=st.sampled_from(["noise", "separable", "duplicates", "rare"]),
    l2=st.sampled_from([1e-6, 1e-4, 1e-2, 1.0]),
    rel_epsilon=st.sampled_from([1e-3, 1e-2, 0.1, 0.5]),
    seed=st.integers(0, 1000),
)
def test_the_claim_holds_against_an_independent_refit(
    shape: tuple[int, int], num_classes: int, kind: str, l2: float, rel_epsilon: float, seed: int
) -> None:
    """Fewer examples than features, separable, duplicated rows, a class of two: epsilon holds."""
    rng = np.random.default_rng(seed)
    n, num_features = shape
    labels = np.arange(n) % num_classes
    if kind == "rare":
        labels[labels == num_classes - 1] = 0
        labels[:2] = num_classes - 1
    features = rng.normal(size=(n, num_features))
    if kind == "separable":
        features[:, 0] += 5.0 * labels
    elif kind == "duplicates":
        features = features[np.arange(n) // 3]
    solution, check = subsetsel.prune(
        features, labels, l2=l2, rel_epsilon=rel_epsilon, num_proposals=3000
    )
    assert solution.is_feasible == bool(check.is_verified)
    if not solution.is_feasible:
        return
    change, error = independent_reach(features, labels, l2, solution.mask)
    assert abs(change - check.change) <= check.change_error + error
    assert change - error <= check.change + check.change_error
    assert solution.epsilon is not None
    assert check.change + check.change_error <= solution.epsilon
    assert set(np.unique(labels[solution.kept])) == set(np.unique(labels))


def test_much_more_is_pruned_than_at_random(usual: Any) -> None:
    """The epsilon that admits the chosen set admits no random one of its size."""
    solution, check = usual
    problem = subsetsel.Problem.from_features(X, Y, l2=L2, size=solution.size)
    rng = np.random.default_rng(0)
    changes = []
    for _ in range(20):
        mask = np.isin(np.arange(90), rng.choice(90, size=solution.size, replace=False))
        changes.append(subsetsel.verify(problem, mask).change)
    assert solution.size >= 30
    assert check.change < 0.5 * min(changes)


def test_the_curve_tells_every_size_that_was_tried(usual: Any) -> None:
    """Sizes, predictions, changes with their errors; the answer is the largest verified one."""
    solution, check = usual
    curve = solution.stats["curve"]
    verified = [point["m"] for point in curve if point["is_verified"]]
    assert max(verified) == solution.size == check.num_pruned
    for point in curve:
        reach = point["change"] + point["change_error"]
        assert point["is_verified"] == (reach <= solution.epsilon)


def test_the_same_seed_gives_the_same_subset(usual: Any) -> None:
    """Without a clock nothing depends on time."""
    again, _ = prune(rel_epsilon=0.05)
    np.testing.assert_array_equal(again.mask, usual[0].mask)


def test_a_warm_start_costs_less_and_is_no_smaller_than_its_guess(usual: Any) -> None:
    """An earlier answer is verified again and improved on, at a share of the proposals."""
    solution, _ = usual
    again, check = prune(rel_epsilon=0.05, initial_guess=solution)
    assert again.size >= solution.size
    assert check.is_verified
    assert again.num_iterations < solution.num_iterations


def test_an_answer_that_still_holds_costs_one_refit(usual: Any) -> None:
    """Near the limit nothing is searched; the same set comes back with a new verification."""
    solution, check = usual
    epsilon = 1.02 * (check.change + check.change_error)
    again, second = prune(epsilon=epsilon, initial_guess=solution)
    np.testing.assert_array_equal(again.mask, solution.mask)
    assert second.is_verified
    assert len(again.stats["curve"]) == 1
    assert again.num_iterations == 0


def test_an_answer_that_no_longer_holds_is_mended(usual: Any) -> None:
    """Some of the kept examples are withdrawn: the search begins at the old size, ends sooner."""
    old, _ = usual
    left = np.ones(90, dtype=np.bool_)
    left[old.kept[:4]] = False
    given: dict[str, Any] = {"l2": L2, "rel_epsilon": 0.05, "num_proposals": 20_000}
    again, check = subsetsel.prune(X[left], Y[left], initial_guess=old.mask[left], **given)
    scratch, _ = subsetsel.prune(X[left], Y[left], **given)
    assert check.is_verified
    assert again.stats["curve"][0]["m"] == old.size
    assert again.num_iterations < scratch.num_iterations


def test_new_examples_may_arrive(usual: Any) -> None:
    """A guess for the first examples starts the search for all of them."""
    rng = np.random.default_rng(2)
    more = np.concatenate([X, X[:9] + 0.1 * rng.normal(size=(9, 4))])
    labels = np.concatenate([Y, Y[:9]])
    solution, check = subsetsel.prune(
        more, labels, l2=L2, rel_epsilon=0.05, num_proposals=20_000, initial_guess=usual[0]
    )
    assert check.is_verified
    assert solution.n == 99
    assert solution.size >= 30


def test_nothing_verified_is_said_with_the_smallest_epsilon() -> None:
    """Below the error of any refit there is no set, and the message tells what would do."""
    solution, check = prune(epsilon=1e-13)
    assert solution.status == "unknown"
    assert not solution.size
    assert check.is_verified is False
    smallest = solution.stats["smallest_epsilon"]
    assert smallest == min(p["change"] + p["change_error"] for p in solution.stats["curve"])
    assert "smallest epsilon" in solution.message
    assert prune(epsilon=1.001 * smallest)[0].size > 0


@pytest.mark.parametrize("limits", [{}, {"epsilon": 1e3}])
def test_the_limit_that_broke_is_named(limits: dict[str, float]) -> None:
    """Where the loss was the obstacle no epsilon is blamed, and none would have helped.

    Mutation: `_conclude` names a smallest epsilon whatever was broken: fails.
    """
    forced = np.flatnonzero(Y == 0)[1:]
    solution, check = prune(max_loss_gap=1e-3, validation=(X, Y), must_prune=forced, **limits)
    assert solution.status == "unknown"
    assert "smallest_epsilon" not in solution.stats
    for words in (solution.message, str(check)):
        assert "max_loss_gap = 0.001" in words
        assert "epsilon" not in words
    assert check.is_verified is False


def test_nearest_by_curvature_is_shown_where_curvature_is_the_limit() -> None:
    """Of what was tried, the check is of the set that keeps most of it.

    Mutation: `_nearest` goes by the other limits alone.
    """
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(80, 4)), rng.integers(0, 3, 80)
    solution, check = subsetsel.prune(
        features, labels, l2=1e-2, rel_epsilon=0.5, min_curvature=0.99, max_iterations=200_000
    )
    assert solution.status == "unknown"
    assert check.curvature == max(trial["curvature"] for trial in solution.stats["curve"])


def test_nothing_that_holds_must_prune_is_said() -> None:
    """One whole class but one example cannot go without a change."""
    forced = np.flatnonzero(Y == 0)[1:]
    solution, check = prune(rel_epsilon=1e-3, must_prune=forced)
    assert solution.status == "unknown"
    assert "must_prune" in solution.message
    assert not check.is_verified


def test_must_prune_and_must_keep_are_honoured() -> None:
    """The larger set balances what had to go."""
    solution, _ = prune(rel_epsilon=0.3, must_prune=[0, 1, 2], must_keep=[5, 6])
    assert solution.mask[[0, 1, 2]].all()
    assert not solution.mask[[5, 6]].any()


def test_a_generous_epsilon_keeps_one_of_each_class() -> None:
    """Where the constraints allow nothing larger, that is an optimum."""
    solution, _ = prune(epsilon=1e6)
    assert solution.status == "optimal"
    assert sorted(Y[solution.kept]) == [0, 1, 2]


def test_max_size_holds() -> None:
    """And is reported as the optimum once it is reached."""
    solution, _ = prune(rel_epsilon=0.5, max_size=20)
    assert (solution.size, solution.status) == (20, "optimal")


def test_a_validation_split_limits_the_loss_and_the_accuracy() -> None:
    """Both limits hold on it; the test split is reported apart."""
    validation, test = blobs(60, seed=0), blobs(30, seed=0)
    solution, check = prune(
        max_loss_gap=1e-3, max_accuracy_drop=0.0, validation=validation, test=test
    )
    seen = solution.stats["validation"]
    assert seen["loss_gap"] <= 1e-3
    assert seen["accuracy_drop"] <= 0.0
    assert solution.epsilon is None
    assert check.is_verified is None
    problem = subsetsel.Problem.from_features(X, Y, l2=L2, size=solution.size)
    assert check.loss_gap == subsetsel.verify(problem, solution, test=test).loss_gap


def test_a_problem_brings_its_own_epsilon_and_limits() -> None:
    """The result is that of the same question from features."""
    groups = np.arange(90) % 2
    problem = subsetsel.Problem.from_features(
        X, Y, l2=L2, epsilon=0.2, groups=groups, group_limits={0: (None, 5)}
    )
    solution, check = subsetsel.prune(problem, num_proposals=20_000)
    assert check.epsilon == 0.2
    assert np.count_nonzero(groups[solution.pruned] == 0) <= 5
    tighter, _ = subsetsel.prune(problem, rel_epsilon=1e-3, num_proposals=20_000)
    assert tighter.size <= solution.size


def test_a_callback_stops_with_the_best_so_far() -> None:
    """It is told the largest verified size."""
    seen: list[Progress] = []

    def stop(record: Progress) -> bool:
        seen.append(record)
        return record.size is not None

    solution, check = prune(rel_epsilon=0.05, callback=stop)
    assert solution.limit == "interrupted"
    assert check.is_verified
    assert solution.size == seen[-1].size


def test_ctrl_c_returns_the_best_so_far() -> None:
    """An interrupt in the middle of a later size loses nothing that was verified."""

    def interrupt(record: Progress) -> None:
        if record.size is not None:
            raise KeyboardInterrupt

    solution, check = prune(rel_epsilon=0.05, progress=interrupt)
    assert solution.limit == "interrupted"
    assert solution.size > 0
    assert check.is_verified


def test_no_time_at_all_is_said() -> None:
    """Nothing was refitted, nothing is claimed."""
    solution, check = prune(rel_epsilon=0.05, time_limit=0.0)
    assert (solution.status, solution.limit, solution.size) == ("unknown", "time", 0)
    assert check.is_verified is False


def test_a_target_stops_early() -> None:
    """Once the size asked for is verified."""
    solution, _ = prune(rel_epsilon=0.5, target=5)
    assert solution.limit == "target"
    assert solution.size >= 5


def test_other_solvers_serve() -> None:
    """Any that knows either form."""
    solution, check = subsetsel.prune(X, Y, l2=L2, rel_epsilon=0.1, solver="greedy")
    assert check.is_verified
    assert solution.solver == "greedy"


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({}, "prune needs a limit"),
        ({"epsilon": 1.0, "rel_epsilon": 0.1}, "not both"),
        ({"epsilon": -1.0}, "epsilon must be"),
        ({"max_loss_gap": 0.1}, "validation="),
        ({"max_accuracy_drop": 2.0, "validation": (X, Y)}, "a share between 0 and 1"),
        ({"epsilon": 1.0, "min_curvature": 1.5}, "min_curvature"),
        ({"epsilon": 1.0, "test": X}, "test must be a pair"),
        ({"epsilon": 1.0, "must_keep": np.ones(90, bool)}, "no non-empty subset"),
        ({"epsilon": 1.0, "l2": None}, "weight decay"),
    ],
)
def test_bad_questions_are_named(given: dict[str, Any], word: str) -> None:
    """Each says what is wrong and what to do."""
    with pytest.raises(ProblemError, match=word):
        prune(**given)


def test_bad_problems_are_named() -> None:
    """A bare S, a metric without parameters, and data given twice."""
    with pytest.raises(ProblemError, match="knows its head"):
        subsetsel.prune(subsetsel.Problem(np.ones((4, 2)), epsilon=1.0))
    problem = subsetsel.Problem.from_features(X, Y, l2=L2, epsilon=0.2)
    with pytest.raises(ProblemError, match="beside a Problem"):
        subsetsel.prune(problem, Y)
    loss = subsetsel.Problem.from_features(X, Y, l2=L2, epsilon=0.2, metric="loss")
    with pytest.raises(ProblemError, match="metric='parameter'"):
        subsetsel.prune(loss)


def test_bad_options_are_named() -> None:
    """Unknown ones with the closest, a guess with its shape."""
    with pytest.raises(OptionError, match="num_proposals"):
        prune(epsilon=1.0, num_proposal=5)
    with pytest.raises(OptionError, match="initial_guess"):
        prune(epsilon=1.0, initial_guess=np.zeros(91, bool))


def test_cuts_that_no_swap_repairs_fail_a_size_where_examples_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The search does not ask an integer program, which can take minutes."""

    def refuse(*_: Any) -> None:
        raise AssertionError("an integer program was asked")

    monkeypatch.setattr("subsetsel.guarantee.trials._LARGE", 10)
    monkeypatch.setattr("subsetsel.problem.resize._MAX_ROUNDS", 1)
    monkeypatch.setattr("subsetsel.problem.linear._integer_program", refuse)
    solution, check = prune(rel_epsilon=0.5, min_curvature=0.9)
    assert solution.is_feasible == bool(check.is_verified)
