"""What `select_training` measures: the data, the networks, how long they are trained, how often."""

from __future__ import annotations

from dataclasses import dataclass, field

from subsetsel.experiments.presets import LENET_CPU, SCORER_CPU
from subsetsel.experiments.recipe import Recipe
from subsetsel.selection.composition import Composition

SEARCH, REFEREE, HERDING = "search", "referee", "herding"
RULES = ("random", "class-balanced", "strata", "gentle strata")
JOINT, KEPT_HESSIAN = "joint", "joint, re-linearised"
OTHER_DATA = "cut .1, evenness .5"
"""The rule that is right for Fashion-MNIST."""

FIXED: dict[str, Composition] = {OTHER_DATA: Composition("el2n", hard_cut=0.1, evenness=0.5)}
"""Rules beside the reference rules of the package."""

STRIDED_CPU = Recipe(epochs=None, iterations=1500, batch_size=64, lr=0.05, padding=0)


@dataclass(frozen=True)
class Setting:
    """One table.

    Attributes
    ----------
    name : str
        Of the setting and of its folder.
    data : str
        Folder of the pictures; empty for the made task.
    network, recipe : str, Recipe
        What is trained on what is kept.
    num_kept : tuple of int
    seeds : tuple of int
        They took no part in any search.
    methods : tuple of str
    num_searches : int
        Each has everything it draws to itself, a scorer too, and serves an equal part of the seeds.
    searched_network, searched_recipe : str, Recipe, optional
        Of a search that comes first: what it found is tried with the network itself.
    first_recipe : Recipe, optional
        Where the network is trained on everything first, and goes on with what is kept.
    """

    name: str
    data: str
    network: str
    recipe: Recipe
    num_kept: tuple[int, ...]
    seeds: tuple[int, ...]
    methods: tuple[str, ...]
    num_searches: int = 0
    searched_network: str = ""
    searched_recipe: Recipe | None = None
    first_recipe: Recipe | None = None
    scorer: str = "strided"
    scorer_recipe: Recipe = field(default=SCORER_CPU)


_FMNIST = Setting(
    "fmnist",
    "fashion-mnist",
    "lenet",
    LENET_CPU,
    num_kept=(500, 1000, 2000, 4000, 8000),
    seeds=tuple(range(100, 120)),
    methods=(*RULES, REFEREE),
    num_searches=2,
)
_CIFAR = Setting(
    "cifar",
    "cifar-10-batches-bin",
    "strided",
    STRIDED_CPU,
    num_kept=(2000, 10_000),
    seeds=tuple(range(100, 110)),
    methods=(*RULES, OTHER_DATA, REFEREE),
    num_searches=1,
)
_CONVNET = Setting(
    "convnet",
    "cifar-10-batches-bin",
    "convnet",
    Recipe(epochs=None, iterations=2000, batch_size=64, lr=0.05, padding=4),
    num_kept=(5000, 15_000, 25_000),
    seeds=tuple(range(100, 105)),
    methods=("random", "gentle strata", REFEREE),
    num_searches=1,
    searched_network="strided",
    searched_recipe=STRIDED_CPU,
)
_WARM = Setting(
    "warm",
    "fashion-mnist",
    "lenet",
    Recipe(epochs=None, iterations=300, batch_size=64, lr=0.01, padding=0),
    num_kept=(500, 1000, 2000),
    seeds=tuple(range(100, 110)),
    methods=(*RULES, HERDING, JOINT),
    first_recipe=Recipe(epochs=5, batch_size=64, lr=0.05, padding=0),
)
_MADE = Setting("made", "", "logistic regression", LENET_CPU, (100,), tuple(range(20)), (REFEREE,))

SETTINGS = {one.name: one for one in (_FMNIST, _CIFAR, _CONVNET, _WARM, _MADE)}


@dataclass(frozen=True)
class Cell:
    """One search, or one training on what one method keeps for one seed."""

    num_kept: int
    method: str
    seed: int

    @property
    def key(self) -> str:
        """What is not done twice."""
        return f"{self.num_kept} {self.method} {self.seed}"


def search_of(setting: Setting, seed: int) -> int:
    """Say which search serves a seed: the first the first part of the seeds, and so on."""
    return setting.seeds.index(seed) * setting.num_searches // len(setting.seeds)
