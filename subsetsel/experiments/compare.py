"""Train a scorer, choose by every method, retrain on what is kept, over seeds; resumable."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from subsetsel.errors import OptionError
from subsetsel.experiments.cost import Cost, measure_pace
from subsetsel.experiments.images import Images
from subsetsel.experiments.methods import METHODS, TWO_SCORERS, Indices, Selector
from subsetsel.experiments.pictures import Pictures
from subsetsel.experiments.recipe import Recipe
from subsetsel.experiments.runs import Record, RunLog
from subsetsel.experiments.scorer import Scorer, cached_scorer, scorer_path
from subsetsel.experiments.train import Trained, evaluate, train
from subsetsel.experiments.zoo import build_network
from subsetsel.influence.device import algebra_device
from subsetsel.support.records import sha256_of_array

WHOLE = "whole"
"""The method that prunes nothing: what there is to lose."""

COLUMNS = (
    "network",
    "method",
    "num_kept",
    "seed",
    "accuracy",
    "loss",
    "num_steps",
    "train_time",
    "cpu_time",
    "select_time",
    "is_diverged",
    "scorer_accuracy",
    "kept_digest",
)


@dataclass(frozen=True)
class Plan:
    """A comparison.

    Parameters
    ----------
    data : str
        Name of the data set, for reports.
    scorer : str
        Network that is asked; trained on everything by ``scorer_recipe``.
    networks : tuple of str
        Networks trained on what is kept, by ``recipe``.
    methods : tuple of str
        Keys of `METHODS`, or ``"whole"``.
    num_kept : tuple of int
        Budgets.
    seeds : tuple of int
        Each is a seed of the scorer, of the choice and of the training: all three are drawn anew,
        and every method at that seed shares scorer, initial parameters and order of batches.
    is_balanced : bool
        Whether scores rank within classes.
    is_scorer_shared : bool
        Whether one scorer, of seed 0, serves all seeds.
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
    is_balanced: bool = False
    is_scorer_shared: bool = False
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
    """List the trainings of a plan, seed by seed, so that an early stop leaves whole seeds.

    Parameters
    ----------
    plan : Plan
    n : int
        Number of training examples.

    Yields
    ------
    Cell
    """
    for seed in plan.seeds:
        for method in plan.methods:
            for num_kept in (n,) if method == WHOLE else plan.num_kept:
                for network in plan.networks:
                    yield Cell(network, method, num_kept, seed)


class Comparison:
    """A plan with its data, its device and its folder.

    Parameters
    ----------
    plan : Plan
    images : Images
    folder : Path
        Finished runs in it are not repeated.
    device : torch.device
    cache : Path, optional
        Where trained scorers are kept; by default a folder ``scorers`` in ``folder``.
    """

    def __init__(
        self,
        plan: Plan,
        images: Images,
        folder: Path,
        device: torch.device,
        *,
        cache: Path | None = None,
    ) -> None:
        self.plan, self.num_classes = plan, images.num_classes
        self.pictures = Pictures.of(images.train, images.train_labels, device)
        self.test = Pictures.of(images.test, images.test_labels, device, like=self.pictures)
        self.log = RunLog(folder, plan.common)
        self._cache = folder / "scorers" if cache is None else cache
        self._selector: Selector | None = None
        self._choices: dict[tuple[str, int], tuple[Indices, float]] = {}

    def open_cells(self) -> list[Cell]:
        """List the trainings that are still to be done."""
        return [cell for cell in cells(self.plan, len(self.pictures)) if cell.key not in self.log]

    def cost(self) -> Cost:
        """Estimate what is still to be done.

        Returns
        -------
        Cost
        """
        plan, todo = self.plan, self.open_cells()
        items: dict[str, float] = {}
        asking = [cell for cell in todo if cell.method != WHOLE]
        seeds = {plan.scorer_seed(cell.seed) for cell in asking}
        seeds |= {plan.scorer_seed(c.seed) ^ 1 for c in asking if c.method in TWO_SCORERS}
        num_scorers = sum(not self._scorer_path(seed).exists() for seed in seeds)
        if num_scorers:
            pace = measure_pace(plan.scorer, self.pictures, self.num_classes, plan.scorer_recipe)
            num_steps = plan.scorer_recipe.num_steps(len(self.pictures))
            num_reads = -(-num_steps * plan.scorer_recipe.batch_size // len(self.pictures))
            each = num_steps * pace.step_time + num_reads * len(self.pictures) * pace.reading_time
            items[f"{num_scorers} scorers ({plan.scorer}, {num_steps} steps)"] = num_scorers * each
        for name in plan.networks:
            mine = [cell for cell in todo if cell.network == name]
            if not mine:
                continue
            pace = measure_pace(name, self.pictures, self.num_classes, plan.recipe)
            num_steps = sum(plan.recipe.num_steps(cell.num_kept) for cell in mine)
            reading = len(mine) * len(self.test) * pace.reading_time
            what = f"{len(mine)} trainings of {name}, {num_steps} steps of {pace.step_time:.4f} s"
            items[what] = num_steps * pace.step_time + reading
        return Cost(items, "the choices themselves come on top: seconds to a minute each")

    def run(self, say: Callable[[str], None] = print) -> list[Record]:
        """Do what is still to be done.

        Parameters
        ----------
        say : callable
            Given one line per finished training.

        Returns
        -------
        list of dict
            All runs of the folder.
        """
        self.log.fill(self.open_cells(), self._train, say)
        self.log.write_csv(COLUMNS)
        return self.log.records

    def _train(self, cell: Cell) -> Record:
        kept, select_time = self._choose(cell)
        device = self.pictures.labels.device
        network = build_network(cell.network, self.pictures.shape, self.num_classes, cell.seed)
        trained: Trained = train(
            network.to(device),
            self.pictures.subset(kept),
            self.plan.recipe,
            seed=cell.seed,
            test=self.test if self.plan.has_curve else None,
        )
        return {
            "key": cell.key,
            **asdict(cell),
            "accuracy": evaluate(network, self.test),
            **asdict(trained),
            "select_time": select_time,
            "scorer_accuracy": self._selector.scorer.accuracy if self._selector else None,
            "kept_digest": sha256_of_array(kept)[:16],
        }

    def _choose(self, cell: Cell) -> tuple[Indices, float]:
        if cell.method == WHOLE:
            return np.arange(cell.num_kept, dtype=np.int64), 0.0
        if self._selector is None or self._selector.seed != cell.seed:
            self._selector, self._choices = self._new_selector(cell.seed), {}
        about = cell.method, cell.num_kept
        if about not in self._choices:
            started = time.perf_counter()
            kept = self._selector.choose(*about)
            self._choices[about] = kept, time.perf_counter() - started
        return self._choices[about]

    def _new_selector(self, seed: int) -> Selector:
        mine = self.plan.scorer_seed(seed)
        needs_two = not TWO_SCORERS.isdisjoint(self.plan.methods)
        # Seeds lend each other their scorers in pairs: 0 and 1, 2 and 3, ...
        second = self.scorer(mine ^ 1) if needs_two else None
        return Selector(
            self.scorer(mine),
            seed=seed,
            second=second,
            is_balanced=self.plan.is_balanced,
            num_proposals=self.plan.num_proposals,
            device=str(algebra_device(self.pictures.labels.device)),
        )

    def scorer(self, seed: int) -> Scorer:
        """Train the scorer of a seed, or read it from the cache.

        Returns
        -------
        Scorer
        """
        plan = self.plan
        return cached_scorer(
            self._cache,
            plan.scorer,
            self.pictures,
            self.test,
            self.num_classes,
            plan.scorer_recipe,
            seed,
        )

    def _scorer_path(self, seed: int) -> Path:
        plan = self.plan
        return scorer_path(self._cache, plan.scorer, self.pictures, plan.scorer_recipe, seed)
