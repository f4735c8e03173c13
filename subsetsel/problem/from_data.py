"""From data to a problem: features, a trained head, or a model with its data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.errors import ProblemError
from subsetsel.problem.arguments import (
    Formulation,
    HeadQuestion,
    Hessian,
    Metric,
    Normalization,
    Question,
    Ridge,
    Storage,
)
from subsetsel.problem.ask_head import ask_of_features, ask_of_head, choose_formulation
from subsetsel.problem.constraints import Constraints
from subsetsel.problem.groups import group_constraints
from subsetsel.problem.hessian import check_hessian
from subsetsel.support.clock import NO_CLOCK

if TYPE_CHECKING:
    from subsetsel.influence.estimate import Estimate
    from subsetsel.influence.head.head import Head


class FromData:
    """The ways to make a `Problem` from data; torch is imported when one is used."""

    constraints: Constraints
    normalization: Normalization

    def __init__(self, S: Any, **arguments: Any) -> None:
        raise NotImplementedError

    @classmethod
    def from_features(
        cls,
        X: Any,
        y: Any,
        *,
        l2: float,
        num_classes: int | None = None,
        sample_weight: ArrayLike | None = None,
        device: str = "auto",
        **question: Unpack[HeadQuestion],
    ) -> Self:
        """Train a softmax head on features and ask which examples it can do without.

        Parameters
        ----------
        X : array_like of shape (n, h)
            Features; a bias column is appended.
        y : array_like of shape (n,)
            Labels, integers or strings.
        l2 : float
            Weight decay of the objective mean_i loss_i + (l2 / 2) ||theta||^2, bias included.
        num_classes : int, optional
            When some class has no example.
        sample_weight : array_like of shape (n,), optional
            Positive weights w_i: the mean of the losses becomes sum w_i loss_i / sum w_i, on all
            examples and on those that are kept. Then S, the limit of normalization "kept", every
            refit and the curvature weigh likewise; sizes and limits of groups count examples.
        device : str
            ``"auto"``, ``"cuda"``, ``"cpu"``.
        formulation : {"retrain", "paper"}
            ``"retrain"``: ridge included and normalization "kept", what refitting really does.
            ``"paper"``: ridge excluded and normalization "full", the letter of Eq. 3.
        ridge, normalization : optional
            Set one half of a formulation by hand; a mixed pair warns.
        metric : {"parameter", "loss"}
            Rows (1/n) H^-1 g_i, or (1/n) L^-1 g_i with H = L L^T: then epsilon is in units of the
            root of the training objective.
        hessian : {"all", "kept"}
            Whose curvature decides what a subset of a given size does (Eq. 4). ``"all"`` is that
            of Eq. 2: first order around the head on all examples. With ``"kept"`` `solve`
            minimizes what an exact refit says, by first order around one refit after the other;
            it takes the time of several searches and refits. Needs ``size``, ``fraction`` or
            ``num_kept``, formulation "retrain" and metric "parameter".
        dtype : numpy dtype
            Of the stored rows.
        storage : {"auto", "dense", "factored"}
        **question
            ``epsilon``, ``rel_epsilon`` (fraction of ||theta||_2), ``size``, ``fraction`` or
            ``num_kept``, and the limits of `Problem`.

        Returns
        -------
        Problem
            With `Problem.head` set. Where the normalization is "kept" every class keeps at least
            one of its examples.

        Raises
        ------
        ProblemError
            For bad features, labels, l2 or settings.
        """
        fit = {
            "l2": l2,
            "num_classes": num_classes,
            "sample_weight": sample_weight,
            "device": device,
        }
        return ask_of_features(cls, X, y, fit, NO_CLOCK, **question)

    @classmethod
    def from_model(
        cls,
        model: Any,
        dataset: Any,
        *,
        l2: float,
        device: str = "auto",
        features: dict[str, Any] | None = None,
        parameters: Any = None,
        curvature: Literal["gauss-newton", "hessian"] = "gauss-newton",
        damping: float = 0.0,
        **question: Unpack[HeadQuestion],
    ) -> Self:
        """Train a model's last layer to its minimum, and ask which examples it can do without.

        Parameters
        ----------
        model : torch.nn.Module
            Its last linear layer is the classifier, unless ``features`` names another. Given back
            as it was.
        dataset : Dataset or DataLoader
            Not shuffled, without random augmentation; row i of S is its example i.
        l2 : float
            Weight decay the model was trained with.
        device : str
            Where the model runs.
        features : dict, optional
            Options of the capture: ``classifier``, ``pooling``, ``batch_size``, ``num_workers``,
            ``precision``, ``cache_dir``, ``progress``; see
            `subsetsel.influence.features.extract.features_from_model`.
        parameters : str or iterable of str, optional
            Parameters or modules of the model instead of its last layer alone: approximate, see
            `subsetsel.influence.parameter_influence`; `Problem.approximation` says how, and
            `verify` has no head to refit. ``features`` may then hold ``batch_size`` and
            ``num_workers``.
        curvature, damping : optional
            Of ``parameters``.
        **question
            As in `from_features`.

        Returns
        -------
        Problem

        Raises
        ------
        ProblemError
            For a model or data set that makes no sense, or bad settings.
        """
        if parameters is not None:
            return cls._from_network(
                model,
                dataset,
                {
                    "l2": l2,
                    "parameters": parameters,
                    "curvature": curvature,
                    "damping": damping,
                    "device": device,
                    **_loading(features),
                },
                **question,
            )
        from subsetsel.influence.features.from_model import head_from_model

        head = head_from_model(model, dataset, l2=l2, device=device, **(features or {}))
        return cls.from_head(head, **question)

    @classmethod
    def _from_network(
        cls,
        model: Any,
        dataset: Any,
        settings: dict[str, Any],
        *,
        formulation: Formulation = "retrain",
        ridge: Ridge | None = None,
        normalization: Normalization | None = None,
        metric: Metric = "parameter",
        hessian: Hessian = "all",
        dtype: Any = np.float32,
        storage: Storage = "auto",
        **question: Unpack[Question],
    ) -> Self:
        """Ask about any parameters of a model: approximately, and without a head to refit."""
        ridge, normalization = choose_formulation(
            formulation, ridge, normalization, metric, question
        )
        check_hessian(hessian, question, normalization, has_head=False)
        from subsetsel.influence import parameter_influence

        found = parameter_influence(
            model, dataset, ridge=ridge, metric=metric, dtype=dtype, storage=storage, **settings
        )
        share = question.pop("rel_epsilon", None)
        if share is not None:
            question["epsilon"] = share * found.theta_norm
        problem = cls(found.rows, normalization=normalization, **question)
        problem.keep_one_of_each(found.labels)
        return problem

    @staticmethod
    def estimate(
        X: Any, y: Any, *, num_classes: int | None = None, storage: Storage = "auto", **cost: Any
    ) -> Estimate:
        """Say what memory `from_features` will take, before anything runs.

        Parameters
        ----------
        X : array_like of shape (n, h)
            Only its shape is looked at.
        y : array_like of shape (n,)
        **cost
            ``inverse``, ``itemsize`` and ``device``; see `subsetsel.influence.estimate_cost`.

        Returns
        -------
        Estimate
            Prints as a few lines.
        """
        from subsetsel.influence import estimate_cost

        n, num_features = np.shape(X)
        classes = num_classes or len(np.unique(np.asarray(y)))
        return estimate_cost(n, num_features, classes, storage=storage, **cost)

    @classmethod
    def from_head(cls, head: Head, **question: Unpack[HeadQuestion]) -> Self:
        """Ask the question of a head that is trained already; see `from_features`.

        Returns
        -------
        Problem

        Raises
        ------
        ProblemError
            For settings that contradict each other.
        """
        return ask_of_head(cls, head, NO_CLOCK, **question)

    def keep_one_of_each(self, labels: Any) -> None:
        """Keep at least one example per class where the normalization is "kept".

        Parameters
        ----------
        labels : ndarray of shape (n,), int64
        """
        if self.normalization == "kept":
            self.constraints = self.constraints.join(_keep_one_of_each(labels))


def _loading(features: dict[str, Any] | None) -> dict[str, Any]:
    """Pass on the options of the capture that make sense where nothing is captured."""
    given = features or {}
    unknown = sorted(set(given) - {"batch_size", "num_workers"})
    if unknown:
        raise ProblemError(
            f"features holds {', '.join(unknown)}, which has no meaning with parameters=; it may "
            "hold batch_size and num_workers."
        )
    return given


def _keep_one_of_each(labels: Any) -> Constraints:
    """At least one kept example per class: a head cannot learn a class it never sees."""
    values, counts = np.unique(labels, return_counts=True)
    limits: dict[int, tuple[int | None, int | None]] = {
        int(v): (None, int(c) - 1) for v, c in zip(values, counts, strict=True)
    }
    return group_constraints(len(labels), labels, limits)
