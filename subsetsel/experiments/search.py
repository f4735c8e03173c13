"""The network search of Section 6.5: rank networks on a small proxy of the training set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from subsetsel.errors import OptionError
from subsetsel.experiments.compare import WHOLE
from subsetsel.experiments.cost import Cost, Pace, measure_pace
from subsetsel.experiments.images import Images
from subsetsel.experiments.methods import METHODS, Indices, Selector
from subsetsel.experiments.networks import search_space
from subsetsel.experiments.pictures import Pictures, halved
from subsetsel.experiments.recipe import Recipe
from subsetsel.experiments.runs import Record, RunLog
from subsetsel.experiments.scorer import cached_scorer
from subsetsel.experiments.train import evaluate, train
from subsetsel.experiments.zoo import build_network

COLUMNS = (
    "network",
    "proxy",
    "seed",
    "num_kept",
    "accuracy",
    "test_accuracy",
    "loss",
    "num_steps",
    "train_time",
    "cpu_time",
    "is_diverged",
)
_SHUFFLE_SEED = 0
_VALIDATION_SEED = 0


@dataclass(frozen=True)
class SearchPlan:
    """A network search.

    Parameters
    ----------
    data : str
    scorer : str
    scorer_recipe : Recipe
    networks : tuple of str
        Names of the search space.
    recipe : Recipe
        For the whole training set.
    proxy_recipe : Recipe
        For the proxies.
    num_kept : int
        Size of every proxy; class balanced, as the paper's 100 images a class.
    proxies : tuple of str
        Keys of `subsetsel.experiments.methods.METHODS`, or ``"whole"``.
    is_halved : bool
        Whether pictures are shrunk first, see `subsetsel.experiments.pictures.halved`.
    validation_share : float
        Of the training half, held out of everything; networks are ranked on it. The same for all
        seeds.
    seeds : tuple of int
        Each draws the scorer, the proxies, and all initial parameters anew.
    """

    data: str
    scorer: str
    scorer_recipe: Recipe
    networks: tuple[str, ...]
    recipe: Recipe
    proxy_recipe: Recipe
    num_kept: int
    proxies: tuple[str, ...] = (WHOLE, "random_classes", "herding", "forgetting", "joint_classes")
    is_halved: bool = False
    validation_share: float = 0.1
    seeds: tuple[int, ...] = (0,)

    @staticmethod
    def first(num: int) -> tuple[str, ...]:
        """Names of so many networks, narrow ones first, shuffled within a width.

        The pooled ones come before those without pooling, whose cost is many times as large; a
        fixed shuffle makes any first few a mixture of depths, norms and activations.

        Returns
        -------
        tuple of str

        Raises
        ------
        OptionError
            If there are not so many.
        """
        space = search_space()
        if not 0 < num <= len(space):
            raise OptionError(f"there are {len(space)} networks, {num} were asked for.")
        order = np.random.default_rng(_SHUFFLE_SEED).permutation(len(space))
        ranked = sorted(order, key=lambda i: (space[i].width, space[i].pooling == "none"))
        return tuple(space[i].name for i in ranked[:num])

    def with_networks(self, archs: str) -> Self:
        """Search among other networks.

        Parameters
        ----------
        archs : str
            How many, or names with commas between.

        Returns
        -------
        SearchPlan
        """
        names = self.first(int(archs)) if archs.isdecimal() else tuple(archs.split(","))
        return replace(self, networks=names)

    @property
    def common(self) -> dict[str, Any]:
        """What two plans must share for their runs to lie in one folder."""
        varying = {"networks", "proxies", "seeds"}
        return {name: value for name, value in asdict(self).items() if name not in varying}


@dataclass(frozen=True)
class SearchCell:
    """One training of a search."""

    network: str
    proxy: str
    seed: int

    @property
    def key(self) -> str:
        """What a finished run is found by."""
        return f"{self.network}/{self.proxy}/{self.seed}"


class Search:
    """A plan with its data, its device and its folder.

    Parameters
    ----------
    plan : SearchPlan
    images : Images
    folder : Path
        Finished runs in it are not repeated.
    device : torch.device
    cache : Path, optional
        Where trained scorers are kept; by default a folder ``scorers`` in ``folder``.

    Raises
    ------
    OptionError
        If a proxy is unknown.
    """

    def __init__(
        self,
        plan: SearchPlan,
        images: Images,
        folder: Path,
        device: torch.device,
        *,
        cache: Path | None = None,
    ) -> None:
        unknown = [name for name in plan.proxies if name not in METHODS and name != WHOLE]
        if unknown:
            raise OptionError(
                f"there is no method {unknown[0]!r}; choose among {', '.join([WHOLE, *METHODS])}."
            )
        self.plan, self.num_classes = plan, images.num_classes
        images = halved(images) if plan.is_halved else images
        pictures = Pictures.of(images.train, images.train_labels, device)
        self.test = Pictures.of(images.test, images.test_labels, device, like=pictures)
        order = np.random.default_rng(_VALIDATION_SEED).permutation(len(pictures))
        num_held = round(plan.validation_share * len(pictures))
        self.validation = pictures.subset(np.sort(order[:num_held]))
        self.pictures = pictures.subset(np.sort(order[num_held:]))
        self.log = RunLog(folder, plan.common)
        self._cache = folder / "scorers" if cache is None else cache
        self._kept: dict[int, dict[str, Indices]] = {}

    def open_cells(self) -> list[SearchCell]:
        """List what is still to be trained: seed by seed, network by network."""
        plan = self.plan
        every = (
            SearchCell(network, proxy, seed)
            for seed in plan.seeds
            for network in plan.networks
            for proxy in plan.proxies
        )
        return [cell for cell in every if cell.key not in self.log]

    def cost(self) -> Cost:
        """Estimate what is still to be done.

        Returns
        -------
        Cost
        """
        plan, items = self.plan, dict[str, float]()
        paces: dict[str, Pace] = {}
        for cell in self.open_cells():
            name = cell.network
            if name not in paces:
                paces[name] = measure_pace(name, self.pictures, self.num_classes, plan.recipe)
            is_whole = cell.proxy == WHOLE
            recipe = plan.recipe if is_whole else plan.proxy_recipe
            size = len(self.pictures) if is_whole else plan.num_kept
            num_read = len(self.validation) + is_whole * len(self.test)
            cost = recipe.num_steps(size) * paces[name].step_time
            cost += num_read * paces[name].reading_time
            items[cell.proxy] = items.get(cell.proxy, 0.0) + cost
        return Cost(items, "training the scorers and the choices come on top, if not done yet")

    def run(self, say: Callable[[str], None] = print) -> list[Record]:
        """Train every network on every proxy that is still open.

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

    def _train(self, cell: SearchCell) -> Record:
        plan, is_whole = self.plan, cell.proxy == WHOLE
        mine = self.pictures if is_whole else self.pictures.subset(self._chosen(cell))
        network = build_network(cell.network, self.pictures.shape, self.num_classes, cell.seed)
        network.to(self.pictures.labels.device)
        recipe = plan.recipe if is_whole else plan.proxy_recipe
        trained = train(network, mine, recipe, seed=cell.seed)
        return {
            "key": cell.key,
            **asdict(cell),
            "num_kept": len(mine),
            "accuracy": evaluate(network, self.validation),
            # Networks are chosen on the validation pictures; the test half only judges the chosen.
            "test_accuracy": evaluate(network, self.test) if is_whole else None,
            **asdict(trained),
        }

    def _chosen(self, cell: SearchCell) -> Indices:
        if cell.seed not in self._kept:
            plan = self.plan
            scorer = cached_scorer(
                self._cache,
                plan.scorer,
                self.pictures,
                self.test,
                self.num_classes,
                plan.scorer_recipe,
                cell.seed,
            )
            selector = Selector(scorer, seed=cell.seed, is_balanced=True)
            names = [name for name in plan.proxies if name != WHOLE]
            # Of one seed at a time: the next has another scorer, and needs its room.
            self._kept = {cell.seed: {name: selector.choose(name, plan.num_kept) for name in names}}
        return self._kept[cell.seed][cell.proxy]
