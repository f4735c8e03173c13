"""Training a network of pictures as the referee of `subsetsel.select_for_training`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
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
        All of them.
    build : callable
        Seed -> a network with initial parameters drawn from it.
    recipe : Recipe
    """

    pictures: Pictures
    build: Build
    recipe: Recipe

    def __call__(self, kept: Any, held_out: Any, seed: int, budget: float = 1.0) -> float:
        """Train on ``kept`` for a share of the recipe, judge on ``held_out``."""
        network = self.build(seed).to(self.pictures.labels.device)
        recipe = shortened(self.recipe, len(kept), budget)
        done = train(network, self.pictures.subset(kept), recipe, seed=seed)
        return (
            float("nan") if done.is_diverged else evaluate(network, self.pictures.subset(held_out))
        )


def shortened(recipe: Recipe, num_examples: int, budget: float) -> Recipe:
    """Take a share of the steps, along a cosine of their own."""
    if budget == 1.0:
        return recipe
    num_steps = max(1, round(budget * recipe.num_steps(num_examples)))
    return replace(recipe, epochs=None, iterations=num_steps)
