"""What an experiment will cost, from a few measured steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from subsetsel.experiments.pictures import Pictures
from subsetsel.experiments.recipe import Recipe
from subsetsel.experiments.train import outputs, train
from subsetsel.experiments.training import Build
from subsetsel.support.text import spoken_time

_WARM_UP, _MEASURED = 3, 8


@dataclass(frozen=True)
class Pace:
    """How fast a network goes on a device.

    Attributes
    ----------
    step_time : float
        Seconds for one step of training.
    reading_time : float
        Seconds for one picture in evaluation.
    """

    step_time: float
    reading_time: float


def measure_pace(build: Build, pictures: Pictures, recipe: Recipe) -> Pace:
    """Take a few steps with a network and time them."""
    device = pictures.labels.device
    network = build(0).to(device)
    few = pictures.subset(np.arange(min(len(pictures), recipe.batch_size)))

    def steps(num: int) -> Callable[[], object]:
        short = replace(recipe, epochs=None, iterations=num)
        return lambda: train(network, few, short, seed=0)

    _timed(steps(_WARM_UP), device)
    step_time = _timed(steps(_MEASURED), device) / _MEASURED
    return Pace(step_time, _timed(lambda: outputs(network, few), device) / len(few))


def _timed(work: Callable[[], object], device: torch.device) -> float:
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


@dataclass(frozen=True)
class Cost:
    """An estimate, item by item.

    Attributes
    ----------
    items : dict
        What -> seconds.
    note : str
        What is not in it.
    """

    items: Mapping[str, float]
    note: str = ""

    @property
    def seconds(self) -> float:
        """All items together."""
        return sum(self.items.values())

    def __str__(self) -> str:
        lines = [f"  {name}: {spoken_time(value)}" for name, value in self.items.items()]
        lines.append(f"estimated cost, from a few measured steps: {spoken_time(self.seconds)}")
        return "\n".join([*lines, *([f"  ({self.note})"] if self.note else [])])
