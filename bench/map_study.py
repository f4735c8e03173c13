"""What the studies of the map share: their cells, their cost, and a loop that can be stopped.

A study trains networks on what methods keep, in several cases: a case is a way of training (where
it starts, how long, how fast) or a fault of the data (wrong labels, a rare class). Each training is
judged on test examples at its last step; no choice and no search sees them.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from select_settings import REFEREE, SEARCH

from subsetsel.experiments.cost import Cost
from subsetsel.experiments.runs import Record, RunLog
from subsetsel.selection.composition import Composition

RANDOM, EVERYTHING = "random", "everything"


@dataclass(frozen=True)
class Cell:
    """One training: in which case, on how many that which method keeps, with which seed."""

    case: str
    num_kept: int
    method: str
    seed: int

    @property
    def key(self) -> str:
        """What a finished training is found by."""
        return f"{self.case}/{self.num_kept}/{self.method}/{self.seed}"


@dataclass(frozen=True)
class Metric:
    """What is measured beside accuracy.

    Attributes
    ----------
    title : str
        Its column.
    form : str
        How a mean is written.
    factor : float
        What a value is multiplied by before it is written, 100 for a share in percent.
    """

    title: str
    form: str = "{:.3f}"
    factor: float = 1.0


@dataclass(frozen=True)
class Asked:
    """Which part of a study is asked for; a study has its own defaults.

    Attributes
    ----------
    cases, methods : tuple of str
    num_kept, seeds : tuple of int
        Seeds draw everything anew: the network that is asked, the choice, and the training. All
        methods of a seed share it, so that differences are taken seed by seed.
    """

    cases: tuple[str, ...]
    methods: tuple[str, ...]
    num_kept: tuple[int, ...]
    seeds: tuple[int, ...]


class Study(ABC):
    """What is trained and how it is judged; see `bench/reproduce.py` for those that there are.

    Parameters
    ----------
    data_dir, cache_dir : Path, optional
        Where the folders of data sets are, and where trained networks are kept.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str]
    """Sentences above the table: what is trained on what, how long, and how it is judged."""
    asked: ClassVar[Asked]
    num_examples: ClassVar[int]
    metrics: ClassVar[dict[str, Metric]] = {}
    settings: ClassVar[dict[str, Any]] = {}
    """What all trainings of a folder have in common; a folder of other settings is refused."""

    def __init__(self, log: RunLog, data_dir: Path | None, cache_dir: Path) -> None:
        self.log, self.data_dir, self.cache_dir = log, data_dir, cache_dir

    @abstractmethod
    def train(self, cell: Cell) -> Record:
        """Do a cell: choose, train, and judge; `accuracy` and the keys of `metrics` are needed."""

    @abstractmethod
    def search(self, case: str, num_kept: int) -> Record:
        """Let a referee look for a composition; `accuracy` and `composition` are needed.

        It must use seeds of its own: no test example, and no seed of the cells.
        """

    @abstractmethod
    def costs(self, todo: Sequence[Cell], searches: Sequence[Cell]) -> Mapping[str, float]:
        """Say what each part of a list of cells and of searches costs, in seconds."""

    def searched_case(self, cell: Cell) -> str:
        """Name the search that serves a cell; its case by default."""
        return cell.case

    def leaves_out(self, cell: Cell) -> bool:
        """Whether a cell is not asked for: some cases cost too much for every number kept."""
        return False

    def found(self, case: str, num_kept: int) -> Composition:
        """Give the composition that the search of a case came back with; search where none did."""
        cell = Cell(case, num_kept, SEARCH, 0)
        if cell.key not in self.log:
            started = time.perf_counter()
            record = self.search(case, num_kept)
            self.log.add(stamped(cell, record, started))
        record = next(one for one in self.log.records if one["key"] == cell.key)
        return Composition.of_record(record["composition"])

    def make(self, cell: Cell) -> Record:
        """Do a cell and say how long all of it took."""
        if cell.method.startswith(REFEREE):
            self.found(self.searched_case(cell), cell.num_kept)
        started = time.perf_counter()
        return stamped(cell, self.train(cell), started)


def stamped(cell: Cell, record: Record, started: float) -> Record:
    """Add to a record whose it is, when it was made, and what it took."""
    spent = time.perf_counter() - started
    date = time.strftime("%Y-%m-%d")
    return {"key": cell.key, **asdict(cell), **record, "train_time": spent, "date": date}


def judged(logs: NDArray[np.float64], labels: NDArray[np.int64]) -> Record:
    """Give accuracy and mean loss of log-probabilities."""
    return {
        "accuracy": float(np.mean(logs.argmax(axis=1) == labels)),
        "loss": float(-np.mean(logs[np.arange(len(labels)), labels])),
    }


def cells(asked: Asked, num_examples: int) -> Iterator[Cell]:
    """List the trainings of a study: seed by seed, so that a stop leaves whole seeds.

    What a method keeps is the same in all cases that choose from the same network, so cases are
    innermost.
    """
    for seed in asked.seeds:
        for method in asked.methods:
            for num_kept in (num_examples,) if method == EVERYTHING else asked.num_kept:
                for case in asked.cases:
                    yield Cell(case, num_kept, method, seed)


def searches(study: Study, todo: Sequence[Cell]) -> list[Cell]:
    """List the searches that the cells need and that are not there."""
    refereed = [one for one in todo if one.method.startswith(REFEREE)]
    pairs = dict.fromkeys((study.searched_case(one), one.num_kept) for one in refereed)
    wanted = [Cell(case, num_kept, SEARCH, 0) for case, num_kept in pairs]
    return [cell for cell in wanted if cell.key not in study.log]


def cost(study: Study, todo: Sequence[Cell]) -> Cost:
    """Estimate what is still to be done."""
    return Cost(study.costs(todo, searches(study, todo)))
