"""pyDVL's exact influence beside ours: the same head, the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recording import Stopwatch

from subsetsel.influence import Head

_BATCH = 4096

Array = NDArray[Any]


def compare_with_pydvl(head: Head, S: Array, X: Array, y: Array, watch: Stopwatch) -> None:
    """Let pyDVL's exact method compute the same rows."""
    influence, data, loader = _pydvl(head, X, y)
    with watch.timed("pydvl_fit"):
        influence.fit(loader)
    worst, largest = 0.0, float(np.sqrt(np.square(S, dtype=np.float64).sum(axis=1)).max())
    with watch.timed("pydvl_factors"):
        for start in range(0, len(X), _BATCH):
            rows = slice(start, start + _BATCH)
            factors = influence.influence_factors(*data[rows]).detach().numpy() / len(X)
            worst = max(worst, _largest_difference(head, S[rows], factors))
    watch.note("pydvl_difference", worst / largest)
    for unit in ("time", "cpu_time"):
        ours = sum(float(watch.values[f"{step}_{unit}"]) for step in ("hessian", "S"))
        theirs = sum(float(watch.values[f"pydvl_{step}_{unit}"]) for step in ("fit", "factors"))
        watch.note(f"pydvl_{unit}_ratio", theirs / ours)


def time_pydvl(head: Head, X: Array, y: Array, watch: Stopwatch, num_examples: int) -> None:
    """Time pyDVL on the first examples only, where all of them would take too long."""
    influence, data, loader = _pydvl(head, X[:num_examples], y[:num_examples])
    with watch.timed("pydvl_part_fit"):
        influence.fit(loader)
    with watch.timed("pydvl_part_factors"):
        influence.influence_factors(*data[:num_examples])
    watch.note("pydvl_part_examples", num_examples)


def _pydvl(head: Head, X: Array, y: Array) -> tuple[Any, Any, Any]:
    from pydvl.influence.torch import DirectInfluence  # type: ignore[import-not-found]
    from torch.utils.data import DataLoader, TensorDataset

    model = torch.nn.Linear(X.shape[1], head.num_classes).double()
    with torch.no_grad():
        model.weight.copy_(torch.as_tensor(head.theta[:, :-1].copy()))
        model.bias.copy_(torch.as_tensor(head.theta[:, -1].copy()))
    data = TensorDataset(torch.as_tensor(X, dtype=torch.float64), torch.as_tensor(y))
    influence = DirectInfluence(model, torch.nn.functional.cross_entropy, regularization=head.l2)
    return influence, data, DataLoader(data, batch_size=_BATCH)


def _largest_difference(head: Head, S: Array, factors: Array) -> float:
    """Between our rows and pyDVL's, whose parameters are weights, then biases, of all classes."""
    basis = head.objective_function.basis.cpu().numpy()
    num_weights = head.num_classes * (head.q - 1)
    weights = factors[:, :num_weights].reshape(len(factors), head.num_classes, head.q - 1)
    both = np.concatenate([weights, factors[:, num_weights:, None]], axis=2)
    turned = np.einsum("ca,icq->iaq", basis, both).reshape(len(S), -1)
    return float(np.linalg.norm(turned - S, axis=1).max())
