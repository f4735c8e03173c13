"""Scores on toy cases where the usual wrong version gives another answer."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subsetsel import OptionError, Problem, ProblemError, scores


def kept_by(score: scores.Score, num_kept: int) -> list[int]:
    """Indices that a score alone keeps."""
    kept: list[int] = scores.select(score, num_kept=num_kept).kept.tolist()
    return kept


# --- el2n ---------------------------------------------------------------------------------------


def test_el2n_is_the_length_of_the_error_vector() -> None:
    """Not 1 - p(y): where the rest of the probability went counts."""
    probabilities = np.array([[0.5, 0.5, 0.0], [0.5, 0.25, 0.25]])
    values = scores.el2n(probabilities, [0, 0]).values
    np.testing.assert_allclose(values, [np.sqrt(0.5), np.sqrt(0.375)])


def test_el2n_averages_lengths_not_squares() -> None:
    """Sums of squares over runs would rank the two examples the other way round."""
    right, wrong, between = [1.0, 0.0], [0.0, 1.0], [0.4, 0.6]
    runs = np.array([[right, between], [wrong, between]])
    score = scores.el2n(runs, [0, 0])
    np.testing.assert_allclose(score.values, [np.sqrt(2) / 2, 0.6 * np.sqrt(2)])
    squares = np.mean([[0.0, 2 * 0.36], [2.0, 2 * 0.36]], axis=0)
    assert kept_by(score, 1) == [1]
    assert np.argmax(squares) == 0


def test_el2n_does_not_average_probabilities_first() -> None:
    """Errors of opposite runs would cancel in a mean prediction, their lengths do not."""
    runs = np.array([[[0.5, 0.5, 0.0]], [[0.5, 0.0, 0.5]]])
    assert scores.el2n(runs, [0]).values[0] == pytest.approx(np.sqrt(0.5))
    assert scores.el2n(runs.mean(axis=0), [0]).values[0] < 0.62


def test_el2n_leaves_the_input_alone() -> None:
    """The one-hot labels are not subtracted in the caller's array."""
    probabilities = np.full((3, 2), 0.5)
    scores.el2n(probabilities, [0, 1, 0])
    assert (probabilities == 0.5).all()


# --- forgetting ---------------------------------------------------------------------------------


def test_never_learned_is_the_most_forgotten() -> None:
    """Counting its transitions, which are none, would prune it first."""
    correct = np.array([[1, 0, 1], [1, 0, 0], [1, 0, 1], [1, 0, 1]])
    score = scores.forgetting(correct)
    np.testing.assert_array_equal(score.values, [0, 4, 1])
    assert kept_by(score, 1) == [1]


def test_only_steps_from_right_to_wrong_are_forgetting() -> None:
    """Changes of any kind, or wrong answers, would each rank these two the other way round."""
    late, once = [0, 0, 0, 1, 1, 1], [1, 0, 1, 1, 1, 1]
    np.testing.assert_array_equal(scores.forgetting(np.array([late, once]).T).values, [0, 1])


def test_forgetting_adds_up_over_runs() -> None:
    """Each run counts for itself: from the last of one to the first of the next is no step."""
    runs = np.array([[[1], [1], [1]], [[0], [0], [0]], [[1], [0], [1]]])
    np.testing.assert_array_equal(scores.forgetting(runs).values, [0 + 3 + 1])


# --- class mean and herding ---------------------------------------------------------------------


def on_circle(*degrees: float) -> Any:
    """Points of length 1."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_herding_steers_the_mean_of_the_picks() -> None:
    """After 20 degrees, which is nearest to the mean, comes 90 and not 0, though 0 is nearer.

    Picking the farthest would start with 90, and ranking by distance would take 0 second.
    """
    X = on_circle(0, 20, 90)
    score = scores.herding(X, [0, 0, 0])
    np.testing.assert_array_equal(score.values, [2, 0, 1])
    distances = np.linalg.norm(X - X.mean(axis=0), axis=1)
    assert np.argmax(distances) == 2
    assert np.argsort(distances).tolist() == [1, 0, 2]


def test_herding_normalizes_features() -> None:
    """A long vector is no better than a short one of the same direction."""
    X = on_circle(0, 20, 90) * [[1.0], [3.0], [100.0]]
    np.testing.assert_array_equal(scores.herding(X, [0, 0, 0]).values, [2, 0, 1])


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 4))
def test_herding_is_the_nearest_mean_at_each_step(seed: int, n: int, d: int) -> None:
    """Algorithm 4 of iCaRL as printed: the pick brings the mean of all picks nearest to mu."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n, d)), rng.integers(0, 2, n)
    values = scores.herding(X, y).values
    for label in np.unique(y):
        D = X[y == label] / np.linalg.norm(X[y == label], axis=1, keepdims=True)
        order = np.argsort(values[y == label])
        for step, pick in enumerate(order):
            rest = order[step:]
            means = (D[order[:step]].sum(axis=0) + D[rest]) / (step + 1)
            distances = np.linalg.norm(D.mean(axis=0) - means, axis=1)
            assert distances[rest == pick][0] <= distances.min() + 1e-9


def test_herding_ranks_within_each_class() -> None:
    """Each class has its own mean and its own first pick, so as many of each are kept."""
    X = np.concatenate([on_circle(0, 20, 90), on_circle(180, 200, 270), on_circle(45)])
    y = np.array([3, 3, 3, 1, 1, 1, 7])
    score = scores.herding(X, y)
    np.testing.assert_array_equal(score.values, [2, 0, 1, 2, 0, 1, 0])
    assert y[kept_by(score, 5)].tolist() == [3, 3, 1, 1, 7]


def test_herding_may_stop_early() -> None:
    """What was not ranked shares the place after the last that was."""
    score = scores.herding(on_circle(0, 20, 90, 91), np.zeros(4, dtype=int), num_ranked=1)
    assert sorted(score.values) == [0, 1, 1, 1]


def test_herding_without_the_gram_matrix_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class too large to hold its inner products is picked in the same order."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 5)), np.arange(60) % 2
    expected = scores.herding(X, y).values
    monkeypatch.setattr("subsetsel.scores.representatives._GRAM_BYTES", 0)
    np.testing.assert_array_equal(scores.herding(X, y).values, expected)


def test_class_mean_keeps_the_nearest_to_the_own_mean() -> None:
    """Neither the mean of everything nor the median of the class, and the near end is kept."""
    X = np.array([[0.0], [1.0], [5.0], [100.0], [102.0]])
    score = scores.class_mean(X, [0, 0, 0, 1, 1])
    np.testing.assert_allclose(score.values, [2, 1, 3, 1, 1])
    assert 1 in kept_by(score, 3)


# --- GraNd of the last layer, margin, influence, random -------------------------------------------


def test_grand_last_layer_counts_the_bias() -> None:
    """Without it an example with no features would have no gradient at all."""
    probabilities = np.array([[0.0, 1.0], [0.6, 0.4]])
    features = np.array([[0.0, 0.0], [1.0, 0.0]])
    score = scores.grand_last_layer(probabilities, features, [0, 0])
    np.testing.assert_allclose(score.values, [np.sqrt(2), 0.4 * 2])
    bare = scores.grand_last_layer(probabilities, features, [0, 0], bias=False)
    assert kept_by(score, 1) == [0]
    assert kept_by(bare, 1) == [1]


def test_grand_last_layer_averages_lengths_over_runs() -> None:
    """Each run has its own features and probabilities."""
    probabilities = np.array([[[0.0, 1.0]], [[1.0, 0.0]]])
    features = np.array([[[0.0]], [[7.0]]])
    score = scores.grand_last_layer(probabilities, features, [0])
    assert score.values[0] == pytest.approx(np.sqrt(2) / 2)


def test_aum_is_the_mean_margin_to_the_largest_other() -> None:
    """The second largest logit, or one presentation alone, would say something else."""
    logits = np.array([[[1.0, 3.0, 2.0]], [[4.0, 1.0, 3.0]]])
    score = scores.aum(logits, [0])
    assert score.values[0] == pytest.approx((-2.0 + 1.0) / 2)
    assert score.keeps == "lowest"


def test_influence_is_the_row_norm_and_keeps_the_longest() -> None:
    """Keeping the smallest would prune what moves the parameters most."""
    S = np.array([[3.0, 4.0], [0.0, 1.0], [-6.0, 0.0]])
    score = scores.influence(Problem(S, size=1))
    np.testing.assert_allclose(score.values, [5, 1, 6])
    assert scores.select(score, size=1).pruned.tolist() == [1]
    np.testing.assert_array_equal(scores.influence(S).values, score.values)


def test_random_is_fair_and_reproducible() -> None:
    """The same seed gives the same choice, and every example is kept equally often."""
    np.testing.assert_array_equal(scores.random(9, seed=4).values, scores.random(9, seed=4).values)
    kept = np.concatenate([kept_by(scores.random(8, seed=seed), 2) for seed in range(200)])
    counts = np.bincount(kept, minlength=8)
    # Mean 50, standard deviation 6.1.
    assert (np.abs(counts - 50) < 32).all()


# --- the catalogue ------------------------------------------------------------------------------

EXAMPLES: dict[str, Any] = {
    "random": (5,),
    "class_mean": (on_circle(0, 20, 90), [0, 0, 1]),
    "herding": (on_circle(0, 20, 90), [0, 0, 1]),
    "forgetting": ([[0, 1], [1, 0]],),
    "grand_last_layer": ([[0.5, 0.5]], [[1.0]], [0]),
    "el2n": ([[0.5, 0.5]], [1]),
    "aum": ([[0.5, 0.75]], [1]),
    "influence": (np.eye(3),),
}


def test_every_score_is_in_the_catalogue() -> None:
    """Whatever returns a `Score` is listed under its own name."""
    functions = {
        name
        for name in scores.__all__
        if inspect.isfunction(getattr(scores, name))
        and getattr(scores, name).__annotations__["return"] == "Score"
        and name != "average"
    }
    assert functions == set(scores.available()) == {*EXAMPLES, "grand"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_catalogue_says_which_end_is_kept(name: str) -> None:
    """Name and end are those of the score that comes out."""
    spec = scores.available()[name]
    score = spec.compute(*EXAMPLES[name])
    assert (score.name, score.keeps) == (name, spec.keeps)


# --- bad input ----------------------------------------------------------------------------------

_HALF = np.full((3, 2), 0.5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: scores.el2n([[2.0, -1.0]], [0]), "probabilities must be non-negative"),
        (lambda: scores.el2n([[3.0, 1.0]], [0]), "softmax"),
        (lambda: scores.el2n([[np.nan, 1.0]], [0]), "finite"),
        (lambda: scores.el2n([0.5, 0.5], [0]), r"shape \(n, C\)"),
        (lambda: scores.el2n(_HALF, [0, 1]), "one label per example"),
        (lambda: scores.el2n(_HALF, [0, 1, 2]), "labels from 0 to 1"),
        (lambda: scores.el2n(_HALF, _HALF), "argmax"),
        (lambda: scores.el2n(np.empty((0, 2)), []), "empty"),
        (lambda: scores.el2n([["a", "b"]], [0]), "real numbers"),
        (lambda: scores.el2n([[0.5], [0.5, 0.5]], [0, 0]), "rectangular"),
        (lambda: scores.forgetting([0, 1]), r"shape \(presentations, n\)"),
        (lambda: scores.forgetting([[0.3, 1.0]]), "0 .wrong. or 1 .right."),
        (lambda: scores.herding([1.0, 2.0], [0, 0]), "two dimensions"),
        (lambda: scores.herding(np.eye(2), [0, 0], num_ranked=0), "num_ranked"),
        (lambda: scores.class_mean([[np.inf]], [0]), "row 0"),
        (lambda: scores.grand_last_layer(_HALF, np.eye(2), [0, 0, 0]), "the same runs"),
        (lambda: scores.aum([[1.0]], [0]), "two classes"),
        (lambda: scores.random(0), "n must be an integer of at least 1"),
        (lambda: scores.Score("x", np.array([1.0, np.nan]), "highest"), r"values\[1\]"),
        (lambda: scores.Score("x", np.eye(2), "highest"), "one number per example"),
    ],
)
def test_bad_input_is_refused_by_name(call: Any, words: str) -> None:
    """The message names what is wrong and what to do."""
    with pytest.raises(ProblemError, match=words):
        call()


def test_a_score_keeps_one_of_two_ends() -> None:
    """A third word is no end."""
    with pytest.raises(OptionError, match="'highest' or 'lowest'"):
        scores.Score("x", np.ones(2), "largest")  # type: ignore[arg-type]


def test_runs_of_one_score_are_averaged() -> None:
    """Values, not ranks; the settings of each run are kept."""
    values = {1: np.array([0.0, 4.0]), 2: np.array([2.0, 0.0])}
    runs = [scores.Score("x", values[seed], "lowest", {"seed": seed}) for seed in values]
    mean = scores.average(runs)
    assert mean.values.tolist() == [1, 2]
    assert (mean.name, mean.keeps) == ("x", "lowest")
    assert mean.about == {"runs": [{"seed": 1}, {"seed": 2}]}


@pytest.mark.parametrize(
    "other", [("y", 2, "lowest"), ("x", 3, "lowest"), ("x", 2, "highest"), None]
)
def test_only_runs_of_one_score_are_averaged(other: Any) -> None:
    """Another name, length or end is another score; none at all has no mean."""
    runs = []
    if other is not None:
        name, n, keeps = other
        runs = [scores.Score("x", np.ones(2), "lowest"), scores.Score(name, np.ones(n), keeps)]
    with pytest.raises(ProblemError, match="average"):
        scores.average(runs)


def test_a_score_is_a_copy_that_cannot_be_written() -> None:
    """Changing the array it was made of changes nothing."""
    given_values = np.array([1.0, 2.0])
    score = scores.Score("x", given_values, "highest")
    given_values[:] = 0
    assert score.values.tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        score.values[0] = 5
