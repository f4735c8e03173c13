"""The trainings of `select_training`: from random parameters, and near those of everything."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from select_settings import (
    FIXED,
    HERDING,
    KEPT_HESSIAN,
    REFEREE,
    SEARCH,
    Cell,
    Setting,
    search_of,
)

import subsetsel
from subsetsel import scores
from subsetsel.experiments.images import Images
from subsetsel.experiments.networks import Classifier
from subsetsel.experiments.pictures import Pictures
from subsetsel.experiments.recipe import Recipe
from subsetsel.experiments.runs import Record
from subsetsel.experiments.scorer import ScorerSource
from subsetsel.experiments.train import evaluate, outputs, train
from subsetsel.experiments.training import PictureTraining
from subsetsel.experiments.zoo import build_network
from subsetsel.selection.chooser import Chooser
from subsetsel.selection.composition import Composition, reference_rules

HEAD_L2 = 1e-3
# Of a network whose search was made with a smaller one: the fixed rules, and six that were found.
FEW = {"num_trials": 10, "num_confirmations": 3}

Indices = NDArray[np.int64]


class FromScratch:
    """The trainings of one setting.

    Parameters
    ----------
    setting : Setting
    images : Images
    cache_dir : Path
        Where scorers and studies are kept.
    found : callable
        Number of kept examples and of the search -> the composition that came back.
    """

    def __init__(
        self,
        setting: Setting,
        images: Images,
        cache_dir: Path,
        found: Callable[[int, int], Record],
    ) -> None:
        self.setting, self.num_classes, self._found = setting, images.num_classes, found
        self.pictures, self.test = Pictures.of_both(images, torch.device("cpu"))
        self._folder = cache_dir / "select" / setting.name
        self._source = ScorerSource(
            cache_dir / "select" / "scorers",
            setting.scorer,
            setting.scorer_recipe,
            self.pictures,
            self.test,
            self.num_classes,
        )
        # Of one seed at a time: the next has another scorer, and needs its room.
        self._state: tuple[int, Any] = (-1, None)

    def make(self, cell: Cell) -> Record:
        """Do a cell."""
        record = self._search(cell) if cell.method == SEARCH else self._train(cell)
        return {"key": cell.key, **asdict(cell), **record, "date": time.strftime("%Y-%m-%d")}

    def build(self, name: str, seed: int) -> Classifier:
        """Make a network with the parameters of a seed."""
        return build_network(name, self.pictures.shape, self.num_classes, seed)

    def _search(self, cell: Cell) -> Record:
        setting, started = self.setting, time.perf_counter()
        self._folder.mkdir(parents=True, exist_ok=True)
        # A journal knows no recipe: that of another is another file.
        about = hashlib.sha256(repr(setting).encode()).hexdigest()[:8]
        study = self._folder / f"{cell.num_kept}-{cell.seed}-{about}.journal"
        options: dict[str, Any] = {}
        if setting.searched_recipe is not None:
            # A cheap search first: what it found is among few trials of the network itself.
            small = study.with_suffix(".small.journal")
            self._ask(cell, setting.searched_network, setting.searched_recipe, study=small)
            options = {**FEW, "warm_start": small}
        answer = self._ask(cell, setting.network, setting.recipe, study=study, **options)
        stats = {**answer.stats, "study": None}
        return {
            "accuracy": confirmed_score(stats),
            "train_time": time.perf_counter() - started,
            "message": answer.message,
            "stats": stats,
        }

    def _ask(self, cell: Cell, network: str, recipe: Recipe, **options: Any) -> subsetsel.Solution:
        scorer = self._source.scorer(cell.seed)
        answer = subsetsel.select_for_training(
            PictureTraining(self.pictures, lambda seed: self.build(network, seed), recipe),
            difficulty={"el2n": scorer.el2n},
            labels=scorer.labels,
            num_kept=cell.num_kept,
            seed=cell.seed,
            progress=lambda line: print(f"  {line}", flush=True),
            **options,
        )
        return whole(answer)

    def _train(self, cell: Cell) -> Record:
        composition, network = self._composition(cell), self._network(cell.seed)
        started = time.perf_counter()
        kept = self._keep(cell, composition)
        select_time = time.perf_counter() - started
        done = train(network, self.pictures.subset(kept), self.setting.recipe, seed=cell.seed)
        return {
            "accuracy": evaluate(network, self.test),
            "train_time": done.train_time,
            "select_time": select_time,
            "composition": None if composition is None else composition.record(),
            **self._about(cell.seed),
        }

    def _composition(self, cell: Cell) -> Composition | None:
        """Say what a method keeps; None where it is not said by a composition."""
        if cell.method == REFEREE:
            found = self._found(cell.num_kept, search_of(self.setting, cell.seed))
            return Composition.of_record(found["stats"]["composition"])
        n, choices = len(self.pictures), ("draw", "joint")
        rules = reference_rules("el2n", cell.num_kept, n, self.num_classes, choices)
        return (rules | FIXED).get(cell.method)

    def _keep(self, cell: Cell, composition: Composition | None) -> Indices:
        assert composition is not None
        return self._chooser(cell.seed).choose(composition, cell.num_kept, seed=cell.seed)

    def _chooser(self, seed: int) -> Chooser:
        if self._state[0] != seed:
            scorer = self._source.scorer(seed)
            self._state = seed, (Chooser({"el2n": scorer.el2n}, scorer.labels), scorer.accuracy)
        chooser: Chooser = self._state[1][0]
        return chooser

    def _network(self, seed: int) -> Classifier:
        return self.build(self.setting.network, seed)

    def _about(self, seed: int) -> Record:
        self._chooser(seed)
        return {"scorer_accuracy": self._state[1][1]}


def whole(answer: subsetsel.Solution) -> subsetsel.Solution:
    """Give an answer back, but for one that Ctrl-C cut short: that is no result."""
    if answer.limit == "interrupted":
        raise KeyboardInterrupt
    return answer


def confirmed_score(stats: Mapping[str, Any]) -> float:
    """Give the mean score of what a search came back with; NaN where nothing was confirmed."""
    for one in stats["confirmation"]:
        if one["composition"] == stats["composition"]:
            return float(np.mean(one["values"]))
    beside = stats["confirmation"][:1]
    return float(np.mean(beside[0]["random"])) if beside else float("nan")


class Says(Protocol):
    """What a method asks: something trained on everything."""

    labels: Indices

    @property
    def chooser(self) -> Chooser:
        """Of first order."""

    @property
    def kept_chooser(self) -> Chooser:
        """By what refitting does."""

    @property
    def herding(self) -> scores.Score:
        """Within each class."""


class Trained:
    """A network that was trained on everything, and what it says of every example.

    Parameters
    ----------
    network : Classifier
    el2n : ndarray of shape (n,)
    pictures : Pictures
        What it was trained on.
    num_kept : int
        Most that herding is asked for.
    """

    def __init__(
        self,
        network: Classifier,
        el2n: NDArray[np.float64],
        pictures: Pictures,
        num_kept: int,
    ) -> None:
        self.network, self.el2n, self._num_kept = network, el2n, num_kept
        self.labels: Indices = pictures.labels.numpy()
        self.features, _ = outputs(network, pictures)

    def _rows(self, hessian: Any) -> subsetsel.Problem:
        return subsetsel.Problem.from_features(
            self.features, self.labels, l2=HEAD_L2, size=1, hessian=hessian
        )

    @cached_property
    def chooser(self) -> Chooser:
        """First order, on the network's own features."""
        return Chooser({"el2n": self.el2n}, self.labels, self._rows("all"))

    @cached_property
    def kept_chooser(self) -> Chooser:
        """The same, on rows that say what refitting does."""
        return Chooser({"el2n": self.el2n}, self.labels, self._rows("kept"))

    @cached_property
    def herding(self) -> scores.Score:
        """The order of herding within each class; the rest of it would cost more than all else."""
        return scores.herding(self.features, self.labels, num_ranked=self._num_kept)


def ask(
    network: Classifier, pictures: Pictures, recipe: Recipe, *, seed: int, num_kept: int
) -> Trained:
    """Train a network in place, and note what it says: EL2N is the mean over the ends of epochs.

    Parameters
    ----------
    num_kept : int
        Most that herding will be asked for.
    """
    lengths: list[NDArray[np.float64]] = []

    def read_off(_epoch: int) -> None:
        _, logits = outputs(network, pictures)
        shares = softmax(logits.astype(np.float64), axis=1)
        lengths.append(scores.el2n(shares, pictures.labels.numpy()).values)

    train(network, pictures, recipe, seed=seed, after_epoch=read_off)
    return Trained(network, np.mean(lengths, axis=0), pictures, num_kept)


def keep(
    trained: Says, method: str, composition: Composition | None, num_kept: int, seed: int
) -> Indices:
    """Keep what a method or a composition keeps, by what something trained says."""
    if method == HERDING:
        return scores.select(
            trained.herding, num_kept=num_kept, labels=trained.labels, balanced="proportional"
        ).kept
    if method == KEPT_HESSIAN:
        joint = Composition("el2n", choice="joint")
        return trained.kept_chooser.choose(joint, num_kept, seed=seed)
    assert composition is not None
    return trained.chooser.choose(composition, num_kept, seed=seed)


class NearTheta(FromScratch):
    """The network goes on from what it learned of everything, on what is kept alone."""

    def _of(self, seed: int) -> tuple[Trained, float]:
        if self._state[0] != seed:
            assert self.setting.first_recipe is not None
            network, most = self.build(self.setting.network, seed), max(self.setting.num_kept)
            recipe = self.setting.first_recipe
            found = ask(network, self.pictures, recipe, seed=seed, num_kept=most)
            self._state = seed, (found, evaluate(network, self.test))
        state: tuple[Trained, float] = self._state[1]
        return state

    def _network(self, seed: int) -> Classifier:
        return copy.deepcopy(self._of(seed)[0].network)

    def _keep(self, cell: Cell, composition: Composition | None) -> Indices:
        return keep(self._of(cell.seed)[0], cell.method, composition, cell.num_kept, cell.seed)

    def _about(self, seed: int) -> Record:
        return {"accuracy_before": self._of(seed)[1]}
