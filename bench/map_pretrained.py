"""The map with pre-trained networks: the head alone is trained, the last block too, or all."""

from __future__ import annotations

import hashlib
import json
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from asked_head import AskedHead, Floats, HeadSettings, Task
from map_study import EVERYTHING, Cell, Metric, Study, judged
from map_validity import searched
from pretrained_body import ALL, FROZEN, LAST, Body, Depth, Indices
from scipy.special import log_softmax
from select_settings import HERDING, JOINT, KEPT_HESSIAN, REFEREE, SEARCH
from tune import Way, logits_of, moved, parameters_of, tune

import subsetsel
from subsetsel.experiments.runs import Record
from subsetsel.selection.composition import Composition, reference_rules
from subsetsel.support.files import written_whole

NUM_POOL, NUM_TEST, NUM_JUDGED = 10_000, 1000, 5000
DEPTHS = (
    "Frozen body: that head alone is refitted exactly on what is kept. Otherwise a new head starts "
    "from zeros and is trained together with a part of the body, by AdamW without weight decay, "
    "rates along a cosine, no dropout; rates and steps were chosen on random examples of seed 999. "
    "Everything has the most steps of its case, so it does not see all examples. Distance is the "
    "mean distance between predicted probabilities on test examples and those after training on "
    "everything in the same case; moved is ||theta - theta-hat|| / ||theta-hat|| of the head "
    "where the body is frozen, and elsewhere of the trained part of the body. The referee searches "
    "with the same training on a pool of its own (fixed rules, three confirmations) and judges on "
    "5,000 examples of its own, none of them reserved for tests, 1,000 of them in each training; "
    "all layers take what it found with the last block. One search each: the intervals do not say "
    "how much searches vary. Two seeds have about half of their pools in common, and a fifth to a "
    "quarter of their tests: the intervals are of these data."
)
"""What the two studies have in common, for their pages."""
_SEARCH_SEED, _NUM_CONFIRMATIONS = 1000, 3
# Of a search near theta-hat: fixed rules, repeats, and three confirmations, as counted at 50 kept.
_SEARCHED = 22
_CHOICES_OF_A_SEARCH = 12
_SIDE = 1024


@dataclass(frozen=True)
class Costs:
    """Seconds of one thread of the machine of the results.

    Attributes
    ----------
    product : float
        Of a product of two matrices of side 1024 in float32, to compare machines by.
    states : float
        Of the pass through the lower blocks.
    head : float
        Of theta-hat with its rows, once for each seed and task.
    refit : float
        Of a head on what is kept.
    joint, herding, linearised : float
        Of a choice.
    seen, read : dict
        Of an example in training, and in a test: depth -> seconds.
    """

    product: float
    states: float
    head: float
    refit: float
    joint: float
    herding: float
    linearised: float
    seen: Mapping[Depth, float]
    read: Mapping[Depth, float]


class Pretrained(Study):
    """Eight methods, three depths, and one or several tasks; `Text` and `PretrainedPictures`."""

    num_examples = NUM_POOL
    metrics: ClassVar[dict[str, Metric]] = {
        "loss": Metric("test loss"),
        "distance": Metric("distance"),
        "moved": Metric("moved"),
    }
    ways: ClassVar[Mapping[Depth, Way]]
    head: ClassVar[HeadSettings]
    spent: ClassVar[Costs]

    # Of one seed at a time.
    _seed: int | None = None
    _heads: dict[str, AskedHead]

    @cached_property
    @abstractmethod
    def body(self) -> Body:
        """The pre-trained network, with what its lower blocks give."""

    @cached_property
    @abstractmethod
    def tasks(self) -> Mapping[str, Task]:
        """Name -> what is told apart; the name stands before the depth in a case, or is empty."""

    def train(self, cell: Cell) -> Record:
        """Train on what a method keeps."""
        task, depth = depth_of(cell.case)
        asked = self._asked_of(task, cell.seed)
        kept = np.arange(NUM_POOL)
        if cell.method != EVERYTHING:
            kept = asked.keep(cell.method, self._composition(cell), cell.num_kept, cell.seed)
        ours, far = self._trained(asked, depth, kept, cell.seed)
        return judge(ours, asked.other_labels, self._theirs(asked, cell, ours)) | {"moved": far}

    def _asked_of(self, task: str, seed: int) -> AskedHead:
        if self._seed != seed:
            self._seed, self._heads = seed, {}
        if task not in self._heads:
            one, rng = self.tasks[task], np.random.default_rng(seed)
            pool = np.sort(rng.choice(one.open, NUM_POOL, replace=False))
            test = np.sort(rng.choice(one.reserved, NUM_TEST, replace=False))
            self._heads[task] = self._ask(one, pool, test)
        return self._heads[task]

    def _ask(self, task: Task, pool: Indices, others: Indices) -> AskedHead:
        features, settings = self.body.features, self.head
        return AskedHead(features, task.labels, pool, others, task.num_classes, settings=settings)

    def _trained(
        self, asked: AskedHead, depth: Depth, kept: Indices, seed: int, few: Any = slice(None)
    ) -> tuple[Floats, float]:
        """Train; give the log-probabilities of others, and how far parameters have moved."""
        if depth == FROZEN:
            whole = asked.head
            fitted = whole if len(kept) == NUM_POOL else asked.fit(kept)
            far = float(np.linalg.norm(fitted.theta - whole.theta)) / whole.theta_norm
            return asked.judge(fitted)[few], far
        part = self.body.part(depth)
        before = parameters_of(part)
        head = tune(
            part,
            asked.pool[kept],
            asked.labels[kept],
            self.ways[depth],
            num_classes=asked.num_classes,
            seed=seed,
        )
        logits = logits_of(part, head, asked.others[few])
        return log_softmax(logits, axis=1), moved(part, before)

    def _theirs(self, asked: AskedHead, cell: Cell, ours: Floats) -> Floats:
        """Give the log-probabilities of what was trained on everything, anew if they are gone."""
        depth = depth_of(cell.case)[1]
        if depth == FROZEN:
            return asked.judge(asked.head)
        about = json.dumps([self.name, self.settings, cell.case, cell.seed])
        digest = hashlib.sha256(about.encode()).hexdigest()[:16]
        path = self.cache_dir / "everything" / f"{digest}.npy"
        if cell.method == EVERYTHING:
            with written_whole(path) as part:
                np.save(part, ours)
        elif not path.exists():
            self.train(replace(cell, method=EVERYTHING, num_kept=NUM_POOL))
        theirs: Floats = np.load(path)
        return theirs

    def _composition(self, cell: Cell) -> Composition | None:
        if cell.method == REFEREE:
            return self.found(cell.case, cell.num_kept)
        num_classes = self.tasks[depth_of(cell.case)[0]].num_classes
        rules = reference_rules("el2n", cell.num_kept, NUM_POOL, num_classes, ("draw", JOINT))
        return rules.get(cell.method)

    def search(self, case: str, num_kept: int) -> Record:
        """Ask a referee that has its own pool, and that judges on examples of its own.

        A search with all layers would cost more than the rest of the study. What the search with
        the last block came back with stands in for it.
        """
        task, depth = depth_of(case)
        if depth == ALL:
            cheap = Cell(case_of(task, LAST), num_kept, SEARCH, 0)
            self.found(cheap.case, num_kept)
            taken = next(one for one in self.log.records if one["key"] == cheap.key)
            names = ("accuracy", "rule", "composition")
            note = {"num_trainings": 0, "message": f"taken from {cheap.case!r}"}
            return {name: taken[name] for name in names} | note
        one, rng = self.tasks[task], np.random.default_rng(_SEARCH_SEED)
        drawn = rng.choice(one.open, NUM_POOL + NUM_JUDGED, replace=False)
        asked = self._ask(one, np.sort(drawn[:NUM_POOL]), drawn[NUM_POOL:])

        def train(kept: Indices, _held_out: Indices, seed: int) -> float:
            # Theta-hat has seen what is held out.
            few = np.random.default_rng(seed).choice(NUM_JUDGED, NUM_TEST, replace=False)
            ours, _ = self._trained(asked, depth, kept, seed, few)
            return float(np.mean(ours.argmax(axis=1) == asked.other_labels[few]))

        return searched(
            subsetsel.select_for_training(
                train,
                difficulty={"el2n": asked.el2n},
                labels=asked.labels,
                num_kept=num_kept,
                rows=asked.chooser.problem,
                start="trained",
                num_confirmations=_NUM_CONFIRMATIONS,
                seed=_SEARCH_SEED,
            )
        )

    def costs(self, todo: Sequence[Cell], searches: Sequence[Cell]) -> Mapping[str, float]:
        """Count examples, choices and searches; a product of matrices is timed."""
        spent, slower = self.spent, slowness(self.spent.product)
        choice = {JOINT: spent.joint, HERDING: spent.herding, KEPT_HESSIAN: spent.linearised}
        cheap = [one for one in searches if depth_of(one.case)[1] != ALL]
        asked = {(depth_of(one.case)[0], one.seed) for one in todo}
        choices = {(depth_of(one.case)[0], one.seed, one.num_kept, one.method) for one in todo}

        def of_training(cell: Cell) -> float:
            depth = depth_of(cell.case)[1]
            if depth == FROZEN:
                return spent.refit
            way = self.ways[depth]
            seen = way.num_steps(cell.num_kept) * min(way.batch_size, cell.num_kept)
            return seen * spent.seen[depth] + NUM_TEST * spent.read[depth]

        found = {
            "the lower blocks, if they have not been run": spent.states,
            f"{len(asked)} heads": len(asked) * spent.head,
            f"{len(choices)} choices": sum(choice.get(method, 0.1) for *_, method in choices),
            f"{len(cheap)} searches": sum(
                spent.head + _SEARCHED * of_training(one) + _CHOICES_OF_A_SEARCH * spent.joint
                for one in cheap
            ),
        }
        for depth in (FROZEN, LAST, ALL):
            these = [one for one in todo if depth_of(one.case)[1] == depth]
            found[f"{len(these)} trainings, {depth}"] = sum(map(of_training, these))
        return {name: value * slower for name, value in found.items()}


def depth_of(case: str) -> tuple[str, Depth]:
    """Split a case into the name of its task and its depth."""
    task, _, depth = case.rpartition(", ")
    assert depth in {FROZEN, LAST, ALL}, case
    return task, depth  # type: ignore[return-value]


def case_of(task: str, depth: Depth) -> str:
    """Name a case."""
    return f"{task}, {depth}" if task else depth


def judge(ours: Floats, labels: Indices, theirs: Floats) -> Record:
    """Say how well log-probabilities do, and how far they are from others."""
    away = float(np.mean(np.linalg.norm(np.exp(ours) - np.exp(theirs), axis=1)))
    return {**judged(ours, labels), "distance": away}


def slowness(product: float) -> float:
    """Time a product of matrices beside what it took where the costs were measured."""
    square = torch.ones(_SIDE, _SIDE)
    taken = []
    for _ in range(5):
        started = time.process_time()
        square @ square
        taken.append(time.process_time() - started)
    return min(taken) / product


def study_settings(ways: Mapping[Depth, Way], head: HeadSettings) -> dict[str, Any]:
    """Give what all trainings of a folder have in common."""
    return {
        "ways": {name: asdict(way) for name, way in ways.items()},
        "head": asdict(head),
        "pool": NUM_POOL,
        "test": NUM_TEST,
        "searches": {"judged": NUM_JUDGED, "num_confirmations": _NUM_CONFIRMATIONS},
    }
