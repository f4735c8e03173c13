"""Train the head to the minimum that influence functions assume."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from subsetsel.errors import OptionError
from subsetsel.influence.device import head_device
from subsetsel.influence.head.data import (
    check_choices,
    check_features,
    check_l2,
    check_lengths,
    check_weights,
)
from subsetsel.influence.head.feature_shards import FeatureShards
from subsetsel.influence.head.head import Head
from subsetsel.influence.head.inverse import InverseKind
from subsetsel.influence.head.labels import encode_labels
from subsetsel.influence.head.losses import OBJECTIVES, Loss, SquaredObjective
from subsetsel.influence.head.newton import (
    Minimum,
    approach,
    minimize,
    minimize_by_products,
)
from subsetsel.influence.head.objective import HeadObjective
from subsetsel.influence.head.setting import Setting
from subsetsel.influence.head.sharded import objective_in_shards
from subsetsel.support.clock import NO_CLOCK, Clock
from subsetsel.support.threads import by_blocks

# Heads with more parameters are polished without building their Hessian. In shards the products
# that take its place are rounds: of 60,000 x 785 features and ten classes, 7,065 parameters, 383 of
# them, and about as many processor seconds (75) as the Hessian and its factor took in one (64).
_MAX_FACTORED_POLISH, _MAX_FACTORED_IN_SHARDS = 1500, 7500


@by_blocks()
def fit_head(
    X: Any,
    y: Any,
    *,
    l2: float,
    num_classes: int | None = None,
    theta: ArrayLike | None = None,
    loss: Loss = "cross_entropy",
    sample_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    penalize_bias: bool = True,
    inverse: InverseKind = "auto",
    device: str = "auto",
    tolerance: float = 1e-10,
    clock: Clock = NO_CLOCK,
) -> Head:
    """Minimize mean_i loss_i + (l2 / 2) ||theta||^2 over linear heads, in float64.

    A network's own head is not at this minimum (augmentation, early stopping); influence computed
    there would carry a constant offset. L-BFGS comes near, Newton steps do the rest.

    Parameters
    ----------
    X : array_like, torch.Tensor, or sparse matrix of shape (n, h)
        Features; a column of ones is appended for the bias, which is penalized like the rest.
        Sparse ones (of SciPy, torch or pandas) are never made dense as a whole, and stay on the
        CPU. Or `FeatureShards`, whose shards hold them in float64, divided by the scale.
    y : array_like of shape (n,)
        Labels, integers or strings.
    l2 : float
        Weight decay, positive.
    num_classes : int, optional
        When some class has no example; integer labels are then the classes themselves.
    theta : array_like of shape (C, h + 1), optional
        Where to start, for example the network's own head.
    loss : {"cross_entropy", "squared"}
        Softmax cross-entropy, or half the squared distance to the one-hot label: then one Newton
        step with the kept Hessian is the refit, for any subset.
    sample_weight : array_like of shape (n,), optional
        Positive weights w_i: the mean of the losses becomes sum w_i loss_i / sum w_i.
    label_smoothing : float
        s in [0, 1): the targets are (1 - s) onehot + s / C.
    penalize_bias : bool
        Whether l2 acts on the bias too, as PyTorch's ``weight_decay`` does. Without it the error
        bounds rest on the curvature that was measured instead of on l2.
    inverse : {"auto", "cholesky", "cg"}
        How the Hessian is solved with: by its factor, or by conjugate gradients where a factor
        would not fit.
    device : str
        ``"auto"`` (CUDA where there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    tolerance : float
        Largest norm of the mean gradient at the result. The search goes on to the level of
        rounding where it can.
    clock : Clock
        Ends the work: `TimeIsUp` is raised.

    Returns
    -------
    Head

    Raises
    ------
    ProblemError
        For bad features, labels or l2; the message names the first.
    OptionError
        For a device that is not there or has no float64.

    Warns
    -----
    RuntimeWarning
        If the gradient stays above both the tolerance and its own rounding error.
    """
    check_choices(loss=loss, inverse=inverse)
    features = X if isinstance(X, FeatureShards) else check_features(X)
    labels, classes = encode_labels(y, num_classes)
    check_lengths(features, labels)
    weights = None if sample_weight is None else check_weights(sample_weight, len(labels))
    setting = Setting(check_l2(l2), len(classes), label_smoothing, penalize_bias, inverse)
    on = _choose_device(device, features)
    objective: HeadObjective
    if isinstance(features, FeatureShards):
        objective = objective_in_shards(features, labels, loss, setting, weights)
    else:
        kind = OBJECTIVES[loss]
        objective = kind.from_arrays(features, labels, setting=setting, weights=weights, device=on)
    timed = objective.timed(clock)
    found = _polish(timed, _start(timed, theta), tolerance)
    head = Head(
        classes=classes,
        labels=labels,
        l2=objective.l2,
        theta=objective.to_user(found.theta),
        gradient_norm=found.evaluation.gradient_norm,
        gradient_error=found.evaluation.gradient_error,
        objective_function=objective,
    )
    if head.gradient_norm > max(tolerance, head.gradient_error):
        warnings.warn(
            f"the head was trained to a mean gradient of norm {head.gradient_norm:.2g} only, not "
            f"{tolerance:.2g}: the data are nearly separable or their columns nearly dependent. "
            "Raise l2 or standardize the features; until then the parameters are certain to "
            f"within {head.error:.2g} only.",
            RuntimeWarning,
            stacklevel=2,
        )
    return head


def _choose_device(name: str, features: Any) -> torch.device:
    """Where the head is trained: of sparse features the CPU."""
    device = head_device(name)
    if isinstance(features, np.ndarray):
        return device
    if name != "auto" and device.type != "cpu" and isinstance(features, FeatureShards):
        raise OptionError(
            f"device {name!r} cannot be used: features in shards are computed with on the CPUs of "
            "the workers; use device='cpu', or X in memory if that fits on the GPU."
        )
    if name != "auto" and device.type != "cpu":
        raise OptionError(
            f"device {name!r} cannot be used: sparse features stay on the CPU; use device='cpu', "
            "or X.toarray() if that fits on the GPU."
        )
    return torch.device("cpu")


def _start(objective: HeadObjective, theta: ArrayLike | None) -> torch.Tensor:
    """Zero or the user's parameters, brought near the minimizer."""
    start = objective.scale.new_zeros((objective.num_classes, objective.q))
    if theta is not None:
        start = objective.project(objective.to_scaled(theta))
    # One Newton step solves the squared loss from anywhere.
    return start if isinstance(objective, SquaredObjective) else approach(objective, start)


def _polish(objective: HeadObjective, start: torch.Tensor, tolerance: float) -> Minimum:
    """Newton's method; products with H give the four digits that a step needs at least cost."""
    most = _MAX_FACTORED_IN_SHARDS if objective.in_shards else _MAX_FACTORED_POLISH
    is_large = objective.block_side > most
    if objective.setting.inverse == "auto" and is_large:
        return minimize_by_products(objective, start, tolerance=tolerance)
    return minimize(objective, start, tolerance=tolerance)
