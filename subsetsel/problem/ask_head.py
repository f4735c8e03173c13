"""A problem about a head: trained, its S computed, and the question asked of it, within a clock."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Unpack

import numpy as np

from subsetsel.errors import FormulationWarning, OptionError, ProblemError
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
from subsetsel.problem.constraints import Constraints
from subsetsel.problem.goal import Goal, fixed_mask
from subsetsel.problem.groups import group_constraints
from subsetsel.problem.hessian import check_hessian
from subsetsel.problem.in_shards import lies_in_shards
from subsetsel.support.clock import Clock
from subsetsel.support.labels import to_labels
from subsetsel.support.memory import needs_memory

if TYPE_CHECKING:
    from subsetsel.influence.head.head import Head


class _AboutLabels(Protocol):
    def keep_one_of_each(self, labels: Any) -> None: ...


Asked = TypeVar("Asked", bound=_AboutLabels)

_GOAL = ("epsilon", "rel_epsilon", "size", "fraction", "num_kept", "max_size")
_CURE = (
    "storage='factored' never writes S out; float32, fewer features or fewer examples take less. "
    "`subsetsel prune --dry-run` says beforehand what it will be."
)


def _cost(n: int, num_features: int, num_classes: int) -> int:
    """Bytes for the features, the Hessian and S together."""
    from subsetsel.influence.estimate import estimate_cost

    return estimate_cost(n, num_features, num_classes, device="cpu").num_bytes


def ask_of_features(
    kind: Callable[..., Asked],
    X: Any,
    y: Any,
    fit: Mapping[str, Any],
    clock: Clock,
    **question: Unpack[HeadQuestion],
) -> Asked:
    """Do what `FromData.from_features` promises, or raise `TimeIsUp` at the end of a clock.

    ``fit`` holds l2, num_classes, sample_weight and device.
    """
    from subsetsel.influence import fit_head

    if question.get("constraints") is not None:
        # They are read twice.
        question["constraints"] = list(question["constraints"] or [])
    if np.ndim(X) == 2:
        _check_question(np.shape(X)[0], {**question})
    if lies_in_shards(X):
        _check_shards(X, y, fit, question)
    with needs_memory(
        "the head of these features",
        lambda: _cost(len(y), np.shape(X)[1], len(np.unique(to_labels(y)))),
        _CURE,
    ):
        head = fit_head(X, y, clock=clock, **fit)
    return ask_of_head(kind, head, clock, **question)


def _check_shards(X: Any, y: Any, fit: Mapping[str, Any], question: HeadQuestion) -> None:
    """Refuse what features in shards cannot be asked, before the head is fitted."""
    from subsetsel.influence.head.sharded_rows import require_factor

    if question.get("storage") == "dense":
        raise OptionError(
            "storage='dense' would write out S of features that lie in shards; leave storage out."
        )
    require_factor(np.shape(X)[1], fit.get("num_classes") or len(np.unique(to_labels(y))))


def _check_question(n: int, question: dict[str, Any]) -> None:
    """Check what is asked of n examples before the head is fitted, which may take minutes."""
    goal: dict[str, Any] = {name: question.get(name) for name in _GOAL}
    Goal.parse(n, theta_norm=1.0, **goal)
    for name in ("must_prune", "must_keep"):
        fixed_mask(question.get(name), n, name)
    group_constraints(n, question.get("groups"), question.get("group_limits"))
    Constraints.build(n, question.get("constraints") or [])


def ask_of_head(
    kind: Callable[..., Asked],
    head: Head,
    clock: Clock,
    *,
    formulation: Formulation = "retrain",
    ridge: Ridge | None = None,
    normalization: Normalization | None = None,
    metric: Metric = "parameter",
    hessian: Hessian = "all",
    dtype: Any = np.float32,
    storage: Storage = "auto",
    **question: Unpack[Question],
) -> Asked:
    """Do what `FromData.from_head` promises, or raise `TimeIsUp` at the end of a clock."""
    from subsetsel.influence import influence_rows

    ridge, normalization = choose_formulation(formulation, ridge, normalization, metric, question)
    check_hessian(hessian, question, normalization, ridge=ridge, metric=metric)

    def num_bytes() -> int:
        return _cost(head.n, head.theta.shape[1] - 1, head.num_classes)

    setting: dict[str, Any] = {"ridge": ridge, "metric": metric, "dtype": dtype}
    with needs_memory("S of this head", num_bytes, _CURE):
        rows = influence_rows(head, storage=storage, clock=clock, **setting)
    problem = kind(rows, normalization=normalization, head=head, hessian=hessian, **question)
    problem.keep_one_of_each(head.labels)
    return problem


def choose_formulation(
    formulation: str,
    ridge: Ridge | None,
    normalization: Normalization | None,
    metric: str,
    question: Question,
) -> tuple[Ridge, Normalization]:
    """Fill in ridge and normalization from the formulation, and warn of a mixed pair."""
    if formulation not in {"retrain", "paper"}:
        raise ProblemError(f"formulation must be 'retrain' or 'paper', got {formulation!r}.")
    usual: tuple[Ridge, Normalization] = (
        ("included", "kept") if formulation == "retrain" else ("excluded", "full")
    )
    ridge, normalization = ridge or usual[0], normalization or usual[1]
    if (ridge, normalization) in {("included", "full"), ("excluded", "kept")}:
        warnings.warn(
            f"ridge={ridge!r} with normalization={normalization!r} mixes the two formulations: "
            "'retrain' is ridge included and normalization kept, 'paper' is ridge excluded and "
            "normalization full.",
            FormulationWarning,
            stacklevel=4,
        )
    if metric == "loss" and question.get("rel_epsilon") is not None:
        raise ProblemError(
            "rel_epsilon is a fraction of ||theta||_2 and has no meaning with metric='loss'; "
            "give epsilon in units of the root of the training objective."
        )
    return ridge, normalization
