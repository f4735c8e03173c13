"""From a model and its data set to the head whose examples are pruned."""

from __future__ import annotations

import warnings
from typing import Any, Unpack

import numpy as np
from torch import nn

from subsetsel.influence.features.extract import FeatureOptions, features_from_model
from subsetsel.influence.head.fit import fit_head
from subsetsel.influence.head.head import Head


def head_from_model(
    model: nn.Module,
    dataset: Any,
    *,
    l2: float,
    device: str = "auto",
    **features: Unpack[FeatureOptions],
) -> Head:
    """Fit the head of a model to the features it makes of a data set.

    The model's own classifier is where the fit starts. It is not at the minimum that influence
    speaks of (augmentation, early stopping, momentum), so it is brought there.

    Parameters
    ----------
    model : torch.nn.Module
        Given back as it was.
    dataset : Dataset or DataLoader
        Not shuffled, without random augmentation.
    l2 : float
        Weight decay of the objective, the one the model was trained with.
    device : str
        Where the model runs; the algebra runs on the same device, or on the CPU where that has no
        float64.
    **features
        Options of `features_from_model`: ``classifier``, ``pooling``, ``batch_size``,
        ``num_workers``, ``precision``, ``cache_dir``, ``progress``, ``labels``, ``inputs``.

    Raises
    ------
    ProblemError
        For a model, data set or l2 that makes no sense; the message names it.

    Warns
    -----
    RuntimeWarning
        If the model's own classifier is further from the minimizer than zero would be, or the
        features of an example depend on the others in its batch.
    FormulationWarning
        If the classifier that is named does not give what the model returns.
    """
    found = features_from_model(model, dataset, device=device, **features)
    head = fit_head(
        found.X,
        found.y,
        l2=l2,
        num_classes=found.num_classes,
        theta=found.theta,
        device="cpu" if device.startswith("mps") else device,
    )
    if found.theta is not None:
        own = found.theta - found.theta.mean(axis=0)
        distance = float(np.linalg.norm(own - head.theta))
        if distance > head.theta_norm:
            warnings.warn(
                f"the model's own classifier {found.classifier!r} is {distance:.3g} away from the "
                f"minimizer of the objective with l2 = {l2:g}, whose norm is {head.theta_norm:.3g}:"
                " the influence is that of the refitted head, not of the model as it stands. Is l2 "
                "the weight decay it was trained with?",
                RuntimeWarning,
                stacklevel=2,
            )
    return head
