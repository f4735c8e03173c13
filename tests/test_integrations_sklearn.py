"""The scikit-learn estimators: conventions, pipelines, and what they keep."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import scipy.sparse

pytest.importorskip("sklearn", reason="needs scikit-learn")

from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.estimator_checks import check_estimator

from subsetsel import ProblemError, Solution, Verification
from subsetsel.errors import FormulationWarning
from subsetsel.integrations import take_kept
from subsetsel.integrations.sklearn import PrunedClassifier, Pruner

IRIS, KINDS = load_iris(return_X_y=True)

# An example of weight 0 is refused: it would have to be left out of the counts too.
_WITH_WEIGHT_ZERO = dict.fromkeys(
    (
        "check_all_zero_sample_weights_error",
        "check_classifiers_one_label_sample_weights",
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weight_equivalence_on_sparse_data",
    ),
    "weights must be positive",
)


@pytest.fixture
def quick_search(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """In place of the search: the first examples, but for one of each class; what it was given."""
    given: list[dict[str, Any]] = []

    def search(self: Pruner, X: Any, codes: Any, goal: Any, **weights: Any) -> tuple[Any, None]:
        given.append({"X": X, "codes": codes, **weights})
        mask = np.arange(len(codes)) < goal.get("fraction", 0.5) * len(codes)
        mask[np.unique(codes, return_index=True)[1]] = False
        return Solution(mask, norm=0.1, status="feasible"), None

    monkeypatch.setattr(Pruner, "_search", search)
    return given


@pytest.mark.usefixtures("quick_search")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "estimator", [Pruner(), PrunedClassifier(), PrunedClassifier(GaussianNB())], ids=repr
)
def test_scikit_learns_own_checks_pass(estimator: Any) -> None:
    """All that apply; they fit hundreds of times, so the search is a stand-in."""
    check_estimator(estimator, on_skip=None, expected_failed_checks=_WITH_WEIGHT_ZERO)


def test_fit_resample_keeps_the_kind_of_the_data() -> None:
    """Frames stay frames, and the labels go with their rows."""
    pd = pytest.importorskip("pandas", reason="needs pandas")
    frame = pd.DataFrame(IRIS, columns=list("abcd"))
    pruner = Pruner(l2=1e-2, fraction=0.4, solver="greedy")
    X, y = pruner.fit_resample(frame, pd.Series(KINDS))
    assert isinstance(X, pd.DataFrame)
    assert X.index.tolist() == pruner.sample_indices_.tolist()
    assert y.tolist() == KINDS[pruner.sample_indices_].tolist()
    assert len(X) == 90


def test_with_an_epsilon_the_subset_is_verified() -> None:
    """With an epsilon the head provably stays within it, by exact refit."""
    pruner = Pruner(l2=1e-2, epsilon=0.1).fit(IRIS[::3], KINDS[::3])
    check = pruner.verification_
    assert isinstance(check, Verification)
    assert check.is_verified
    assert pruner.solution_.size > 0


def test_two_goals_are_refused() -> None:
    """As everywhere."""
    with pytest.raises(ProblemError, match="one of"):
        Pruner(fraction=0.2, size=3).fit(IRIS, KINDS)


def test_a_pipeline_prunes_and_trains() -> None:
    """Scaling first; the last step sees what is kept, and another classifier will do."""
    pruner = Pruner(l2=1e-2, fraction=0.4, solver="greedy")
    model = make_pipeline(StandardScaler(), PrunedClassifier(LinearSVC(), pruner=pruner))
    model.fit(IRIS, KINDS)
    step = model[-1]
    assert step.pruner_.solution_.size == 60
    assert model.score(IRIS, KINDS) > 0.9
    assert hasattr(step, "decision_function")
    assert not hasattr(step, "predict_proba")
    kept = step.pruner_.sample_indices_
    scaled = StandardScaler().fit_transform(IRIS)
    alone = clone(step.estimator_).fit(scaled[kept], KINDS[kept])
    assert np.allclose(alone.coef_, step.estimator_.coef_)


@pytest.mark.usefixtures("quick_search")
def test_a_grid_search_reaches_the_share() -> None:
    """Parameters nest as usual."""
    model = PrunedClassifier(GaussianNB(), pruner=Pruner())
    grid = GridSearchCV(model, {"pruner__fraction": [0.2, 0.6]}, cv=2).fit(IRIS, KINDS)
    chosen = grid.best_params_["pruner__fraction"]
    assert grid.best_estimator_.pruner_.fraction == chosen


# --- what users bring ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "has_scores"),
    [(None, True), (RandomForestClassifier(), False), (KNeighborsClassifier(), False)],
)
def test_probabilities_are_there_before_it_is_fitted(estimator: Any, has_scores: bool) -> None:
    """Also of a forest, which has no length before it is fitted."""
    model = PrunedClassifier(estimator)
    assert hasattr(model, "predict_proba")
    assert hasattr(model, "decision_function") == has_scores
    assert not hasattr(PrunedClassifier(SVC()), "predict_proba")


def test_nothing_pruned_is_said_with_a_cure_that_works() -> None:
    """All rows come back, and a warning names the epsilon that would have done.

    Mutation: the warning left out: fails.
    """
    pruner = Pruner(l2=1e-2, rel_epsilon=1e-12, solver="greedy")
    with pytest.warns(FormulationWarning, match="all 150 examples are kept") as caught:
        X, y = pruner.fit_resample(IRIS, KINDS)
    assert len(X) == len(y) == 150
    found = re.search(r"smallest epsilon .* is ([0-9.e-]+) ", str(caught[0].message))
    assert found is not None
    cured = Pruner(l2=1e-2, epsilon=float(found[1]), solver="greedy").fit(IRIS, KINDS)
    assert cured.solution_.size > 0


def test_a_size_that_cannot_be_is_said() -> None:
    """One of each class is always kept."""
    with pytest.warns(FormulationWarning, match="since size=149 was not reached"):
        Pruner(l2=1e-2, size=149, solver="greedy").fit(IRIS, KINDS)


def test_nothing_asked_for_is_nothing_to_warn_of() -> None:
    """Warnings are errors here."""
    assert Pruner(l2=1e-2, size=0, solver="greedy").fit(IRIS, KINDS).solution_.size == 0


def test_the_kept_examples_are_given_as_a_mask_or_by_number() -> None:
    """As selectors of scikit-learn give their features."""
    pruner = Pruner(l2=1e-2, fraction=0.4, solver="greedy").fit(IRIS, KINDS)
    assert pruner.get_support().sum() == 90
    assert np.array_equal(np.flatnonzero(pruner.get_support()), pruner.sample_indices_)
    assert np.array_equal(pruner.get_support(indices=True), pruner.sample_indices_)


@pytest.mark.parametrize("make", [scipy.sparse.csr_array, scipy.sparse.csc_matrix])
def test_a_sparse_matrix_reaches_the_search_as_it_is(
    make: Any, quick_search: list[dict[str, Any]]
) -> None:
    """It is never made dense on the way, nor for the classifier."""
    model = PrunedClassifier(pruner=Pruner(fraction=0.4)).fit(make(IRIS), KINDS)
    assert scipy.sparse.issparse(quick_search[0]["X"])
    assert model.predict(make(IRIS)).shape == (150,)


@pytest.mark.usefixtures("quick_search")
@pytest.mark.parametrize("format_", ["csr", "coo", "bsr"])
def test_a_sparse_matrix_is_resampled(format_: str) -> None:
    """Of any format."""
    data = scipy.sparse.coo_array(IRIS).asformat(format_)
    pruner = Pruner(fraction=0.4)
    X, _ = pruner.fit_resample(data, KINDS)
    assert np.array_equal(X.toarray(), IRIS[pruner.sample_indices_])


@pytest.mark.usefixtures("quick_search")
def test_a_classifier_that_takes_no_sparse_matrix_is_asked_first() -> None:
    """Not after the search."""
    model = PrunedClassifier(GaussianNB())
    with pytest.raises(TypeError, match="dense data is required"):
        model.fit(scipy.sparse.csr_array(IRIS), KINDS)
    assert not hasattr(model, "pruner_")


def test_weights_reach_the_search_and_the_classifier(quick_search: list[dict[str, Any]]) -> None:
    """The classifier gets those of what is kept."""
    weights = np.linspace(1, 2, 150)
    model = PrunedClassifier(pruner=Pruner(fraction=0.4)).fit(IRIS, KINDS, sample_weight=weights)
    assert np.array_equal(quick_search[0]["sample_weight"], weights)
    kept = model.pruner_.sample_indices_
    alone = LogisticRegression().fit(IRIS[kept], KINDS[kept], sample_weight=weights[kept])
    assert np.array_equal(alone.coef_, model.estimator_.coef_)


@pytest.mark.usefixtures("quick_search")
def test_weights_that_a_classifier_does_not_take_are_refused() -> None:
    """Before the search, and the one that the message names takes them."""
    weights = np.ones(150)
    with pytest.raises(ProblemError, match=r"KNeighborsClassifier\.fit has no such") as caught:
        PrunedClassifier(KNeighborsClassifier()).fit(IRIS, KINDS, sample_weight=weights)
    assert str(caught.value).endswith("such as LogisticRegression().")
    PrunedClassifier(LogisticRegression()).fit(IRIS, KINDS, sample_weight=weights)


@pytest.mark.parametrize("weights", [np.zeros(150), -np.ones(150), np.ones(149)])
def test_bad_weights_are_refused(weights: Any) -> None:
    """By name."""
    with pytest.raises(ProblemError, match="sample_weight must"):
        Pruner(fraction=0.4).fit(IRIS, KINDS, sample_weight=weights)


@pytest.mark.usefixtures("quick_search")
def test_labels_and_columns_are_taken_as_elsewhere() -> None:
    """Objects, Booleans, nullable columns and dummies; masks and dates are refused."""
    pd = pytest.importorskip("pandas", reason="needs pandas")
    pruner, frame = Pruner(fraction=0.4), pd.DataFrame(IRIS, columns=list("abcd"))
    mixed = pd.get_dummies(frame.assign(e=["u", "v", "w"] * 50), columns=["e"])
    for X in (IRIS.astype(object), frame.astype("Float64"), mixed):
        for y in (KINDS.astype(object), pd.Series(KINDS > 0, dtype="boolean"), KINDS - 1):
            assert len(pruner.fit_resample(X, y)[1]) >= 90
    for X, y, message in (
        (np.ma.array(IRIS, mask=IRIS > 7), KINDS, "X holds masked values"),
        (IRIS, np.ma.array(KINDS, mask=KINDS == 0), "y holds masked .*keep the examples of"),
        (frame.assign(d=pd.Timestamp("2020")), KINDS, "column 'd' of X cannot be a feature"),
        (frame.set_axis(list("aabc"), axis=1), KINDS, "the column 'a' twice"),
    ):
        with pytest.raises(ProblemError, match=message):
            pruner.fit(X, y)


@pytest.mark.usefixtures("quick_search")
def test_a_list_and_a_tensor_are_resampled_in_kind() -> None:
    """As `take_kept` takes them."""
    import torch

    pruner = Pruner(fraction=0.4)
    X, y = pruner.fit_resample(IRIS.tolist(), KINDS.tolist())
    assert take_kept(IRIS.tolist(), pruner.solution_) == X
    assert isinstance(y, list)
    X, y = pruner.fit_resample(torch.as_tensor(IRIS), torch.as_tensor(KINDS))
    assert isinstance(X, torch.Tensor)
    assert len(X) == len(y)
