"""The keyword arguments that the ways to a problem share, written down once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from numpy.typing import ArrayLike

from subsetsel.errors import ProblemError

Normalization = Literal["full", "kept"]
Formulation = Literal["retrain", "paper"]
Ridge = Literal["included", "excluded"]
Metric = Literal["parameter", "loss"]
Hessian = Literal["all", "kept"]
Storage = Literal["auto", "dense", "factored"]
GroupLimits = Mapping[Any, tuple[int | None, int | None]]


class Question(TypedDict, total=False):
    """What is asked of S, apart from the normalization; each is described in `Problem`."""

    epsilon: float | None
    rel_epsilon: float | None
    size: int | None
    fraction: float | None
    num_kept: int | None
    max_size: int | None
    groups: ArrayLike | None
    group_limits: GroupLimits | None
    must_prune: ArrayLike | None
    must_keep: ArrayLike | None
    constraints: Sequence[Any] | None
    offset: ArrayLike | None


class HeadQuestion(Question, total=False):
    """What is asked of a head; each is described in `Problem.from_features`."""

    formulation: Formulation
    ridge: Ridge | None
    normalization: Normalization | None
    metric: Metric
    hessian: Hessian
    dtype: Any
    storage: Storage


def refuse_offset(problem: Any, what: str) -> None:
    """Refuse a `Problem` with an offset, by the name of what refits a head, which knows none."""
    if problem.offset is not None:
        raise ProblemError(
            f"{what} measures how far a refit moves the head, and no refit knows the offset of "
            "this problem; leave offset out, or use solve, which needs no refit."
        )
