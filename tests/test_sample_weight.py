"""Sample weights: what is fitted, limited, searched, refitted and claimed weighs alike."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from head_oracle import blobs
from hypothesis import given, settings
from hypothesis import strategies as st

import subsetsel
from subsetsel import Problem, solve, verify
from subsetsel.errors import ProblemError
from subsetsel.influence import fit_head
from subsetsel.problem.kept_share import KeptShare

L2 = 1e-2
X, Y = blobs()
N = len(X)
# Weights from 1 to 40, in no order.
WEIGHTS = np.random.default_rng(5).choice([1.0, 2.0, 7.0, 40.0], size=N)


def weighed(**question: Any) -> Problem:
    """The blobs with their weights."""
    return Problem.from_features(X, Y, l2=L2, sample_weight=WEIGHTS, **question)


def some(seed: int = 0, share: float = 0.3) -> np.ndarray[Any, Any]:
    """Draw a mask."""
    return np.random.default_rng(seed).random(N) < share


def test_from_features_weighs_as_fit_head_does() -> None:
    """The head and its rows are those of the weights that were given."""
    head = fit_head(X, Y, l2=L2, sample_weight=WEIGHTS)
    problem = weighed(size=3)
    assert problem.head is not None
    np.testing.assert_allclose(problem.head.theta, head.theta, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(problem.S, Problem.from_head(head, size=3).S, rtol=1e-5, atol=1e-9)


def test_a_weight_of_three_is_three_copies() -> None:
    """Whole weights do to the head, the prediction and the refit what copies do."""
    counts = 1 + np.arange(N) % 3
    problem = Problem.from_features(
        X, Y, l2=L2, sample_weight=counts, epsilon=1.0, dtype=np.float64
    )
    copied = Problem.from_features(
        np.repeat(X, counts, axis=0),
        np.repeat(Y, counts),
        l2=L2,
        epsilon=1.0,
        dtype=np.float64,
    )
    mask = some()
    many = np.repeat(mask, counts)
    assert problem.norm(mask) == pytest.approx(copied.norm(many), rel=1e-7)
    assert problem.allowed(mask) == pytest.approx(copied.allowed(many), rel=1e-12)
    one, other = verify(problem, mask), verify(copied, many)
    assert one.change == pytest.approx(other.change, rel=1e-7)
    assert one.predicted_kept == pytest.approx(other.predicted_kept, rel=1e-7)
    assert one.curvature == pytest.approx(other.curvature, rel=1e-6)


def test_equal_weights_are_no_weights() -> None:
    """The same radius and the same answer as without."""
    plain = Problem.from_features(X, Y, l2=L2, rel_epsilon=0.05)
    equal = Problem.from_features(X, Y, l2=L2, rel_epsilon=0.05, sample_weight=np.full(N, 3.5))
    assert equal.shares is None
    assert [equal.radius(m) for m in range(3)] == pytest.approx([plain.radius(m) for m in range(3)])


@pytest.mark.parametrize("scale", [1e-300, 1.0, 3e307])
def test_weights_of_any_size_have_the_same_shares(scale: float) -> None:
    """Only their ratios matter, and no sum overflows. Mutation: without the largest weight."""
    weights = np.array([1.0, 2.0, 5.0]) * scale
    kept = KeptShare(3, weights)
    assert kept.of(np.array([True, False, False])) == pytest.approx(7 / 8)
    assert kept.most(2) == pytest.approx(5 / 8)
    assert kept.most(3) == pytest.approx(0.0, abs=1e-15)


def test_what_is_kept_at_most_is_rounded_outward() -> None:
    """A bound rests on it, also where nearly all are pruned.

    Mutation: what is pruned is taken from 1: below the exact sum near n.
    """
    weights = np.random.default_rng(0).lognormal(0.0, 4.0, size=5000)
    kept = KeptShare(len(weights), weights)
    assert kept.shares is not None
    heaviest = np.sort(kept.shares)[::-1]
    for num in (1, 2, 3, 10, 100, 4999):
        exact = math.fsum(heaviest[:num])
        assert exact <= kept.most(len(weights) - num) <= exact * (1 + 1e-10)


def test_a_limit_that_binds_nothing_is_answered() -> None:
    """However large epsilon is, all goes but one example of each class.

    Mutation: the column of the weights grows with epsilon: S is refused.
    """
    found = solve(weighed(epsilon=1e18), max_iterations=2000)
    assert found.size == N - len(np.unique(Y))


def test_a_weight_next_to_nothing_goes_with_a_limit_that_binds_nothing() -> None:
    """The lightest example sets no scale. Mutation: its share, however small, divides."""
    weights = np.where(np.arange(N) == 0, 1e-30, WEIGHTS)
    problem = Problem.from_features(X, Y, l2=L2, sample_weight=weights, epsilon=1e300)
    assert solve(problem, max_iterations=2000).size == N - len(np.unique(Y))


def test_what_is_allowed_is_the_kept_share_of_the_weight() -> None:
    """Eq. 3 with normalization kept weighs, as verify does. Mutation: it counts."""
    problem = weighed(epsilon=2.0)
    mask = some()
    share = WEIGHTS[~mask].sum() / WEIGHTS.sum()
    assert problem.kept_share(mask) == pytest.approx(share, rel=1e-12)
    assert problem.allowed(mask) == pytest.approx(2.0 * share, rel=1e-12)
    check = verify(problem, mask)
    assert check.predicted_kept == pytest.approx(problem.norm(mask) / share, rel=1e-12)


def test_a_size_allows_what_its_lightest_examples_leave() -> None:
    """No set of a size is allowed more than `radius` says, and the lightest are allowed it."""
    problem = weighed(epsilon=2.0)
    order = np.argsort(WEIGHTS, kind="stable")
    for m in (0, 1, N // 2, N - 1):
        lightest = np.zeros(N, dtype=bool)
        lightest[order[:m]] = True
        assert problem.radius(m) == pytest.approx(problem.allowed(lightest), rel=1e-9, abs=1e-12)
        other = np.zeros(N, dtype=bool)
        other[order[N - m :]] = True
        assert problem.allowed(other) <= problem.radius(m) * (1 + 1e-12)


def test_normalization_full_does_not_weigh() -> None:
    """Eq. 3 to the letter allows epsilon whatever is pruned."""
    problem = weighed(epsilon=2.0, formulation="paper")
    assert problem.shares is None
    assert problem.allowed(some()) == problem.radius(7) == 2.0


def _small(seed: int, share: float, ridge: Any) -> tuple[Problem, np.ndarray[Any, Any]]:
    """Ten examples whose weights differ up to sixtyfold, and which all masks are allowed."""
    rng = np.random.default_rng(seed)
    n = 10
    labels = np.arange(n) % 2
    weights = rng.choice([1.0, 2.0, 5.0, 30.0], size=n) * rng.uniform(0.5, 1.0, n)
    head = fit_head(rng.normal(size=(n, 2)), labels, l2=0.1, sample_weight=weights)
    problem = Problem.from_head(
        head, epsilon=share * head.theta_norm, ridge=ridge, normalization="kept", dtype=np.float64
    )
    masks = (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1
    norms = np.linalg.norm(masks @ np.asarray(problem.S), axis=1)
    kept = (~masks @ weights) / weights.sum()
    is_allowed = norms <= problem.epsilon * kept * (1 + 1e-9)
    for label in (0, 1):
        is_allowed &= (~masks[:, labels == label]).any(axis=1)
    return problem, masks[is_allowed]


@pytest.mark.filterwarnings("ignore::subsetsel.errors.FormulationWarning")
@settings(deadline=None, max_examples=25, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    share=st.sampled_from([0.02, 0.1, 0.3]),
    ridge=st.sampled_from(["included", "excluded"]),
)
def test_small_problems_agree_with_enumeration(seed: int, share: float, ridge: Any) -> None:
    """What comes back is allowed by weight, what is claimed is true. Mutation: sizes count."""
    problem, allowed = _small(seed, share, ridge)
    solution = solve(problem, solver="greedy")
    largest = int(allowed.sum(axis=1).max())
    assert solution.is_feasible
    assert (allowed == solution.mask).all(axis=1).any()
    assert solution.bound is None or np.floor(solution.bound) >= largest
    assert solution.status != "optimal" or solution.size == largest


@pytest.mark.filterwarnings("ignore::subsetsel.errors.FormulationWarning")
@pytest.mark.parametrize("solver", ["greedy", "anneal"])
def test_the_largest_sets_are_found(solver: str) -> None:
    """Of a dozen small problems nearly all optima, by a search that knows the weights."""
    missed = 0
    for seed in range(12 if solver == "greedy" else 3):
        problem, allowed = _small(seed, 0.1, "included")
        missed += int(allowed.sum(axis=1).max()) - solve(problem, solver=solver).size
    assert missed <= 2


def test_more_is_pruned_than_by_the_heaviest_case() -> None:
    """Light examples go first where epsilon is small, so more of them go than on the average."""
    solution = solve(weighed(rel_epsilon=0.01), solver="greedy")
    assert WEIGHTS[solution.mask].mean() < WEIGHTS.mean()


def test_prune_verifies_by_a_weighed_refit() -> None:
    """The change that is promised is that of a head fitted on the kept examples and weights."""
    solution, check = subsetsel.prune(
        X, Y, l2=L2, sample_weight=WEIGHTS, rel_epsilon=0.05, num_proposals=20_000
    )
    assert check.is_verified
    assert solution.size > 0
    kept = ~solution.mask
    head = fit_head(X, Y, l2=L2, sample_weight=WEIGHTS)
    again = fit_head(X[kept], Y[kept], l2=L2, sample_weight=WEIGHTS[kept])
    change = float(np.linalg.norm(again.theta - head.theta))
    assert change == pytest.approx(check.change, rel=1e-5)
    assert change <= check.largest_change * (1 + 1e-6)


def test_an_earlier_answer_is_verified_with_the_weights() -> None:
    """An answer for other weights is no answer for these, and is not taken for one."""
    setting: dict[str, Any] = {"l2": L2, "rel_epsilon": 0.05, "num_proposals": 20_000}
    unweighed, _ = subsetsel.prune(X, Y, **setting)
    solution, check = subsetsel.prune(
        X, Y, sample_weight=WEIGHTS, initial_guess=unweighed, **setting
    )
    assert verify(weighed(rel_epsilon=0.05), solution).change == pytest.approx(check.change)


def test_curvature_that_is_kept_weighs() -> None:
    """min_curvature is a share of the weighed curvature."""
    _, check = subsetsel.prune(
        X,
        Y,
        l2=L2,
        sample_weight=WEIGHTS,
        rel_epsilon=0.2,
        min_curvature=0.6,
        num_proposals=20_000,
    )
    assert check.curvature >= 0.6


def test_the_kept_hessian_goes_by_weighed_refits() -> None:
    """The best by refit comes back, and the refit weighs."""
    problem = weighed(size=N // 3, hessian="kept")
    solution = solve(problem, solver="greedy")
    first_order = solve(weighed(size=N // 3), solver="greedy")
    assert verify(problem, solution).change <= verify(problem, first_order).change * (1 + 1e-9)


def test_a_checkpoint_of_other_weights_is_refused(tmp_path: Path) -> None:
    """What was chosen for other weights is not taken up, and the cure works."""
    path = tmp_path / "search.npz"
    setting: dict[str, Any] = {"l2": L2, "rel_epsilon": 0.05, "num_proposals": 20_000}
    subsetsel.prune(X, Y, checkpoint=path, sample_weight=WEIGHTS, **setting)
    other = np.roll(WEIGHTS, 1)
    with pytest.raises(ProblemError, match="of other data or settings; delete it"):
        subsetsel.prune(X, Y, checkpoint=path, sample_weight=other, **setting)
    path.unlink()
    subsetsel.prune(X, Y, checkpoint=path, sample_weight=other, **setting)


@pytest.mark.parametrize("bad", [WEIGHTS[1:], WEIGHTS[:, None], -WEIGHTS, np.zeros(N)])
@pytest.mark.parametrize("call", [Problem.from_features, subsetsel.prune])
def test_weights_that_make_no_sense_are_named(call: Any, bad: Any) -> None:
    """Of another length or shape, negative or zero."""
    with pytest.raises(ProblemError, match="sample_weight must"):
        call(X, Y, l2=L2, rel_epsilon=0.05, sample_weight=bad)


def test_weights_are_not_given_twice() -> None:
    """A problem has weights of its own, and the cure works."""
    problem = weighed(rel_epsilon=0.05)
    with pytest.raises(ProblemError, match="sample_weight cannot be given beside a Problem"):
        subsetsel.prune(problem, sample_weight=WEIGHTS)
    _, check = subsetsel.prune(problem, num_proposals=20_000)
    assert check.is_verified


def test_rows_that_are_not_written_out_are_limited_by_weight_too() -> None:
    """Without the column for the weight less is found, but nothing that is not allowed."""
    problem = weighed(rel_epsilon=0.05, storage="factored")
    solution = solve(problem, solver="anneal")
    assert solution.size > 0
    assert problem.norm(solution.mask) <= problem.allowed(solution.mask) * (1 + 1e-9)
