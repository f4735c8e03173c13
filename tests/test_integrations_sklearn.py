"""The scikit-learn estimators: conventions, pipelines, and what they keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn")

from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import check_estimator

from subsetsel import ProblemError, Solution, Verification
from subsetsel.integrations.sklearn import PrunedClassifier, Pruner

IRIS, KINDS = load_iris(return_X_y=True)


@pytest.fixture
def quick_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the search: the first examples, but for one of each class."""

    def search(self: Pruner, X: Any, codes: Any, goal: Any, **weights: Any) -> tuple[Any, None]:
        mask = np.arange(len(codes)) < goal.get("fraction", 0.5) * len(codes)
        mask[np.unique(codes, return_index=True)[1]] = False
        return Solution(mask, norm=0.1, status="feasible"), None

    monkeypatch.setattr(Pruner, "_search", search)


@pytest.mark.usefixtures("quick_search")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", [Pruner(), PrunedClassifier(GaussianNB())], ids=type)
def test_scikit_learns_own_checks_pass(estimator: Any) -> None:
    """All that apply; they fit hundreds of times, so the search is a stand-in."""
    check_estimator(estimator, on_skip=None)


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
