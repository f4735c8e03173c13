"""Where joint influence serves a network: from staying at theta-hat to starting from scratch."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from data import find_folder
from map_study import EVERYTHING, RANDOM, Asked, Cell, Metric, Study, judged
from scipy.special import log_softmax
from select_networks import (
    HEAD_L2,
    Indices,
    Trained,
    ask,
    confirmed_score,
    keep,
    whole,
)
from select_settings import HERDING, JOINT, KEPT_HESSIAN, REFEREE

import subsetsel
from subsetsel.experiments.cost import measure_pace
from subsetsel.experiments.load import load_images
from subsetsel.experiments.networks import Classifier
from subsetsel.experiments.pictures import Pictures
from subsetsel.experiments.recipe import Recipe
from subsetsel.experiments.runs import Record, RunLog
from subsetsel.experiments.train import evaluate, outputs, train
from subsetsel.experiments.training import PictureTraining, builder
from subsetsel.experiments.zoo import build_network
from subsetsel.selection.composition import Composition, reference_rules

NETWORK, NUM_CLASSES = "lenet", 10
FIRST = Recipe(epochs=5, batch_size=64, lr=0.05, padding=0)
"""How theta-hat is trained on everything."""
BODY = replace(FIRST, epochs=2)
"""How a body is trained to tell apart by how many quarters a picture was turned, without labels."""
FEW: dict[str, Any] = {"num_trials": 16, "num_confirmations": 4}
FRESH = 10_000
"""Added to a seed for the parameters of a fresh network: theta-hat began with those of the seed."""
_SEARCH_SEED, _JUDGED = 1000, 6000

METHODS = (
    EVERYTHING,
    RANDOM,
    "class-balanced",
    HERDING,
    "gentle strata",
    REFEREE,
    JOINT,
    KEPT_HESSIAN,
)
"""Of this study and of those with pre-trained networks."""

Start = Literal["theta-hat", "body", "random"]


@dataclass(frozen=True)
class Way:
    """One way of training on what is kept."""

    start: Start
    lr: float
    num_steps: int

    @property
    def recipe(self) -> Recipe:
        """The way as a recipe."""
        return Recipe(epochs=None, iterations=self.num_steps, batch_size=64, lr=self.lr, padding=0)

    def __str__(self) -> str:
        return f"{self.start}, lr {self.lr:g}, {self.num_steps} steps"


WAYS = {
    str(way): way
    for way in (
        Way("theta-hat", 0.001, 300),
        Way("theta-hat", 0.01, 300),
        Way("theta-hat", 0.05, 300),
        Way("theta-hat", 0.05, 900),
        Way("body", 0.01, 300),
        Way("body", 0.05, 900),
        Way("random", 0.05, 300),
        Way("random", 0.05, 900),
    )
}
# Joint choices of a search near theta-hat: three rules, their repeats, and the confirmations.
_CHOICES_OF_A_SEARCH = 12
# Seconds on one thread of the machine of bench/results/map-validity, of which a step of LeNet took
# so many seconds; another machine's are taken in proportion.
_STEP = 0.0065
_SECONDS = {
    "ask": 40.0,
    "body": 20.0,
    "read": 0.7,
    HERDING: 3.0,
    JOINT: 10.0,
    KEPT_HESSIAN: 55.0,
    "joint in cells": 8.0,
}


class Asker:
    """What one seed has: theta-hat, what it says of every example, and a body.

    Parameters
    ----------
    pictures : Pictures
    seed : int
    num_kept : int
        Most that herding is asked for.
    """

    def __init__(self, pictures: Pictures, seed: int, num_kept: int) -> None:
        self.pictures, self.seed = pictures, seed
        network = build_network(NETWORK, pictures.shape, NUM_CLASSES, seed)
        self.trained: Trained = ask(network, pictures, FIRST, seed=seed, num_kept=num_kept)
        self._kept: dict[tuple[Any, int], Indices] = {}

    @cached_property
    def body(self) -> Classifier:
        """A network that tells turned pictures apart."""
        turned = [torch.rot90(self.pictures.bytes, quarters, (2, 3)) for quarters in range(4)]
        labels = torch.arange(4).repeat_interleave(len(self.pictures))
        four = replace(self.pictures, bytes=torch.cat(turned), labels=labels)
        rng = np.random.default_rng(self.seed)
        # As many pictures as there are, each turned by lot: an epoch stays an epoch.
        number = np.arange(len(self.pictures))
        drawn = number + len(number) * rng.integers(4, size=len(number))
        network = build_network(NETWORK, self.pictures.shape, 4, self.seed)
        train(network, four.subset(drawn), BODY, seed=self.seed)
        return network

    def network(self, start: Start, seed: int) -> Classifier:
        """Make the network that a training starts from; what it draws follows the second seed."""
        if start == "theta-hat":
            return copy.deepcopy(self.trained.network)
        network = build_network(NETWORK, self.pictures.shape, NUM_CLASSES, FRESH + seed)
        if start == "body":
            network.trunk.load_state_dict(self.body.trunk.state_dict())
        return network

    def keep(self, method: str, composition: Composition | None, num_kept: int) -> Indices:
        """Choose once for all cases."""
        key = composition or method, num_kept
        if key not in self._kept:
            self._kept[key] = keep(self.trained, method, composition, num_kept, self.seed)
        return self._kept[key]


class Validity(Study):
    """LeNet on Fashion-MNIST: eight ways of training on what theta-hat says is kept."""

    name = "validity"
    title = "Where joint influence serves a network: LeNet on Fashion-MNIST"
    num_examples = 60_000
    about = (
        "Every method asks the same network, LeNet after five epochs on everything (theta-hat). "
        "LeNet is then trained on what is kept: going on from theta-hat; from a body that was "
        "trained without labels (two epochs of telling apart by how many quarters a picture was "
        "turned) and a new last layer; or from random parameters. lr falls along a cosine; "
        "batches of 64. Distance is the mean distance between the predicted probabilities and "
        "those of theta-hat on test examples; moved is ||theta - theta-hat|| / ||theta-hat||. "
        "There is one search of the referee for each case and number kept, so that the intervals "
        "do not say how much searches vary; near theta-hat it judges on 6,000 pictures that its "
        "theta-hat has not seen, the same in every training."
    )
    asked = Asked(
        cases=tuple(WAYS),
        methods=(*METHODS, "joint in cells"),
        num_kept=(500, 1000, 4000),
        seeds=tuple(range(10)),
    )
    metrics: ClassVar[dict[str, Metric]] = {
        "loss": Metric("test loss"),
        "distance": Metric("distance"),
        "moved": Metric("moved"),
    }
    settings: ClassVar[dict[str, Any]] = {
        "network": NETWORK,
        "first": asdict(FIRST),
        "body": asdict(BODY),
        "ways": {name: asdict(way.recipe) for name, way in WAYS.items()},
        "head_l2": HEAD_L2,
        "searches": {**FEW, "judged": _JUDGED},
        "fresh": FRESH,
    }

    def __init__(self, log: RunLog, data_dir: Path | None, cache_dir: Path) -> None:
        super().__init__(log, data_dir, cache_dir)
        images = load_images(find_folder("fashion-mnist", data_dir))
        self.pictures, self.test = Pictures.of_both(images, torch.device("cpu"))
        # Of one seed at a time.
        self._asker: Asker | None = None

    def _asker_of(self, seed: int) -> Asker:
        if self._asker is None or self._asker.seed != seed:
            self._asker = Asker(self.pictures, seed, max(self.asked.num_kept))
        return self._asker

    def train(self, cell: Cell) -> Record:
        """Train LeNet on what a method keeps."""
        way, asker = WAYS[cell.case], self._asker_of(cell.seed)
        kept = np.arange(len(self.pictures))
        if cell.method != EVERYTHING:
            kept = asker.keep(cell.method, self._composition(cell), cell.num_kept)
        network = asker.network(way.start, cell.seed)
        train(network, self.pictures.subset(kept), way.recipe, seed=cell.seed)
        return judge(network, self.test, asker.trained.network)

    def _composition(self, cell: Cell) -> Composition | None:
        if cell.method == REFEREE:
            return self.found(cell.case, cell.num_kept)
        rules = reference_rules(
            "el2n",
            cell.num_kept,
            len(self.pictures),
            NUM_CLASSES,
            ("draw", JOINT, "joint in cells"),
        )
        return rules.get(cell.method)

    @cached_property
    def _searcher(self) -> tuple[Asker, Pictures]:
        order = np.random.default_rng(_SEARCH_SEED).permutation(len(self.pictures))
        judged, open_ = np.sort(order[:_JUDGED]), np.sort(order[_JUDGED:])
        asker = Asker(self.pictures.subset(open_), _SEARCH_SEED, max(self.asked.num_kept))
        return asker, self.pictures.subset(judged)

    def search(self, case: str, num_kept: int) -> Record:
        """Ask a referee that has its own theta-hat, and pictures that this has not seen."""
        way, (asker, others) = WAYS[case], self._searcher
        training = PictureTraining(
            asker.pictures, lambda seed: asker.network(way.start, seed), way.recipe
        )

        def train_near(kept: Indices, _held_out: Indices, seed: int) -> float:
            # Theta-hat has seen what is held out.
            network = asker.network("theta-hat", seed)
            train(network, asker.pictures.subset(kept), way.recipe, seed=seed)
            return evaluate(network, others)

        is_near = way.start == "theta-hat"
        answer = subsetsel.select_for_training(
            train_near if is_near else training,
            difficulty={"el2n": asker.trained.el2n},
            labels=asker.trained.labels,
            num_kept=num_kept,
            rows=asker.trained.chooser.problem if is_near else None,
            start="trained" if is_near else "scratch",
            seed=_SEARCH_SEED,
            # Near theta-hat the fixed rules alone are tried.
            **(FEW | {"num_trials": None} if is_near else FEW),
        )
        return searched(answer)

    def costs(self, todo: Sequence[Cell], searches: Sequence[Cell]) -> Mapping[str, float]:
        """Count steps, choices and searches; a few steps are timed."""
        build = builder(NETWORK, self.pictures, NUM_CLASSES)
        step = (
            measure_pace(build, self.pictures, WAYS[todo[0].case].recipe).step_time if todo else 0
        )
        slower = step / _STEP
        seconds = {name: value * slower for name, value in _SECONDS.items()}

        def of_training(case: str) -> float:
            return WAYS[case].num_steps * step + seconds["read"]

        seeds = {cell.seed for cell in todo}
        choices = {(one.seed, one.num_kept, one.method) for one in todo}
        # Fixed rules, repeats and confirmations near theta-hat; a search besides elsewhere.
        num = {case: 25 if way.start == "theta-hat" else 34 for case, way in WAYS.items()}
        of_rows = sum(WAYS[one.case].start == "theta-hat" for one in searches)
        return {
            f"{len(seeds)} seeds: theta-hat and a body": len(seeds)
            * (seconds["ask"] + seconds["body"]),
            f"{len(choices)} choices": sum(seconds.get(method, 0.1) for _, _, method in choices),
            f"{len(todo)} trainings": sum(of_training(one.case) for one in todo),
            f"{len(searches)} searches": bool(searches) * (seconds["ask"] + seconds["body"])
            + sum(num[one.case] * of_training(one.case) for one in searches)
            + of_rows * _CHOICES_OF_A_SEARCH * seconds[JOINT],
        }


def judge(network: Classifier, test: Pictures, other: Classifier) -> Record:
    """Say how well a network does on test examples, and how far it is from another."""
    labels = test.labels.numpy()
    ours, theirs = (
        log_softmax(outputs(one, test)[1].astype(np.float64), axis=1) for one in (network, other)
    )
    flat, there = (
        torch.cat([part.detach().reshape(-1) for part in one.parameters()])
        for one in (network, other)
    )
    return {
        **judged(ours, labels),
        "distance": float(np.mean(np.linalg.norm(np.exp(ours) - np.exp(theirs), axis=1))),
        "moved": float((flat - there).norm() / there.norm()),
        "accuracy_before": float(np.mean(theirs.argmax(axis=1) == labels)),
    }


def searched(answer: subsetsel.Solution) -> Record:
    """Write down what a search came back with."""
    stats = whole(answer).stats
    return {
        "accuracy": confirmed_score(stats),
        "rule": stats["rule"],
        "composition": stats["composition"],
        "num_trainings": stats["num_trainings"],
        "message": answer.message,
        "confirmation": stats["confirmation"],
    }
