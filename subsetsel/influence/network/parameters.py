"""S for any parameters of a network: approximate, since a network is no convex head."""

from __future__ import annotations

import copy
import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from subsetsel.errors import ProblemError
from subsetsel.influence.device import algebra_device, feature_device
from subsetsel.influence.features.batches import OrderedData
from subsetsel.influence.features.items import Names
from subsetsel.influence.features.running import plain
from subsetsel.influence.head.choose_inverse import choose_inverse
from subsetsel.influence.head.data import check_choices, check_l2
from subsetsel.influence.head.formula import Ridge
from subsetsel.influence.head.inverse import InverseKind, Metric
from subsetsel.influence.head.rows import Storage, store_rows
from subsetsel.influence.network.curvature import Curvature, make_solver, walk_through
from subsetsel.influence.network.network import Network, choose_parameters
from subsetsel.influence.network.rows import NetworkInfluence
from subsetsel.rows import Rows
from subsetsel.rows.base import IndexArray
from subsetsel.support.clock import NO_CLOCK, Clock

# The user is warned if the Newton step that is left exceeds this share of ||theta||.
_FAR = 0.1


@dataclass(frozen=True, eq=False)
class ParameterInfluence:
    """S of chosen parameters of a network, and what belongs to it.

    Attributes
    ----------
    rows : Rows
        Shape (n, d); ``rows.approximation`` says what is approximate.
    labels : ndarray of shape (n,), int64
    names : tuple of str
        The parameters, in the order of the columns.
    theta_norm : float
        ||theta||_2 of the chosen parameters.
    step : float
        Norm of the Newton step that is left: 0 at a minimum, where alone influence is exact.
    """

    rows: Rows
    labels: IndexArray
    names: tuple[str, ...]
    theta_norm: float
    step: float


def parameter_influence(
    model: nn.Module,
    dataset: Any,
    *,
    l2: float,
    parameters: Any,
    curvature: Curvature = "gauss-newton",
    damping: float = 0.0,
    ridge: Ridge = "included",
    metric: Metric = "parameter",
    inverse: InverseKind = "auto",
    storage: Storage = "auto",
    dtype: Any = np.float32,
    device: str = "auto",
    batch_size: int | None = None,
    num_workers: int | None = None,
    labels: Names = None,
    inputs: Names = None,
    clock: Clock = NO_CLOCK,
) -> ParameterInfluence:
    """First-order influence on any parameters of a classifier trained with cross-entropy.

    Gradients come from `torch.func` in the model's own precision, curvature and solves are in
    float64. What is approximate: the Gauss-Newton matrix stands for the Hessian, the parameters are
    at no exact minimum, and the loss is not convex, so that nothing here can be certified by a
    refit.

    Parameters
    ----------
    model : torch.nn.Module
        Copied, in eval mode; returns logits or an object with ``.logits``. One logit per example
        tells two classes apart.
    dataset : Dataset or DataLoader
        Not shuffled, without random augmentation.
    l2 : float
        Weight decay on the chosen parameters.
    parameters : str or iterable of str
        Names of parameters, or of modules that own them; ``""`` for all. All others are constants.
    curvature : {"gauss-newton", "hessian"}
        ``"hessian"`` needs a factor, and fails where it is not positive definite.
    damping : float
        Added to the curvature only, not to the gradients.
    ridge : {"included", "excluded"}
    metric : {"parameter", "loss"}
    inverse : {"auto", "cholesky", "cg"}
        A factor up to about 20,000 parameters, by memory; beyond, conjugate gradients on products
        with the Gauss-Newton matrix, preconditioned by its exact diagonal.
    storage : {"auto", "dense", "factored"}
    dtype : numpy dtype
    device : str
    batch_size, num_workers : int, optional
    labels, inputs : optional
        Which items or keys of a batch they are; see `features_from_model`.
    clock : Clock
        Ends the work: `TimeIsUp` is raised, between two batches of examples.

    Returns
    -------
    ParameterInfluence

    Raises
    ------
    ProblemError
        For unknown parameters, a model that returns no logits or whose examples depend on each
        other or on chance, bad data, or a curvature that is not positive definite.
    OptionError
        For an unknown setting.

    Warns
    -----
    RuntimeWarning
        If the Newton step that is left is more than a tenth of ||theta||, or the logits depend on
        how a batch is padded.

    References
    ----------
    Martens, New Insights and Perspectives on the Natural Gradient Method, JMLR 21, 2020.
    """
    check_choices(curvature=curvature, ridge=ridge, metric=metric, storage=storage)
    shift = check_l2(l2) + _check_damping(damping)
    data = OrderedData(
        dataset, batch_size=batch_size, num_workers=num_workers, labels=labels, inputs=inputs
    )
    network = _make_network(model, data, parameters, device)
    theta = network.theta
    kind = choose_inverse(inverse, len(theta), algebra_device(network.device))
    if kind == "cg" and (curvature == "hessian" or metric == "loss"):
        raise ProblemError(
            f"curvature='hessian' and metric='loss' need a factor, and {len(theta):,} parameters "
            "are too many for one here; choose fewer parameters, or curvature='gauss-newton' with "
            "metric='parameter'."
        )
    passed = walk_through(network, curvature if kind == "cholesky" else "diagonal", clock=clock)
    solver = make_solver(network, passed.curvature, shift, clock=clock)
    gradient = passed.gradient + l2 * theta.to(passed.gradient)
    step = float(solver.solve(gradient[:, None], clock=clock).norm())
    theta_norm = float(theta.norm())
    if step > _FAR * theta_norm:
        warnings.warn(
            f"the chosen parameters are not at a minimum of the objective with l2 = {l2:g}: the "
            f"Newton step left is {step:.3g}, ||theta|| is {theta_norm:.3g}. S still says how far "
            "examples pull, but not where retraining would end. Train further, or use the head "
            "alone, which is brought to its minimum (no parameters=).",
            RuntimeWarning,
            stacklevel=2,
        )
    constant = l2 * theta if ridge == "included" else None
    influence = NetworkInfluence(network, solver, metric, constant)
    rows = store_rows(influence, dtype, storage, clock=clock)
    matrix = "Hessian" if curvature == "hessian" else "Gauss-Newton matrix"
    rows.approximation = (
        f"first-order influence on {len(theta):,} parameters of a network, by its {matrix}; the "
        f"Newton step left is {step / max(theta_norm, 1e-300):.2g} of ||theta||"
    )
    return ParameterInfluence(rows, passed.labels, network.names, theta_norm, step)


def _make_network(model: Any, data: OrderedData, parameters: Any, device: str) -> Network:
    """Copy a model onto the device, and check it and the data before anything is computed."""
    if not isinstance(model, nn.Module):
        raise ProblemError(f"model must be a torch.nn.Module, got {type(model).__name__}.")
    model = plain(model)
    names = choose_parameters(model, parameters)
    data.fingerprint()
    where = feature_device(device)
    # The caller's model may be trained on while factored rows are still in use.
    network = Network(copy.deepcopy(model).to(where).eval(), data, names, where)
    network.check()
    return network


def _check_damping(damping: Any) -> float:
    value = float(damping)
    if not 0 <= value < math.inf:
        raise ProblemError(f"damping must be at least 0 and finite, got {damping!r}.")
    return value
