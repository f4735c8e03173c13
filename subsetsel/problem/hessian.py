"""What ``hessian="kept"`` needs: a size to prune, and the question that a refit answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from subsetsel.errors import ProblemError

_RULE = "hessian='kept' minimizes how far a refit moves the head for a given number to prune"


def check_hessian(
    hessian: Any,
    question: Mapping[str, Any],
    normalization: str,
    *,
    ridge: str = "included",
    metric: str = "parameter",
    has_head: bool = True,
) -> None:
    """Refuse another name, and what contradicts ``hessian="kept"``.

    Raises
    ------
    ProblemError
        With value, rule and cure.
    """
    if hessian not in {"all", "kept"}:
        raise ProblemError(f"hessian must be 'all' or 'kept', got {hessian!r}.")
    if hessian == "all":
        return
    if not has_head:
        raise ProblemError(
            f"{_RULE}, and here is no head to refit; make the problem with "
            "Problem.from_features or Problem.from_model (without parameters=), or use "
            "hessian='all'."
        )
    if question.get("offset") is not None:
        raise ProblemError(
            f"{_RULE}, and a refit moves the head alone, to which no offset is added; leave offset "
            "out, or use hessian='all'."
        )
    for name in ("epsilon", "rel_epsilon"):
        if question.get(name) is not None:
            raise ProblemError(
                f"{_RULE}; got {name} = {question[name]!r}. Give size, fraction or num_kept; for "
                f"{name} use subsetsel.prune, which searches what refitting does anyway."
            )
    if (ridge, normalization) != ("included", "kept"):
        raise ProblemError(
            f"{_RULE}: formulation 'retrain', which is ridge 'included' and normalization 'kept'; "
            f"got ridge = {ridge!r} and normalization = {normalization!r}. Leave them out, or use "
            "hessian='all'."
        )
    if metric != "parameter":
        raise ProblemError(
            f"{_RULE}, in the metric 'parameter'; got metric = {metric!r}. Leave metric out, or "
            "use hessian='all'."
        )
