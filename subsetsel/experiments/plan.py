"""What a comparison trains: which methods, networks, budgets and seeds, validated once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from subsetsel.errors import OptionError
from subsetsel.experiments.methods import METHODS
from subsetsel.experiments.recipe import Recipe

WHOLE = "whole"
"""The method that prunes nothing: what there is to lose."""


@dataclass(frozen=True)
class Plan:
    """A comparison of methods, or a search for the best network on small proxies (Table 1).

    Parameters
    ----------
    data : str
        Name of the data set, for reports.
    scorer : str
        Network that is asked; trained on everything by ``scorer_recipe``.
    networks : tuple of str
        Networks trained on what is kept, by ``recipe``.
    methods : tuple of str
        Of `METHODS`, or ``"whole"``.
    num_kept : tuple of int
        Budgets.
    seeds : tuple of int
        Each is a seed of the scorer, of the choice and of the training: all three are drawn anew,
        and every method at that seed shares scorer, initial parameters and order of batches.
    whole_recipe : Recipe, optional
        For trainings on everything; by default ``recipe``.
    is_balanced : bool
        Whether scores rank within classes, of which as many each are kept.
    is_scorer_shared : bool
        Whether one scorer, of seed 0, serves all seeds.
    is_halved : bool
        Whether pictures are shrunk first, see `subsetsel.experiments.pictures.halved`.
    validation_share : float
        Of the training half, held out of everything; accuracy is then read on it, and on the test
        half only for networks trained on everything. The same for all seeds.
    num_proposals : int, optional
        Budget of every joint choice; by default the solver's own.
    has_curve : bool
        Whether test accuracy is read after every epoch.

    Raises
    ------
    OptionError
        If a list is empty or a method unknown.
    """

    data: str
    scorer: str
    scorer_recipe: Recipe
    networks: tuple[str, ...]
    recipe: Recipe
    methods: tuple[str, ...]
    num_kept: tuple[int, ...]
    seeds: tuple[int, ...]
    whole_recipe: Recipe | None = None
    is_balanced: bool = False
    is_scorer_shared: bool = False
    is_halved: bool = False
    validation_share: float = 0.0
    num_proposals: int | None = None
    has_curve: bool = False

    def __post_init__(self) -> None:
        for name in ("networks", "methods", "num_kept", "seeds"):
            if not getattr(self, name):
                raise OptionError(f"{name} is empty; give at least one.")
        unknown = [name for name in self.methods if name not in METHODS and name != WHOLE]
        if unknown:
            raise OptionError(
                f"there is no method {unknown[0]!r}; choose among {', '.join([WHOLE, *METHODS])}."
            )

    @property
    def common(self) -> dict[str, Any]:
        """What two plans must share for their runs to lie in one folder."""
        varying = {"networks", "methods", "num_kept", "seeds"}
        return {name: value for name, value in asdict(self).items() if name not in varying}

    def scorer_seed(self, seed: int) -> int:
        """Seed of the scorer that a seed uses."""
        return 0 if self.is_scorer_shared else seed

    def recipe_of(self, method: str) -> Recipe:
        """How networks are trained on what a method keeps."""
        return (method == WHOLE and self.whole_recipe) or self.recipe


@dataclass(frozen=True)
class Cell:
    """One training of a comparison."""

    network: str
    method: str
    num_kept: int
    seed: int

    @property
    def key(self) -> str:
        """What a finished run is found by."""
        return f"{self.network}/{self.method}/{self.num_kept}/{self.seed}"


def cells(plan: Plan, n: int) -> Iterator[Cell]:
    """List the trainings of a plan for n training examples.

    Seed by seed and network by network, so that an early stop leaves whole ones.
    """
    for seed in plan.seeds:
        for network in plan.networks:
            for method in plan.methods:
                for num_kept in (n,) if method == WHOLE else plan.num_kept:
                    yield Cell(network, method, num_kept, seed)
