"""S of a head whose examples lie in shards: each shard solves for its own rows by one factor."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from subsetsel.errors import ProblemError
from subsetsel.influence.head.cholesky import Factor
from subsetsel.influence.head.choose_inverse import factor_bytes, plan_inverse
from subsetsel.influence.head.formula import HeadInfluence, Point
from subsetsel.influence.head.inverse import Inverse, Metric
from subsetsel.influence.head.objective import HeadObjective
from subsetsel.influence.head.sharded import InShards, unwrap, wrap
from subsetsel.rows.base import FloatArray
from subsetsel.rows.factored import FactoredRows
from subsetsel.rows.sharded import ShardedRows
from subsetsel.support.memory import VARIABLE, describe


class HeadShards(ShardedRows):
    """S in shards, with the metric of its row norms."""

    def __init__(self, rows: Any, d: int, dtype: Any, metric: Metric) -> None:
        super().__init__(rows, d, dtype, kind="solved")
        self.metric = metric
        self.inverse = "cholesky"


class Triangle:
    """A factor that a worker has once, where torch puts tensors, and that can be sent to others."""

    def __init__(self, lower: FloatArray) -> None:
        self.tensor = wrap(lower)

    def __reduce__(self) -> tuple[Any, ...]:
        # As an array: torch's own way would leave it where it arrived.
        return Triangle, (unwrap(self.tensor),)

    @property
    def held_bytes(self) -> int:
        """Bytes of memory that it takes."""
        return int(self.tensor.nbytes)

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self.held_bytes


def rows_in_shards(objective: InShards, point: Point, dtype: Any) -> HeadShards:
    """Hold the residuals of each shard, and one copy of the factor for all on a worker.

    Raises
    ------
    ProblemError
        Where the Hessian is not factored.
    """
    lowers = [_lower_of(objective, inverse) for inverse in (point.inverse, point.whole)]
    workers = objective.held.workers
    same = point.whole is point.inverse
    sources = [(unwrap(lower),) for lower in (lowers[:1] if same else lowers)]
    factors = workers.hold(Triangle, sources)
    theta = unwrap(point.theta)
    constant = None if point.constant is None else unwrap(point.constant)
    residuals = objective.held.derive(_residuals, theta).held
    rows = objective.held.derive(
        _make_rows,
        (theta, constant, point.metric, np.dtype(dtype)),
        *(factors if len(factors) == 2 else factors * 2),
        each=[(own,) for own in residuals],
    )
    return HeadShards(rows, objective.d, dtype, point.metric)


def require_factor(num_features: int, num_classes: int, loss: str = "cross_entropy") -> None:
    """Refuse, before a head in shards is trained, one whose Hessian cannot be factored.

    Raises
    ------
    ProblemError
        With the number of parameters and the cure.
    """
    side = num_features + 1
    if loss == "cross_entropy":
        side *= num_classes - 1
    if plan_inverse("auto", side, torch.device("cpu")) != "cholesky":
        raise ProblemError(_too_large(side))


def _too_large(side: int) -> str:
    return (
        f"the Hessian of {side:,} parameters takes {describe(factor_bytes(side))} with its factor, "
        "and rows of a head in shards are solved for by that factor, on every worker: at most "
        f"20,000 parameters, within half of the memory that {VARIABLE} names. Reduce the number of "
        "features, for example to their principal components, or the number of classes."
    )


def _lower_of(objective: InShards, inverse: Inverse) -> Tensor:
    if not isinstance(inverse, Factor):
        raise ProblemError(_too_large(objective.block_side))
    return inverse.lower


def _residuals(on: HeadObjective | None, theta: FloatArray) -> FloatArray | None:
    found = None if on is None else on.basis_residuals(wrap(theta))
    return None if found is None else unwrap(found)


def _make_rows(
    on: HeadObjective | None,
    asked: tuple[FloatArray, FloatArray | None, Metric, np.dtype[Any]],
    lower: Triangle,
    whole: Triangle,
    residuals: FloatArray | None,
) -> FactoredRows | None:
    """Make what costs nothing: all that it is made of is held elsewhere."""
    if on is None or residuals is None:
        return None
    theta, constant, metric, dtype = asked
    at = wrap(theta)
    inverse = Factor(on, at, lower.tensor)
    other = inverse if whole is lower else Factor(on, at, whole.tensor)
    shift = None if constant is None else wrap(constant)
    point = Point(at, inverse, metric, other, shift)
    return FactoredRows(HeadInfluence(on, point, wrap(residuals)), dtype=dtype)
