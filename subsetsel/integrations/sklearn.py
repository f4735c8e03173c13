"""scikit-learn: a selector with ``fit_resample``, and a classifier that trains on what is kept."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils import check_array, check_random_state, check_X_y, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, has_fit_parameter, validate_data

from subsetsel.engine.solve import solve
from subsetsel.errors import FormulationWarning, ProblemError
from subsetsel.guarantee.prune import prune
from subsetsel.guarantee.verification import verify
from subsetsel.influence.head.data import check_weights
from subsetsel.integrations.columns import check_column_names
from subsetsel.integrations.take import take_kept
from subsetsel.problem.problem import Problem
from subsetsel.support.arrays import refuse_mask, to_numpy

_GOALS = ("epsilon", "rel_epsilon", "fraction", "size", "num_kept")


class Pruner(BaseEstimator):  # type: ignore[misc]
    """Find the examples that can be left out, together, as an estimator.

    A softmax head is trained on the features; see `subsetsel.prune`. Not a transformer, since those
    may not change the number of examples: ``fit_resample`` is what samplers of imbalanced-learn
    have, and works in its pipelines. In scikit-learn's own, use `PrunedClassifier`. It passes
    scikit-learn's checks but for those that give an example the weight 0.

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

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Choose what can be left out.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, h)
        y : array_like of shape (n,)
            Labels.
        sample_weight : array_like of shape (n,), optional
            How much each example counts in the head, positive.

        Returns
        -------
        Pruner
            Itself, with the choice in ``sample_indices_``.

        Raises
        ------
        ProblemError
            For bad data, or more than one goal.

        Warns
        -----
        FormulationWarning
            If no subset satisfies the goal, or none was found in time: then all are kept.
        """
        X, y = _examples(self, X, y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        goal = {name: getattr(self, name) for name in _GOALS if getattr(self, name) is not None}
        if len(self.classes_) < 2:
            raise ProblemError(
                f"y holds one class only ({self.classes_[0]!r}); a head tells classes apart."
            )
        goal = goal or {"rel_epsilon": 0.01}
        weights = _weights(sample_weight, len(codes))
        self.solution_, self.verification_ = self._search(X, codes, goal, **weights)
        self.sample_indices_ = self.solution_.kept
        if not self.solution_.is_feasible:
            asked = ", ".join(f"{name}={value!r}" for name, value in goal.items())
            warnings.warn(
                f"nothing is pruned and all {len(codes)} examples are kept, since {asked} was not "
                f"reached: {self.solution_.message}.",
                FormulationWarning,
                stacklevel=2,
            )
        return self

    def fit_resample(self, X: Any, y: Any, sample_weight: Any = None) -> tuple[Any, Any]:
        """Choose, and return what is kept of the data; all else is as for `fit`.

        Returns
        -------
        (X, y)
            Of the kinds that were given, as `take_kept` takes them; frames stay frames.
        """
        self.fit(X, y, sample_weight)
        return take_kept(X, self.solution_), take_kept(y, self.solution_)

    def get_support(self, indices: bool = False) -> Any:
        """Which examples are kept.

        Parameters
        ----------
        indices : bool
            Give their numbers instead of a mask.

        Returns
        -------
        ndarray of shape (n,), bool, or of shape (num_kept,), int64
        """
        check_is_fitted(self)
        return self.solution_.kept if indices else ~self.solution_.mask

    def _search(self, X: Any, codes: Any, goal: dict[str, Any], **weights: Any) -> tuple[Any, Any]:
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
            return prune(X, codes, l2=self.l2, device=self.device, **weights, **goal, **search)
        fit = {"l2": self.l2, "device": self.device, **weights}
        problem = Problem.from_features(X, codes, **fit, **goal)
        solution = solve(problem, **search)
        return solution, verify(problem, solution) if solution.is_feasible else None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.sparse = True
        return tags


def _examples(
    estimator: Any, X: Any, y: Any = None, *, is_new: bool = True, accept_sparse: Any = "csr"
) -> Any:
    """X, and y where ``is_new``, as scikit-learn wants them; ours are masks, columns and objects.

    Sparse matrices go through as they are.
    """
    how = {
        "accept_sparse": accept_sparse,
        "dtype": (np.float64, np.float32),
        "estimator": estimator,
    }
    if hasattr(X, "iloc") and hasattr(X, "columns"):
        check_column_names(X)
    numbers = X if issparse(X) else to_numpy(X, "X")
    if is_new:
        refuse_mask(y, "y", "keep the examples of ~numpy.ma.getmaskarray(y)")
        labels = None if y is None else to_numpy(y, "y")
        numbers, labels = check_X_y(numbers, labels, **how)
        check_classification_targets(labels)
    else:
        numbers = check_array(numbers, **how)
    # Notes or compares the number of features and their names.
    validate_data(estimator, X, reset=is_new, skip_check_array=True)
    return (numbers, labels) if is_new else numbers


def _weights(sample_weight: Any, n: int) -> dict[str, Any]:
    return {} if sample_weight is None else {"sample_weight": check_weights(sample_weight, n)}


def _has(name: str) -> Any:
    def check(self: Any) -> bool:
        # A forest asked for its length before it is fitted raises, so its truth is not asked for.
        inner = self.estimator_ if hasattr(self, "estimator_") else self._inner()
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

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Prune, then train on what is kept.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, h)
            Sparse where the classifier takes it.
        y : array_like of shape (n,)
            Labels.
        sample_weight : array_like of shape (n,), optional
            How much each example counts, positive: for the pruner and for the classifier.

        Returns
        -------
        PrunedClassifier
            Itself.

        Raises
        ------
        ProblemError
            For bad data, or weights that the classifier does not take.
        """
        inner = clone(self._inner())
        X, y = _examples(self, X, y, accept_sparse=self._accepted())
        weights = _weights(sample_weight, len(y))
        if weights and not has_fit_parameter(inner, "sample_weight"):
            raise ProblemError(
                f"sample_weight is given, and {type(inner).__name__}.fit has no such argument; "
                "take a classifier that has, such as LogisticRegression()."
            )
        pruner = Pruner() if self.pruner is None else clone(self.pruner)
        self.pruner_ = pruner.fit(X, y, **weights)
        kept = self.pruner_.sample_indices_
        weights = {name: values[kept] for name, values in weights.items()}
        self.estimator_ = inner.fit(X[kept], y[kept], **weights)
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
        X = _examples(self, X, is_new=False, accept_sparse=self._accepted())
        return getattr(self.estimator_, method)(X)

    def _inner(self) -> Any:
        return LogisticRegression() if self.estimator is None else self.estimator

    def _accepted(self) -> Any:
        """Sparse formats that go through to the classifier."""
        return "csr" if get_tags(self._inner()).input_tags.sparse else False

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = get_tags(self._inner()).input_tags.sparse
        return tags
