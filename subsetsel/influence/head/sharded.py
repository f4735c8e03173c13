"""The objective of a head whose examples lie in shards: sums over these, in their order.

Each shard is a `HeadObjective` of its own examples, with the scale and the total weight of all and
without the ridge, so that values, gradients and Hessians of the shards add up to those of the
examples of all. Its features are held in float64, divided by the scale, bias included.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from subsetsel.influence.head.feature_shards import FeatureShards, features_of
from subsetsel.influence.head.features import DenseFeatures, equilibrate
from subsetsel.influence.head.losses import OBJECTIVES, SoftmaxObjective, SquaredObjective
from subsetsel.influence.head.objective import HeadObjective
from subsetsel.influence.head.setting import Evaluation, Setting
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray
from subsetsel.shards.sums import add_up
from subsetsel.shards.table import Shards

_CPU = torch.device("cpu")


class _Elsewhere:
    """Stands for features that are not here, and knows their shape."""

    is_sparse, filled, device = False, 0.0, _CPU

    def __init__(self, held: Shards, q: int) -> None:
        self._held, self.shape = held, (held.n, q)

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """Digests, by which features in shards are compared."""
        return tuple(np.frombuffer(one, np.uint8) for one in self._held.map(_digest))


class InShards(HeadObjective):
    """F over the examples of all shards; see `HeadObjective`.

    Parameters
    ----------
    held : Shards
        Of `HeadObjective`, each a part of the whole; of None where a shard is empty.
    labels : Tensor of shape (n,), int64
    scale : Tensor of shape (q,)
    setting : Setting
    weights : Tensor of shape (n,), float64, optional
    """

    in_shards = True

    def __init__(
        self,
        held: Shards,
        labels: Tensor,
        scale: Tensor,
        setting: Setting,
        weights: Tensor | None = None,
    ) -> None:
        super().__init__(cast(Any, _Elsewhere(held, len(scale))), labels, scale, setting, weights)
        self.held = held
        self._filled = np.flatnonzero(np.diff(held.starts)).tolist()

    def restrict(self, mask: np.ndarray) -> Self:
        """Take the mean over the examples of a Boolean mask only; each shard copies its own."""
        weights = None if self.weights is None else self.weights[torch.as_tensor(mask)]
        parts = [part for (part,) in self.held.split(mask)]
        counts = [int(part.sum()) for part in parts]
        total = float(sum(counts)) if weights is None else float(weights.sum())
        each = [(np.packbits(part), len(part)) for part in parts]
        kept = self.held.derive(_restrict, total, each=each).held
        held = Shards(self.held.workers, kept, counts, self.held.names)
        labels = self.labels[torch.as_tensor(mask)]
        part = type(self)(held, labels, self.scale, self.setting, weights)
        part._whole = self._whole or self
        return part

    # --- rounds -----------------------------------------------------------------------------------

    def _each(
        self,
        function: Callable[..., Any],
        *common: Any,
        each: Sequence[tuple[Any, ...]] | None = None,
    ) -> list[Any]:
        """Ask every shard that has examples, in one round."""
        self.clock.check()
        return self.held.map(function, *common, each=each, only=self._filled)

    def _sum(self, function: Callable[..., FloatArray], *common: Any, **more: Any) -> Tensor:
        """Sum small arrays over the shards, in their order."""
        found = self._each(function, *common, **more)
        total = found[0].copy()
        for part in found[1:]:
            total += part
        return wrap(total)

    def _large_sum(self, function: Callable[..., FloatArray], *common: Any) -> Tensor:
        """Sum matrices over the shards, of which only the sum comes here."""
        self.clock.check()
        return wrap(add_up(self.held, function, *common, only=self._filled))

    # --- sums over the examples -------------------------------------------------------------------

    def value_and_gradient(self, theta: Tensor) -> tuple[float, Tensor]:
        """See `HeadObjective.value_and_gradient`."""
        return self._with_ridge(theta, self._each(_value_and_gradient, unwrap(theta)))

    def evaluate(self, theta: Tensor) -> Evaluation:
        """See `HeadObjective.evaluate`; one round."""
        found = self._each(_evaluate, unwrap(theta), len(self._filled) + 2)
        value, gradient = self._with_ridge(theta, [one[:2] for one in found])
        return self.judge(theta, value, gradient, sum(one[2] for one in found))

    def _with_ridge(
        self, theta: Tensor, found: list[tuple[float, FloatArray]]
    ) -> tuple[float, Tensor]:
        gradient = torch.zeros_like(theta)
        for _, part in found:
            gradient += wrap(part)
        value = sum(one[0] for one in found) + float(0.5 * (self.ridge * theta.square()).sum())
        return value, gradient.add_(self.ridge * theta)

    def multiply(self, theta: Tensor, columns: Tensor, outputs: Any = None) -> Tensor:
        """See `HeadObjective.multiply`; ``outputs`` stay in the shards."""
        each = None if outputs is None else [(outputs.held[k],) for k in self._filled]
        out = self._sum(_multiply, unwrap(theta), unwrap(columns), each=each)
        return out + columns * self.ridge.repeat(self.num_free)[:, None]

    def all_outputs(self, theta: Tensor) -> Shards:
        """Keep the outputs of all examples, each shard its own."""
        return self.held.derive(_outputs, unwrap(theta))

    def gram(self) -> Tensor:
        """See `Examples.gram`."""
        return self._large_sum(_gram)

    def mean_squares(self, theta: Tensor, classes: Tensor, features: Tensor | None) -> Tensor:
        """See `HeadObjective.mean_squares`."""
        assert features is not None
        return self._sum(_mean_squares, unwrap(theta), unwrap(classes), unwrap(features))

    def gradient_of(self, theta: Tensor, weights: Tensor) -> Tensor:
        """See `HeadObjective.gradient_of`."""
        each = self.held.split(unwrap(weights))
        return self._sum(_gradient_of, unwrap(theta), each=[each[k] for k in self._filled])

    def longest(self) -> float:
        """See `HeadObjective.longest`."""
        return float(max(self._each(_longest)))

    def curvature_along(self, theta: Tensor, direction: Tensor) -> Tensor:
        """See `HeadObjective.curvature_along`."""
        found = self._each(_curvature_along, unwrap(theta), unwrap(direction))
        along = wrap(np.concatenate(found))
        penalty = (self.ridge * direction.square()).sum()
        return along + penalty * self.ones()


class SoftmaxInShards(InShards, SoftmaxObjective):
    """The softmax over examples in shards."""

    def hessian(self, theta: Tensor) -> Tensor:
        """See `SoftmaxObjective.hessian`."""
        matrix = self._large_sum(_hessian, unwrap(theta))
        matrix.diagonal().add_(self.ridge.repeat(self.num_free))
        return matrix

    def class_curvature(self, theta: Tensor) -> Tensor:
        """See `SoftmaxObjective.class_curvature`."""
        return self._sum(_class_curvature, unwrap(theta))


class SquaredInShards(InShards, SquaredObjective):
    """The squared loss over examples in shards; its Hessian is a Gram matrix and the ridge."""


_KINDS: dict[str, type[InShards]] = {
    "cross_entropy": SoftmaxInShards,
    "squared": SquaredInShards,
}


def objective_in_shards(
    X: FeatureShards,
    labels: IndexArray,
    loss: str,
    setting: Setting,
    weights: FloatArray | None = None,
) -> InShards:
    """Hold the features scaled, each shard beside its labels and weights.

    Parameters
    ----------
    X : FeatureShards
    labels : ndarray of shape (n,), int64
    loss : {"cross_entropy", "squared"}
    setting : Setting
    weights : ndarray of shape (n,), float64, optional
    """
    # The bias is a column of ones.
    scale = equilibrate(torch.as_tensor(np.append(X.mean_squares, 1.0)), setting.l2)
    total = float(X.shape[0]) if weights is None else float(torch.as_tensor(weights).sum())
    codes = labels.astype(np.min_scalar_type(setting.num_classes))
    each = [
        (own, None if weights is None else weights[start:stop])
        for (own,), start, stop in zip(
            X.table.split(codes), X.table.starts[:-1], X.table.starts[1:], strict=True
        )
    ]
    free = replace(setting, l2=0.0)
    held = X.table.derive(_make_part, (loss, free, unwrap(scale), total), each=each)
    w = None if weights is None else torch.as_tensor(weights)
    return _KINDS[loss](held, torch.as_tensor(labels), scale, setting, w)


# --- what each shard does -------------------------------------------------------------------------


def wrap(array: NDArray[Any]) -> Tensor:
    """Copy an array to where torch puts tensors.

    What came over a network may be read-only, and may lie at any multiple of 8 bytes: solves with
    the same numbers then round otherwise than with those that lie here.
    """
    return torch.tensor(array)


def unwrap(tensor: Tensor) -> NDArray[Any]:
    """Make an array that looks the same at either end of a network: products depend on strides."""
    return np.ascontiguousarray(tensor.numpy())


def _make_part(
    value: Any,
    asked: tuple[str, Setting, FloatArray, float],
    codes: NDArray[Any],
    weights: FloatArray | None,
) -> HeadObjective | None:
    loss, setting, scale, total = asked
    if not len(codes):
        return None
    given = wrap(scale)
    X, _ = DenseFeatures.scaled(np.asarray(features_of(value)), 0.0, _CPU, given)
    w = None if weights is None else torch.tensor(weights)
    part = OBJECTIVES[loss](X, torch.tensor(codes.astype(np.int64)), given, setting, w)
    part.total = total
    return part


def _restrict(
    on: HeadObjective | None, total: float, bits: NDArray[np.uint8], n: int
) -> HeadObjective | None:
    mask: BoolArray = np.unpackbits(bits, count=n).astype(np.bool_)
    if on is None or not mask.any():
        return None
    part = on.restrict(mask)
    part.total, part._whole = total, None
    return part


def _value_and_gradient(on: HeadObjective, theta: FloatArray) -> tuple[float, FloatArray]:
    value, gradient = on.value_and_gradient(wrap(theta))
    return value, unwrap(gradient)


def _evaluate(
    on: HeadObjective, theta: FloatArray, num_parts: int
) -> tuple[float, FloatArray, float]:
    at = wrap(theta)
    value, gradient = on.value_and_gradient(at)
    return value, unwrap(gradient), on.rounding(at, num_parts)


def _outputs(on: HeadObjective | None, theta: FloatArray) -> FloatArray | None:
    found: Tensor | None = None if on is None else on.all_outputs(wrap(theta))
    return None if found is None else unwrap(found)


def _multiply(
    on: HeadObjective, theta: FloatArray, columns: FloatArray, outputs: FloatArray | None = None
) -> FloatArray:
    known = None if outputs is None else wrap(outputs)
    product: FloatArray = unwrap(on.multiply(wrap(theta), wrap(columns), known))
    return product


def _hessian(on: HeadObjective, theta: FloatArray) -> FloatArray:
    matrix: FloatArray = unwrap(on.hessian(wrap(theta)))
    return matrix


def _gram(on: HeadObjective) -> FloatArray:
    matrix: FloatArray = unwrap(on.gram())
    return matrix


def _class_curvature(on: HeadObjective, theta: FloatArray) -> FloatArray:
    matrix: FloatArray = unwrap(on.class_curvature(wrap(theta)))
    return matrix


def _mean_squares(
    on: HeadObjective, theta: FloatArray, classes: FloatArray, features: FloatArray
) -> FloatArray:
    means: FloatArray = unwrap(on.mean_squares(wrap(theta), wrap(classes), wrap(features)))
    return means


def _gradient_of(on: HeadObjective, theta: FloatArray, weights: FloatArray) -> FloatArray:
    gradient: FloatArray = unwrap(on.gradient_of(wrap(theta), wrap(weights)))
    return gradient


def _longest(on: HeadObjective) -> float:
    return on.longest()


def _curvature_along(on: HeadObjective, theta: FloatArray, direction: FloatArray) -> FloatArray:
    along: FloatArray = unwrap(on.curvature_along(wrap(theta), wrap(direction)))
    return along


def _digest(on: HeadObjective | None) -> bytes:
    digest = hashlib.sha256()
    for array in () if on is None else on.X.arrays():
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
