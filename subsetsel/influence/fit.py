"""Train the softmax head to the minimum that influence functions assume."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from numpy.typing import ArrayLike

from subsetsel.errors import OptionError
from subsetsel.influence.data import check_features, check_l2, check_lengths, encode_labels
from subsetsel.influence.head import Head, scale_theta
from subsetsel.influence.newton import approach, minimize
from subsetsel.influence.objective import SoftmaxObjective


def fit_head(
    X: Any,
    y: Any,
    *,
    l2: float,
    num_classes: int | None = None,
    theta: ArrayLike | None = None,
    device: str = "auto",
    tolerance: float = 1e-10,
) -> Head:
    """Minimize mean_i loss_i + (l2 / 2) ||theta||^2 over softmax heads, in float64.

    A network's own head is not at this minimum (augmentation, early stopping); influence computed
    there would carry a constant offset. L-BFGS comes near, Newton steps do the rest.

    Parameters
    ----------
    X : array_like or torch.Tensor of shape (n, h)
        Features; a column of ones is appended for the bias, which is penalized like the rest.
    y : array_like of shape (n,)
        Labels, integers or strings.
    l2 : float
        Weight decay, positive.
    num_classes : int, optional
        When some class has no example; integer labels are then the classes themselves.
    theta : array_like of shape (C, h + 1), optional
        Where to start, for example the network's own head.
    device : str
        ``"auto"`` (CUDA where there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    tolerance : float
        Largest norm of the mean gradient at the result. The search goes on to the level of
        rounding where it can.

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
    features = check_features(X)
    labels, classes = encode_labels(y, num_classes)
    check_lengths(features, labels)
    objective = SoftmaxObjective.from_arrays(
        features,
        labels,
        l2=check_l2(l2),
        num_classes=len(classes),
        device=choose_device(device),
    )
    start = objective.X.new_zeros((objective.num_classes, objective.q))
    if theta is not None:
        start = scale_theta(objective, theta)
        start = start - start.mean(dim=0)
    found = minimize(objective, approach(objective, start), tolerance=tolerance)
    norm, error = found.evaluation.gradient_norm, found.evaluation.gradient_error
    if norm > max(tolerance, error):
        warnings.warn(
            f"the head was trained to a mean gradient of norm {norm:.2g} only, not "
            f"{tolerance:.2g}: the data are nearly separable or their columns nearly dependent. "
            "Raise l2 or standardize the features; until then the parameters are certain to "
            f"within {(norm + error) / objective.l2:.2g} only.",
            RuntimeWarning,
            stacklevel=2,
        )
    return Head(
        classes=classes,
        labels=labels,
        l2=objective.l2,
        theta=(found.theta / objective.scale).cpu().numpy(),
        gradient_norm=norm,
        gradient_error=error,
        objective_function=objective,
    )


def choose_device(device: str) -> torch.device:
    """Find a device that can do float64.

    Parameters
    ----------
    device : str

    Returns
    -------
    torch.device

    Raises
    ------
    OptionError
        If it is unknown, not there, or has no float64.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise OptionError(
            f"device must be 'auto', 'cpu' or 'cuda', got {device!r}: {error}."
        ) from error
    if chosen.type not in {"cpu", "cuda"}:
        raise OptionError(
            f"device {device!r} cannot be used: the head needs float64, which only 'cpu' and "
            "'cuda' have."
        )
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise OptionError(f"device {device!r}: PyTorch sees no CUDA device here; use 'cpu'.")
    return chosen
