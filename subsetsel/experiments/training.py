"""Training a network of pictures as the referee of `subsetsel.select_for_training`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from subsetsel.experiments.networks import Classifier
from subsetsel.experiments.pictures import Pictures
from subsetsel.experiments.recipe import Recipe
from subsetsel.experiments.train import evaluate, train

Build = Callable[[int], Classifier]


@dataclass(frozen=True, eq=False)
class PictureTraining:
    """Trains a network anew on what is kept; a call gives the accuracy on what is held out.

    Attributes
    ----------
    pictures : Pictures
        All of them. There is no ``budget``: a composition that is right for a few steps is too easy
        for many (docs/networks.md), and the cosine of a short recipe leaves little to save.
    build : callable
        Seed -> a network with initial parameters drawn from it.
    recipe : Recipe
    """

    pictures: Pictures
    build: Build
    recipe: Recipe

    def __call__(self, kept: Any, held_out: Any, seed: int) -> float:
        """Train on ``kept``, judge on ``held_out``."""
        network = self.build(seed).to(self.pictures.labels.device)
        done = train(network, self.pictures.subset(kept), self.recipe, seed=seed)
        if done.is_diverged:
            return float("nan")
        return evaluate(network, self.pictures.subset(held_out))
