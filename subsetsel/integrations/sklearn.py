"""scikit-learn: a selector with ``fit_resample``, and a classifier that trains on what is kept."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from subsetsel.engine.solve import solve
from subsetsel.errors import ProblemError
from subsetsel.guarantee.prune import prune
from subsetsel.guarantee.verification import verify
from subsetsel.problem.problem import Problem

_GOALS = ("epsilon", "rel_epsilon", "fraction", "size", "num_kept")


class Pruner(BaseEstimator):  # type: ignore[misc]
    """Find the examples that can be left out, together, as an estimator.

    A softmax head is trained on the features; see `subsetsel.prune`. Not a transformer, since those
    may not change the number of examples: ``fit_resample`` is what samplers of imbalanced-learn
    have, and works in its pipelines. In scikit-learn's own, use `PrunedClassifier`.

    Parameters
    ----------
    l2 : float
        Weight decay of mean loss + (l2 / 2) ||theta||^2.
    epsilon, rel_epsilon, fraction, size, num_kept : optional
        At most one; ``rel_epsilon=0.01`` if none is given. The first two end in a verified subset,
        the others fix how many are pruned.
    solver : str
    time_limit : float, optional
        Seconds.
    random_state : int, RandomState or None
    num_workers : int
        Threads.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Attributes
    ----------
    sample_indices_ : ndarray of shape (num_kept,), int64
        The examples to train on, sorted.
    solution_ : Solution
        Where nothing could be pruned, one that prunes nothing.
    verification_ : Verification or None
        The check by exact refit.
    classes_, n_features_in_
        As usual.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from subsetsel.integrations.sklearn import Pruner
    >>> X, y = load_iris(return_X_y=True)
    >>> X_kept, y_kept = Pruner(l2=1e-2, fraction=0.4).fit_resample(X, y)
    >>> X_kept.shape
    (90, 4)
    """

    def __init__(
        self,
        *,
        l2: float = 1e-3,
        epsilon: float | None = None,
        rel_epsilon: float | None = None,
        fraction: float | None = None,
        size: int | None = None,
        num_kept: int | None = None,
        solver: str = "anneal",
        time_limit: float | None = None,
        random_state: Any = 0,
        num_workers: int = 1,
        device: str = "auto",
    ) -> None:
        self.l2 = l2
        self.epsilon = epsilon
        self.rel_epsilon = rel_epsilon
        self.fraction = fraction
        self.size = size
        self.num_kept = num_kept
        self.solver = solver
        self.time_limit = time_limit
        self.random_state = random_state
        self.num_workers = num_workers
        self.device = device

    def fit(self, X: Any, y: Any) -> Self:
        """Choose what can be left out.

        Parameters
        ----------
        X : array_like of shape (n, h)
        y : array_like of shape (n,)
            Labels.

        Returns
        -------
        Pruner
            Itself, with the choice in ``sample_indices_``.

        Raises
        ------
        ProblemError
            For bad data, or more than one goal.
        """
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32))
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        goal = {name: getattr(self, name) for name in _GOALS if getattr(self, name) is not None}
        if len(self.classes_) < 2:
            raise ProblemError(
                f"y holds one class only ({self.classes_[0]!r}); a head tells classes apart."
            )
        self.solution_, self.verification_ = self._search(X, codes, goal or {"rel_epsilon": 0.01})
        self.sample_indices_ = self.solution_.kept
        return self

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Choose, and return what is kept of the data.

        Returns
        -------
        (X, y)
            Of the kinds that were given; frames stay frames.
        """
        self.fit(X, y)
        return _safe_indexing(X, self.sample_indices_), _safe_indexing(y, self.sample_indices_)

    def _search(self, X: Any, codes: Any, goal: dict[str, Any]) -> tuple[Any, Any]:
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        if isinstance(self.random_state, (int, np.integer)):
            seed = int(self.random_state)
        search: dict[str, Any] = {
            "solver": self.solver,
            "time_limit": self.time_limit,
            "seed": seed,
            "num_workers": self.num_workers,
        }
        if goal.keys() <= {"epsilon", "rel_epsilon"}:
            return prune(X, codes, l2=self.l2, device=self.device, **goal, **search)
        problem = Problem.from_features(X, codes, l2=self.l2, device=self.device, **goal)
        solution = solve(problem, **search)
        return solution, verify(problem, solution) if solution.is_feasible else None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def _has(name: str) -> Any:
    def check(self: Any) -> bool:
        inner = getattr(self, "estimator_", None) or self.estimator or LogisticRegression()
        getattr(inner, name)
        return True

    return check


class PrunedClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]
    """Train a classifier on the examples that a `Pruner` keeps.

    Parameters
    ----------
    estimator : classifier, optional
        ``LogisticRegression()`` by default.
    pruner : Pruner, optional
        ``Pruner()`` by default: what moves a softmax head by at most 1 %.

    Attributes
    ----------
    estimator_, pruner_
        Fitted.
    classes_, n_features_in_
        As usual.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from subsetsel.integrations.sklearn import PrunedClassifier, Pruner
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), PrunedClassifier(pruner=Pruner(fraction=0.4)))
    >>> model.fit(X, y)[-1].pruner_.solution_.size
    60
    """

    def __init__(self, estimator: Any = None, *, pruner: Any = None) -> None:
        self.estimator = estimator
        self.pruner = pruner

    def fit(self, X: Any, y: Any) -> Self:
        """Prune, then train on what is kept."""
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32))
        check_classification_targets(y)
        self.pruner_ = (Pruner() if self.pruner is None else clone(self.pruner)).fit(X, y)
        kept = self.pruner_.sample_indices_
        inner = LogisticRegression() if self.estimator is None else clone(self.estimator)
        self.estimator_ = inner.fit(X[kept], y[kept])
        self.classes_ = self.estimator_.classes_
        return self

    def predict(self, X: Any) -> Any:
        """Labels of shape (n,), from the classifier that was trained on what is kept."""
        return self._ask("predict", X)

    @available_if(_has("predict_proba"))  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Any:
        """Probabilities of the classes, shape (n, C), where the classifier has them."""
        return self._ask("predict_proba", X)

    @available_if(_has("decision_function"))  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> Any:
        """Scores of the classes, shape (n,) or (n, C), where the classifier has them."""
        return self._ask("decision_function", X)

    def _ask(self, method: str, X: Any) -> Any:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=(np.float64, np.float32))
        return getattr(self.estimator_, method)(X)
