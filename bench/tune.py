"""Trains a part of a pre-trained network, and a new last layer on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pretrained_body import Indices, Part

_AT_ONCE = 16


@dataclass(frozen=True)
class Way:
    """How it is trained: AdamW without weight decay, rates that fall along a cosine.

    Attributes
    ----------
    lr, head_lr : float
        Rates of the first step: of the part, and of the last layer, which starts from zeros.
    passes : float
        How often each example that is kept is seen, unless that is too few or too many steps.
    min_steps, max_steps : int
    batch_size : int
    """

    lr: float
    head_lr: float
    passes: float
    min_steps: int
    max_steps: int
    batch_size: int = 16

    def num_steps(self, num_kept: int) -> int:
        """How many steps a training has."""
        wanted = math.ceil(self.passes * num_kept / self.batch_size)
        return min(self.max_steps, max(self.min_steps, wanted))


def batches(num: int, num_steps: int, batch_size: int, seed: int) -> list[Indices]:
    """Draw the batches of a training: every example once, then every example again."""
    rng, size = np.random.default_rng(seed), min(num, batch_size)
    drawn = np.concatenate([rng.permutation(num) for _ in range(math.ceil(num_steps * size / num))])
    return [drawn[step * size : (step + 1) * size] for step in range(num_steps)]


def tune(
    part: Part,
    numbers: Indices,
    labels: Indices,
    way: Way,
    *,
    num_classes: int,
    seed: int,
) -> torch.nn.Linear:
    """Train a part in place, on examples of these numbers and labels.

    Returns
    -------
    torch.nn.Linear
        The last layer.
    """
    some = batches(len(numbers), way.num_steps(len(numbers)), way.batch_size, seed)
    with torch.no_grad():
        num_features = part(numbers[:1]).shape[1]
    head = torch.nn.Linear(num_features, num_classes)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    groups = [
        {"params": list(part.parameters()), "lr": way.lr},
        {"params": list(head.parameters()), "lr": way.head_lr},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0, fused=True)
    falling = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / len(some)))
    )
    targets = torch.from_numpy(labels)
    for batch in some:
        loss = torch.nn.functional.cross_entropy(head(part(numbers[batch])), targets[batch])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        falling.step()
    return head


@torch.inference_mode()
def logits_of(part: Part, head: torch.nn.Linear, numbers: Indices) -> NDArray[np.float64]:
    """Give the logits of examples, in float64."""
    parts = [numbers[start : start + _AT_ONCE] for start in range(0, len(numbers), _AT_ONCE)]
    logits: Any = torch.cat([head(part(some)) for some in parts])
    found: NDArray[np.float64] = logits.numpy().astype(np.float64)
    return found


def parameters_of(part: Part) -> torch.Tensor:
    """Copy all parameters into a vector; torch's own function refuses those of channels_last."""
    return torch.cat([one.detach().flatten() for one in part.parameters()])


def moved(part: Part, before: torch.Tensor) -> float:
    """How far the parameters of a part are from what they were, as a share of their length."""
    return float((parameters_of(part) - before).norm() / before.norm())
