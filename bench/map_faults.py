"""Faults of the data: wrong labels, and a class that is rare. LeNet from scratch, Fashion-MNIST."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from data import find_folder
from map_study import EVERYTHING, RANDOM, Asked, Cell, Metric, Study, judged
from map_validity import FEW, FIRST, FRESH, NETWORK, NUM_CLASSES, searched
from numpy.typing import NDArray
from scipy.special import log_softmax
from select_networks import HEAD_L2, Indices, Trained, ask, keep, whole
from select_settings import JOINT, REFEREE

import subsetsel
from subsetsel.experiments.cost import measure_pace
from subsetsel.experiments.load import load_images
from subsetsel.experiments.pictures import Pictures
from subsetsel.experiments.presets import LENET_CPU
from subsetsel.experiments.recipe import Recipe
from subsetsel.experiments.runs import Record, RunLog
from subsetsel.experiments.train import outputs, train
from subsetsel.experiments.training import builder
from subsetsel.experiments.zoo import build_network
from subsetsel.problem.groups import balanced_limits
from subsetsel.selection.composition import Composition, reference_rules

ASKED: Recipe = replace(FIRST, epochs=3)
"""How the network that is asked is trained on everything, faults and all."""
MEDIAN = "geometric median"
ONE_SEARCH = (
    "There is one search for each case and number kept, so that the intervals do not say how much "
    "searches vary."
)
_SEARCH_SEED = 1000
# Seconds on one quiet thread of the machine of bench/results/map-noise, of which a step of LeNet
# took so many.
_STEP = 0.0065
_SECONDS = {"ask": 30.0, "read": 0.7, JOINT: 10.0}
_NUM_SEARCHED = 34


@dataclass(frozen=True, eq=False)
class Faulty:
    """Training pictures with a fault, and what a network trained on them says.

    Attributes
    ----------
    pictures : Pictures
        With the labels that everybody sees.
    is_odd : ndarray of shape (n,), bool
        The examples that are wrongly labelled, or of the rare class.
    trained : Trained
    """

    pictures: Pictures
    is_odd: NDArray[np.bool_]
    trained: Trained


class FaultStudy(Study):
    """LeNet from scratch on what is kept of data with a fault."""

    metrics: ClassVar[dict[str, Metric]] = {"loss": Metric("test loss")}
    settings: ClassVar[dict[str, Any]] = {
        "network": NETWORK,
        "asked": asdict(ASKED),
        "recipe": asdict(LENET_CPU),
        "head_l2": HEAD_L2,
        "searches": FEW,
        "fresh": FRESH,
    }

    def __init__(self, log: RunLog, data_dir: Path | None, cache_dir: Path) -> None:
        super().__init__(log, data_dir, cache_dir)
        images = load_images(find_folder("fashion-mnist", data_dir))
        self.clean, self.test = Pictures.of_both(images, torch.device("cpu"))
        # Cases are innermost, and searches have a seed of their own: all of both are at hand.
        self.faulty = lru_cache(2 * len(self.asked.cases))(self._ask)

    @abstractmethod
    def spoil(self, case: str, seed: int) -> tuple[Pictures, NDArray[np.bool_]]:
        """Give the pictures with the fault, and which of them are odd."""

    @abstractmethod
    def composition(self, method: str, num_kept: int, n: int) -> Composition | None:
        """Give the composition of a fixed method."""

    def besides(self, guesses: Indices, cell: Cell) -> Record:
        """Measure what belongs to one fault alone."""
        del guesses, cell
        return {}

    def _ask(self, case: str, seed: int) -> Faulty:
        """Spoil the data and ask a network, once for all methods."""
        pictures, is_odd = self.spoil(case, seed)
        network = build_network(NETWORK, pictures.shape, NUM_CLASSES, seed)
        trained = ask(network, pictures, ASKED, seed=seed, num_kept=max(self.asked.num_kept))
        return Faulty(pictures, is_odd, trained)

    def train(self, cell: Cell) -> Record:
        """Train LeNet on what a method keeps."""
        faulty = self.faulty(cell.case, cell.seed)
        kept = self._keep(cell, faulty)
        network = build_network(NETWORK, self.clean.shape, NUM_CLASSES, FRESH + cell.seed)
        train(network, faulty.pictures.subset(kept), LENET_CPU, seed=cell.seed)
        logs = log_softmax(outputs(network, self.test)[1].astype(np.float64), axis=1)
        return {
            **judged(logs, self.test.labels.numpy()),
            "num_odd": int(np.count_nonzero(faulty.is_odd[kept])),
            "share_odd": float(np.mean(faulty.is_odd[kept])),
            **self.besides(logs.argmax(axis=1), cell),
        }

    def _keep(self, cell: Cell, faulty: Faulty) -> Indices:
        n = len(faulty.pictures)
        if cell.method == EVERYTHING:
            return np.arange(n)
        if cell.method == MEDIAN:
            return by_median(faulty.trained, cell.num_kept, cell.seed)
        found = self.composition(cell.method, cell.num_kept, n)
        if cell.method.startswith(REFEREE):
            found = self.found(self.searched_case(cell), cell.num_kept)
        return keep(faulty.trained, cell.method, found, cell.num_kept, cell.seed)

    def ask_referee(
        self, case: str, num_kept: int, score: Callable[[Indices, Indices], float]
    ) -> Record:
        """Search with pictures and faults of a seed of its own.

        Parameters
        ----------
        score : callable
            (labels that the referee sees, guesses) -> what it goes by.
        """
        faulty = self.faulty(case, _SEARCH_SEED)
        pictures = faulty.pictures

        def train_anew(kept: Indices, held_out: Indices, seed: int) -> float:
            network = build_network(NETWORK, pictures.shape, NUM_CLASSES, FRESH + seed)
            train(network, pictures.subset(kept), LENET_CPU, seed=seed)
            others = pictures.subset(held_out)
            guesses = outputs(network, others)[1].argmax(axis=1)
            return score(others.labels.numpy(), guesses)

        answer = subsetsel.select_for_training(
            train_anew,
            difficulty={"el2n": faulty.trained.el2n},
            labels=faulty.trained.labels,
            num_kept=num_kept,
            seed=_SEARCH_SEED,
            **FEW,
        )
        return searched(answer)

    def costs(self, todo: Sequence[Cell], searches: Sequence[Cell]) -> Mapping[str, float]:
        """Count steps, choices and searches; a few steps are timed."""
        build = builder(NETWORK, self.clean, NUM_CLASSES)
        step = measure_pace(build, self.clean, LENET_CPU).step_time if todo else 0.0
        seconds = {name: value * step / _STEP for name, value in _SECONDS.items()}
        each = LENET_CPU.num_steps(1) * step + seconds["read"]
        asked = {(cell.case, cell.seed) for cell in todo}
        joint = [one for one in todo if one.method == MEDIAN or one.method.startswith(JOINT)]
        return {
            f"{len(asked)} networks to ask": len(asked) * seconds["ask"],
            f"{len(joint)} joint choices": len(joint) * seconds[JOINT],
            f"{len(todo)} trainings": len(todo) * each,
            f"{len(searches)} searches": len(searches) * (seconds["ask"] + _NUM_SEARCHED * each),
        }


class Noise(FaultStudy):
    """Some of the labels are wrong, in what is trained on and in what the referee sees."""

    name = "noise"
    title = "Wrong labels: LeNet on Fashion-MNIST, from scratch"
    num_examples = 60_000
    about = (
        "A share of the training labels is replaced by another class, drawn at random. LeNet is "
        "trained on everything for three epochs and asked; a fresh LeNet is then trained on what "
        "is kept, 600 steps of 64, lr 0.05 along a cosine. The referee sees wrong labels too, and "
        "is not told. Test labels are right. The geometric median: in each class, features of "
        "what is kept sum to a multiple of the median of its class, as nearly as a joint choice "
        "finds (rows minus the median, Eq. 4 with an offset). Wrong is the share of the kept "
        "whose label is wrong. " + ONE_SEARCH
    )
    shares: ClassVar[dict[str, float]] = {"0 % wrong": 0.0, "20 % wrong": 0.2, "40 % wrong": 0.4}
    settings: ClassVar[dict[str, Any]] = {**FaultStudy.settings, "shares": shares}
    asked = Asked(
        cases=tuple(shares),
        methods=(
            EVERYTHING,
            RANDOM,
            "class-balanced",
            "gentle strata",
            "strata",
            REFEREE,
            MEDIAN,
            JOINT,
        ),
        num_kept=(1000, 4000),
        seeds=tuple(range(10)),
    )
    metrics: ClassVar[dict[str, Metric]] = {
        **FaultStudy.metrics,
        "share_odd": Metric("wrong, %", "{:.1f}", 100.0),
    }

    def spoil(self, case: str, seed: int) -> tuple[Pictures, NDArray[np.bool_]]:
        """Replace labels by others."""
        labels = self.clean.labels.numpy()
        rng = np.random.default_rng([seed, 1])
        is_wrong = rng.random(len(labels)) < self.shares[case]
        moved = (labels + rng.integers(1, NUM_CLASSES, size=len(labels))) % NUM_CLASSES
        seen = torch.from_numpy(np.where(is_wrong, moved, labels))
        return replace(self.clean, labels=seen), is_wrong

    def composition(self, method: str, num_kept: int, n: int) -> Composition | None:
        """Give one of the fixed rules of the package."""
        return reference_rules("el2n", num_kept, n, NUM_CLASSES, ("draw", JOINT)).get(method)

    def search(self, case: str, num_kept: int) -> Record:
        """Go by accuracy on labels of which some are wrong."""
        return self.ask_referee(case, num_kept, lambda labels, guesses: _share(labels == guesses))


_EQUAL = ", equal classes"
_BY_ACCURACY, _BY_RECALL = "referee by accuracy", "referee by mean recall"


class Unequal(FaultStudy):
    """Of one class there is a hundredth."""

    name = "unequal"
    title = "A rare class: LeNet on Fashion-MNIST, from scratch"
    num_examples = 54_060
    about = (
        "Of one class, another for each seed, 60 of 6,000 examples are there; the other nine are "
        "whole. LeNet is trained on everything for three epochs and asked; a fresh LeNet is then "
        "trained on what is kept, 600 steps of 64, lr 0.05 along a cosine. The test set has as "
        "many of each class, so accuracy is the mean recall of the classes. 'Equal classes' asks "
        "for as many of each class as there are; joint in classes for each class by its share. "
        "One referee goes by accuracy on the unequal held-out part, the other by the mean recall "
        "of its classes; the rare class of both searches is the first. " + ONE_SEARCH
    )
    asked = Asked(
        cases=("one class at 1 %",),
        methods=(
            EVERYTHING,
            RANDOM,
            "random" + _EQUAL,
            "gentle strata",
            "gentle strata" + _EQUAL,
            JOINT,
            "joint in classes",
            "joint" + _EQUAL,
            _BY_ACCURACY,
            _BY_RECALL,
        ),
        num_kept=(1000, 4000),
        seeds=tuple(range(10)),
    )
    metrics: ClassVar[dict[str, Metric]] = {
        **FaultStudy.metrics,
        "recall": Metric("recall of the rare class, %", "{:.1f}", 100.0),
        "num_odd": Metric("kept of it", "{:.0f}"),
    }
    _num_rare = 60
    settings: ClassVar[dict[str, Any]] = {**FaultStudy.settings, "num_rare": _num_rare}

    def spoil(self, case: str, seed: int) -> tuple[Pictures, NDArray[np.bool_]]:
        """Leave 60 of a class."""
        del case
        labels = self.clean.labels.numpy()
        is_rare = labels == seed % NUM_CLASSES
        few = np.random.default_rng([seed, 2]).permutation(np.flatnonzero(is_rare))
        left = np.sort(np.concatenate([few[: self._num_rare], np.flatnonzero(~is_rare)]))
        return self.clean.subset(left), is_rare[left]

    def composition(self, method: str, num_kept: int, n: int) -> Composition | None:
        """Give a rule, with as many of each class where the method says so."""
        name = method.removesuffix(_EQUAL)
        choices = ("draw", JOINT, "joint in classes")
        rule = reference_rules("el2n", num_kept, n, NUM_CLASSES, choices).get(name)
        if rule is None or name == method:
            return rule
        choice = "joint in classes" if rule.is_joint else rule.choice
        return replace(rule, class_balance=1.0, choice=choice)

    def besides(self, guesses: Indices, cell: Cell) -> Record:
        """Measure how many of the rare class are found."""
        rare = cell.seed % NUM_CLASSES
        return {"recall": _share(guesses[self.test.labels.numpy() == rare] == rare)}

    def searched_case(self, cell: Cell) -> str:
        """Name the search by what its referee goes by."""
        return cell.method

    def search(self, case: str, num_kept: int) -> Record:
        """Go by accuracy, or by the mean recall of the classes."""
        scores = {_BY_ACCURACY: lambda labels, guesses: _share(labels == guesses)}
        return self.ask_referee(self.asked.cases[0], num_kept, scores.get(case, _mean_recall))


def _share(is_right: NDArray[np.bool_]) -> float:
    return float(np.mean(is_right))


def _mean_recall(labels: Indices, guesses: Indices) -> float:
    return float(np.mean([_share(guesses[labels == one] == one) for one in np.unique(labels)]))


def by_median(trained: Trained, num_kept: int, seed: int) -> Indices:
    """Keep in each class what has its geometric median as its mean, as nearly as can be found."""
    limits = balanced_limits(trained.labels, size=len(trained.labels) - num_kept)
    kept = []
    for label, (num_pruned, _) in limits.items():
        members = np.flatnonzero(trained.labels == label)
        features = trained.features[members].astype(np.float64)
        rows = features - geometric_median(features)
        # What is kept sums to the sum of all rows minus that of the pruned.
        problem = subsetsel.Problem(-rows, size=num_pruned, offset=rows.sum(axis=0))
        kept.append(members[whole(subsetsel.solve(problem, seed=seed, bound=False)).kept])
    return np.sort(np.concatenate(kept))


def geometric_median(points: NDArray[np.float64], num_steps: int = 50) -> NDArray[np.float64]:
    """Find the point with the smallest sum of distances, by Weiszfeld's iteration."""
    median: NDArray[np.float64] = points.mean(axis=0)
    for _ in range(num_steps):
        weights = 1.0 / np.maximum(np.linalg.norm(points - median, axis=1), 1e-9)
        median = weights @ points / weights.sum()
    return median
