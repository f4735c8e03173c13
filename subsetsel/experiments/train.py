"""Training as the paper trains, with its own generators, resumable to the bit."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from subsetsel.errors import FileFormatError, OptionError, ProblemError
from subsetsel.experiments.networks import Classifier
from subsetsel.experiments.pictures import Pictures, augment
from subsetsel.experiments.recipe import Recipe, steps_per_epoch
from subsetsel.support.files import written_whole

_EVALUATION_BATCH = 1000
_SAVED = "subsetsel-training-2"


class Recorder(Protocol):
    """What watches a training; `subsetsel.scores.TrainingRecorder` is one."""

    def update(self, ids: Any, logits: Any, labels: Any) -> Any:
        """Take in the logits of a batch as the network gave them while training."""

    def end_epoch(self) -> Any:
        """Close an epoch."""


@dataclass(frozen=True)
class Trained:
    """What came of a training.

    Attributes
    ----------
    num_steps : int
    train_time : float
        Seconds in steps, without evaluation; of all sittings where it was resumed.
    cpu_time : float
        Seconds of processor time in the same steps, all threads together: what ``train_time``
        would be on one free core. Work that others do, and pauses, are not in it; nor is a GPU.
    loss : float
        Mean training loss of the last epoch.
    is_diverged : bool
        Whether the loss left the finite numbers; training ends there.
    curve : list of (steps, train_time, cpu_time, test accuracy)
        One entry per epoch where that was asked for.
    """

    num_steps: int
    train_time: float
    cpu_time: float
    loss: float
    is_diverged: bool
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
    checkpoint: Path | None = None,
    log: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Trained:
    """Train a network in place.

    Parameters
    ----------
    network : Classifier
        On the device of ``pictures``.
    pictures : Pictures
    recipe : Recipe
    seed : int
        Of the order of the examples and of the augmentation.
    recorder : Recorder, optional
        Given every batch's ids (rows of ``pictures``), logits and labels.
    after_epoch : callable, optional
        Called with the number of epochs done.
    test : Pictures, optional
        Evaluated after every epoch, for `Trained.curve`.
    checkpoint : path, optional
        Written after every epoch; where it exists, training goes on from it and ends at the same
        parameters, to the bit, as without interruption.
    log : path, optional
        CSV with a line per epoch.
    progress : callable, optional
        Called with (steps done, steps in all) after every epoch.

    Returns
    -------
    Trained

    Raises
    ------
    ProblemError
        If there is nothing to train on.
    OptionError
        If a recorder is to be resumed: it has seen only its own sitting.
    FileFormatError
        If the checkpoint is of another training.
    """
    if not len(pictures):
        raise ProblemError("there is no picture to train on.")
    if recorder is not None and checkpoint is not None:
        raise OptionError("a recorder needs the whole training; leave checkpoint out.")
    state = _State(network, recipe, recipe.num_steps(len(pictures)), seed)
    if checkpoint is not None and checkpoint.exists():
        state.load(checkpoint, len(pictures))
    forward: nn.Module = torch.compile(network) if recipe.is_compiled else network  # type: ignore[assignment]
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    while state.step < state.num_steps and not state.is_diverged:
        started, cpu_started = time.perf_counter(), time.process_time()
        _run_epoch(state, forward, pictures, recipe, recorder)
        state.train_time += time.perf_counter() - started
        state.cpu_time += time.process_time() - cpu_started
        state.epoch += 1
        if recorder is not None:
            recorder.end_epoch()
        if after_epoch is not None:
            after_epoch(state.epoch)
        if test is not None:
            state.curve.append((
                state.step,
                state.train_time,
                state.cpu_time,
                evaluate(network, test),
            ))
        if checkpoint is not None:
            state.save(checkpoint, len(pictures))
        if log is not None:
            _write_line(log, state)
        if progress is not None:
            progress(state.step, state.num_steps)
    return Trained(
        state.step, state.train_time, state.cpu_time, state.loss, state.is_diverged, state.curve
    )


class _State:
    """Everything a training depends on from one epoch to the next."""

    def __init__(self, network: Classifier, recipe: Recipe, num_steps: int, seed: int) -> None:
        self.network, self.recipe, self.num_steps, self.seed = network, recipe, num_steps, seed
        self.optimizer = torch.optim.SGD(
            network.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            fused=next(network.parameters()).device.type in {"cpu", "cuda"},
        )
        self.generator = torch.Generator().manual_seed(seed)
        self.step = self.epoch = 0
        self.train_time = self.cpu_time = 0.0
        self.loss, self.is_diverged = math.nan, False
        self.curve: list[tuple[int, float, float, float]] = []

    def set_lr(self) -> None:
        """Cosine over all steps, not reached zero at the last one's start."""
        share = self.step / self.num_steps
        for group in self.optimizer.param_groups:
            group["lr"] = 0.5 * self.recipe.lr * (1 + math.cos(math.pi * share))

    def _about(self, num_examples: int) -> dict[str, Any]:
        return {
            "format": _SAVED,
            "recipe": asdict(self.recipe),
            "seed": self.seed,
            "num_examples": num_examples,
        }

    def save(self, path: Path, num_examples: int) -> None:
        """Write a checkpoint, whole or not at all."""
        with written_whole(path) as part:
            torch.save(
                {
                    "about": self._about(num_examples),
                    "network": self.network.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "generator": self.generator.get_state(),
                    "place": [self.step, self.epoch],
                    "times": [self.train_time, self.cpu_time],
                    "seen": [self.loss, self.is_diverged],
                    "curve": self.curve,
                },
                part,
            )

    def load(self, path: Path, num_examples: int) -> None:
        """Go on where a checkpoint was written."""
        try:
            found = torch.load(path, weights_only=True, map_location="cpu")
            if found["about"] != self._about(num_examples):
                raise FileFormatError(
                    f"{path} is the checkpoint of another training ({found['about']}); delete it "
                    "or name another file."
                )
            self.network.load_state_dict(found["network"])
            self.optimizer.load_state_dict(found["optimizer"])
            self.generator.set_state(found["generator"])
            self.step, self.epoch = found["place"]
            self.train_time, self.cpu_time = found["times"]
            self.loss, self.is_diverged = found["seen"]
            self.curve = [tuple(point) for point in found["curve"]]
        except FileFormatError:
            raise
        except Exception as error:
            # torch.load speaks of a damaged file in half a dozen kinds of exceptions.
            raise FileFormatError(f"{path} is no checkpoint: {error}; delete it.") from error


def _run_epoch(
    state: _State,
    forward: nn.Module,
    pictures: Pictures,
    recipe: Recipe,
    recorder: Recorder | None,
) -> None:
    network = state.network.train()
    total, num_batches = torch.zeros((), device=pictures.labels.device), 0
    for ids in _epoch_order(len(pictures), recipe.batch_size, state.generator):
        if state.step == state.num_steps:
            break
        state.set_lr()
        where = ids.to(pictures.labels.device)
        stored = pictures.bytes[where]
        if recipe.padding:
            stored = augment(stored, recipe.padding, state.generator)
        labels = pictures.labels[where]
        with autocast(pictures, recipe):
            logits = forward(pictures.normalized(stored))
            loss = nn.functional.cross_entropy(logits, labels)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        if recorder is not None:
            recorder.update(ids, logits.detach(), labels)
        total += loss.detach()
        num_batches += 1
        state.step += 1
    # One look at the device an epoch: a look each step would make a GPU wait.
    state.loss = float(total) / num_batches
    state.is_diverged = not math.isfinite(state.loss)
    network.eval()


def _epoch_order(num: int, batch_size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    order = torch.randperm(num, generator=generator)
    for number in range(steps_per_epoch(num, batch_size)):
        yield order[number * batch_size : (number + 1) * batch_size]


def autocast(pictures: Pictures, recipe: Recipe) -> AbstractContextManager[Any]:
    """Where the forward pass of a recipe runs in."""
    if recipe.precision == "float32":
        return nullcontext()
    return torch.autocast(pictures.labels.device.type, dtype=torch.bfloat16)


def outputs(
    network: Classifier, pictures: Pictures
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features and logits in evaluation mode, without augmentation.

    Returns
    -------
    features : ndarray of shape (n, f), float32
    logits : ndarray of shape (n, C), float32
    """
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
    """Share of the pictures that are told right, 0 to 1.

    Returns
    -------
    float
    """
    _, logits = outputs(network, pictures)
    return float(np.mean(logits.argmax(axis=1) == pictures.labels.cpu().numpy()))


def _write_line(path: Path, state: _State) -> None:
    is_new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if is_new:
            writer.writerow(["epoch", "steps", "seconds", "loss"])
        writer.writerow([state.epoch, state.step, f"{state.train_time:.3f}", f"{state.loss:.6f}"])
