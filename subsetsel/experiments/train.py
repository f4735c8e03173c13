"""Training as the paper trains, with random generators of its own."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from subsetsel.errors import ProblemError
from subsetsel.experiments.networks import Classifier
from subsetsel.experiments.pictures import Pictures, augment
from subsetsel.experiments.recipe import Recipe, steps_per_epoch

_EVALUATION_BATCH = 1000


class Recorder(Protocol):
    """What watches a training; `subsetsel.scores.TrainingRecorder` is one."""

    def update(self, ids: Any, logits: Any, labels: Any) -> Any:
        """Take in the logits of a batch as the network gave them while training."""

    def end_epoch(self) -> Any:
        """Close an epoch."""


@dataclass
class Trained:
    """What came of a training.

    Attributes
    ----------
    num_steps : int
    train_time : float
        Seconds in steps, without evaluation.
    cpu_time : float
        Seconds of processor time in the same steps, all threads together: what ``train_time``
        would be on one free core. It has no part of a GPU's work.
    loss : float
        Mean training loss of the last epoch.
    is_diverged : bool
        Whether the loss left the finite numbers; training ends there.
    curve : list of (steps, train_time, cpu_time, test accuracy)
        One entry per epoch where that was asked for.
    """

    num_steps: int = 0
    train_time: float = 0.0
    cpu_time: float = 0.0
    loss: float = math.nan
    is_diverged: bool = False
    curve: list[tuple[int, float, float, float]] = field(default_factory=list)


def train(
    network: Classifier,
    pictures: Pictures,
    recipe: Recipe,
    *,
    seed: int,
    recorder: Recorder | None = None,
    after_epoch: Callable[[int], None] | None = None,
    test: Pictures | None = None,
) -> Trained:
    """Train a network in place.

    Parameters
    ----------
    network : Classifier
        On the device of ``pictures``.
    seed : int
        Of the order of the examples and of the augmentation.
    recorder : Recorder, optional
        Given every batch's ids (rows of ``pictures``), logits and labels.
    after_epoch : callable, optional
        Called with the number of epochs done.
    test : Pictures, optional
        Evaluated after every epoch, for `Trained.curve`.

    Raises
    ------
    ProblemError
        If there is nothing to train on.
    """
    if not len(pictures):
        raise ProblemError("there is no picture to train on.")
    training, done = _Training(network, pictures, recipe, seed, recorder), Trained()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    epoch = 0
    while done.num_steps < training.num_steps and not done.is_diverged:
        started, cpu_started = time.perf_counter(), time.process_time()
        num_steps, done.loss = training.run_epoch(training.num_steps - done.num_steps)
        done.is_diverged = not math.isfinite(done.loss)
        done.num_steps += num_steps
        done.train_time += time.perf_counter() - started
        done.cpu_time += time.process_time() - cpu_started
        epoch += 1
        if recorder is not None:
            recorder.end_epoch()
        if after_epoch is not None:
            after_epoch(epoch)
        if test is not None:
            accuracy = evaluate(network, test)
            done.curve.append((done.num_steps, done.train_time, done.cpu_time, accuracy))
    return done


class _Training:
    """One training, with its optimizer, its schedule and its generator of random numbers."""

    def __init__(
        self,
        network: Classifier,
        pictures: Pictures,
        recipe: Recipe,
        seed: int,
        recorder: Recorder | None,
    ) -> None:
        self.network, self.pictures, self.recipe = network, pictures, recipe
        self.recorder, self.num_steps = recorder, recipe.num_steps(len(pictures))
        self.optimizer = torch.optim.SGD(
            network.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            fused=next(network.parameters()).device.type in {"cpu", "cuda"},
        )
        self.cosine = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / self.num_steps))
        )
        self.generator = torch.Generator().manual_seed(seed)

    def run_epoch(self, max_steps: int) -> tuple[int, float]:
        """Take one pass, or the steps that are left; give their number and their mean loss."""
        num, size = len(self.pictures), self.recipe.batch_size
        order = torch.split(torch.randperm(num, generator=self.generator), size)
        batches = order[: min(max_steps, steps_per_epoch(num, size))]
        self.network.train()
        total = torch.zeros((), device=self.pictures.labels.device)
        for ids in batches:
            total += self._step(ids)
        self.network.eval()
        # One look at the device an epoch: a look each step would make a GPU wait.
        return len(batches), float(total) / len(batches)

    def _step(self, ids: torch.Tensor) -> torch.Tensor:
        pictures, recipe = self.pictures, self.recipe
        where = ids.to(pictures.labels.device)
        stored, labels = pictures.bytes[where], pictures.labels[where]
        if recipe.padding:
            stored = augment(stored, recipe.padding, self.generator)
        is_half = recipe.precision == "bfloat16"
        with torch.autocast(where.device.type, dtype=torch.bfloat16, enabled=is_half):
            logits = self.network(pictures.normalized(stored))
            loss = nn.functional.cross_entropy(logits, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.cosine.step()
        if self.recorder is not None:
            self.recorder.update(ids, logits.detach(), labels)
        return loss.detach()


def outputs(
    network: Classifier, pictures: Pictures
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compute features (n, f) and logits (n, C) in evaluation mode, without augmentation."""
    was_training = network.training
    network.eval()
    features, logits = [], []
    with torch.no_grad():
        for start in range(0, len(pictures), _EVALUATION_BATCH):
            made = network.features(pictures.batch(slice(start, start + _EVALUATION_BATCH)))
            features.append(made.float().cpu())
            logits.append(network.classifier(made).float().cpu())
    network.train(was_training)
    return torch.cat(features).numpy(), torch.cat(logits).numpy()


def evaluate(network: Classifier, pictures: Pictures) -> float:
    """Compute the share of the pictures that are classified correctly, 0 to 1."""
    _, logits = outputs(network, pictures)
    return float(np.mean(logits.argmax(axis=1) == pictures.labels.cpu().numpy()))
