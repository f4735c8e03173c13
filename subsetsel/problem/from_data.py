"""From data to a problem: features, a trained head, or a model with its data set."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

import numpy as np

from subsetsel.errors import OptionError, ProblemError
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
from subsetsel.problem.goal import Goal
from subsetsel.problem.groups import group_constraints
from subsetsel.problem.hessian import check_hessian
from subsetsel.problem.in_shards import bring, open_features
from subsetsel.support.clock import NO_CLOCK
from subsetsel.support.labels import to_labels

if TYPE_CHECKING:
    from subsetsel.influence.estimate import Estimate
    from subsetsel.influence.head.head import Head


_OPTIONS = ("classifier", "pooling", "batch_size", "num_workers", "labels", "inputs")


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
        sample_weight: Any = None,
        device: str = "auto",
        engine: Any = None,
        **question: Unpack[HeadQuestion],
    ) -> Self:
        """Train a softmax head on features and ask which examples it can do without.

        Parameters
        ----------
        X : array_like of shape (n, h), path, list of paths, or dask array or data frame
            Features; a bias column is appended. Of those in shards, files or Dask's, S is never
            written.
        y : array_like of shape (n,), or for features in shards a column, path or dask array
            Labels, integers or strings.
        l2 : float
            Weight decay of the objective mean_i loss_i + (l2 / 2) ||theta||^2, bias included.
        num_classes : int, optional
            When some class has no example.
        sample_weight : array_like of shape (n,), or for features in shards their files, optional
            Positive weights w_i: the mean of the losses becomes sum w_i loss_i / sum w_i, on all
            examples and on those that are kept. Then S, the limit of normalization "kept", every
            refit and the curvature weigh likewise; sizes and limits of groups count examples.
        device : str
            ``"auto"``, ``"cuda"``, ``"cpu"``.
        engine : distributed.Client or str, optional
            Who computes with features in shards: a Dask client or its scheduler's address. Without
            it this process does, one shard after the other; Dask arrays use the active client.
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
        X, y = open_features(X, y, engine)
        weights = bring(sample_weight, engine, "sample_weight")
        fit = {"l2": l2, "num_classes": num_classes, "sample_weight": weights, "device": device}
        return ask_of_features(cls, X, y, fit, NO_CLOCK, **question)

    @classmethod
    def from_model(
        cls,
        model: Any,
        dataset: Any,
        *,
        l2: float,
        device: str = "auto",
        classifier: str | None = None,
        pooling: Literal["first", "last", "mean"] | None = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
        labels: str | int | None = None,
        inputs: Any = None,
        precision: Literal["float32", "bfloat16", "float16"] | None = None,
        cache_dir: Any = None,
        progress: Any = None,
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
            Its classifier is the linear layer whose output it returns. Given back as it was.
        dataset : Dataset or DataLoader
            Not shuffled, without random augmentation; row i of S is its example i.
        l2 : float
            Weight decay the model was trained with.
        device : str
            Where the model runs.
        classifier, pooling, batch_size, num_workers, labels, inputs : optional
            Which layer is the classifier; which position speaks for a sequence; how the data is
            read; which items or keys of a batch are labels, and which go to the model. These and
            the next are explained in `subsetsel.influence.features_from_model`.
        precision, cache_dir, progress : optional
            Of the pass over the data.
        features : dict, optional
            The same options in a dictionary.
        parameters : str or iterable of str, optional
            Parameters or modules of the model instead of its last layer alone: approximate, see
            `subsetsel.influence.parameter_influence`; `Problem.approximation` says how, and
            `verify` has no head to refit. Of the options above it knows ``batch_size``,
            ``num_workers``, ``labels`` and ``inputs``.
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
        _require_known(question)
        options = _join_options(
            features,
            classifier=classifier,
            pooling=pooling,
            batch_size=batch_size,
            num_workers=num_workers,
            labels=labels,
            inputs=inputs,
            precision=precision,
            cache_dir=cache_dir,
            progress=progress,
        )
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
                    **_loading(options),
                },
                **question,
            )
        from subsetsel.influence.features.from_model import head_from_model

        head = head_from_model(model, dataset, l2=l2, device=device, **options)
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
        if (share := question.pop("rel_epsilon", None)) is not None:
            given = question.get("epsilon")
            share = Goal.parse(1, epsilon=given, rel_epsilon=share, theta_norm=1.0).epsilon
        from subsetsel.influence import parameter_influence

        found = parameter_influence(
            model, dataset, ridge=ridge, metric=metric, dtype=dtype, storage=storage, **settings
        )
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
        classes = num_classes or len(np.unique(to_labels(y)))
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


def _join_options(features: dict[str, Any] | None, **options: Any) -> dict[str, Any]:
    """Join the options of the capture, given one by one or as a dictionary, without a contest."""
    given = {name: value for name, value in options.items() if value is not None}
    if features is not None and not isinstance(features, dict):
        raise ProblemError(
            f"features must be a dictionary of options, got {features!r}; or give each by itself: "
            f"{', '.join(options)}."
        )
    unknown = sorted(map(str, set(features or {}) - set(options)))
    if unknown:
        raise ProblemError(
            f"features holds {', '.join(unknown)}, which is no option; there are "
            f"{', '.join(options)}."
        )
    twice = sorted(set(features or {}) & set(given))
    if twice:
        raise ProblemError(
            f"{', '.join(twice)} is given twice: by itself and in features={{...}}; leave it out "
            "of features."
        )
    return (features or {}) | given


def _require_known(question: Any) -> None:
    """Refuse a misspelled argument before the model runs over all data."""
    known = list(HeadQuestion.__annotations__)
    for name in question:
        if name not in known:
            near = difflib.get_close_matches(name, [*known, *_OPTIONS], n=1)
            meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}."
            raise OptionError(f"from_model has no argument {name!r}; {meant}")


def _loading(options: dict[str, Any]) -> dict[str, Any]:
    """Pass on the options of the capture that make sense where nothing is captured."""
    known = _OPTIONS[2:]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ProblemError(
            f"{', '.join(unknown)} has no meaning with parameters=; leave it out. What has one: "
            f"{', '.join(known)}."
        )
    return options


def _keep_one_of_each(labels: Any) -> Constraints:
    """At least one kept example per class: a head cannot learn a class it never sees."""
    values, counts = np.unique(labels, return_counts=True)
    limits: dict[int, tuple[int | None, int | None]] = {
        int(v): (None, int(c) - 1) for v, c in zip(values, counts, strict=True)
    }
    return group_constraints(len(labels), labels, limits)
