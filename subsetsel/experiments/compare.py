"""Train a scorer, choose by every method, retrain on what is kept, over seeds; resumable."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from subsetsel.errors import OptionError
from subsetsel.experiments.cost import Cost, measure_pace
from subsetsel.experiments.images import Images
from subsetsel.experiments.methods import Selector
from subsetsel.experiments.pictures import Pictures, halved
from subsetsel.experiments.plan import WHOLE, Cell, Plan, cells
from subsetsel.experiments.runs import Record, RunLog
from subsetsel.experiments.scorer import ScorerSource
from subsetsel.experiments.train import evaluate, train
from subsetsel.experiments.training import builder
from subsetsel.experiments.zoo import build_network
from subsetsel.influence.device import algebra_device
from subsetsel.rows.base import IndexArray
from subsetsel.support.files import written_whole
from subsetsel.support.records import sha256_of_array

_VALIDATION_SEED = 0


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
        Where trained scorers are stored; by default a folder ``scorers`` in ``folder``.

    Raises
    ------
    OptionError
        If more is to be kept than there is.
    ProblemError
        If the folder holds runs of other settings.
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
        images = halved(images) if plan.is_halved else images
        self.pictures, self.test = Pictures.of_both(images, device)
        self.validation: Pictures | None = None
        # Which pictures of the data are those of the training half.
        self._numbers = np.arange(len(self.pictures))
        if plan.validation_share:
            n = len(self.pictures)
            order = np.random.default_rng(_VALIDATION_SEED).permutation(n)
            first, rest = np.split(order, [round(plan.validation_share * n)])
            self.validation = self.pictures.subset(np.sort(first))
            self._numbers = np.sort(rest)
            self.pictures = self.pictures.subset(self._numbers)
        for num_kept in plan.num_kept:
            if not 0 < num_kept < len(self.pictures):
                most = len(self.pictures) - 1
                raise OptionError(f"num_kept must be between 1 and {most}, got {num_kept}.")
        self.log = RunLog(
            folder,
            {
                **plan.common,
                "device": device.type,
                "pictures": sha256_of_array(self.pictures.bytes.cpu().numpy()),
            },
        )
        self._scorers = ScorerSource(
            folder / "scorers" if cache is None else cache,
            plan.scorer,
            plan.scorer_recipe,
            pictures=self.pictures,
            test=self.test,
            num_classes=self.num_classes,
        )
        self._selector: Selector | None = None
        self._choices: dict[tuple[str, int], tuple[IndexArray, float]] = {}

    def open_cells(self) -> list[Cell]:
        """List the trainings that are still to be done."""
        return [cell for cell in cells(self.plan, len(self.pictures)) if cell.key not in self.log]

    def cost(self) -> Cost:
        """Estimate what is still to be done, from a few steps of every network."""
        plan, todo, n = self.plan, self.open_cells(), len(self.pictures)
        items: dict[str, float] = {}
        seeds = {plan.scorer_seed(cell.seed) for cell in todo if cell.method != WHOLE}
        num_scorers = sum(not self._scorers.path(seed).exists() for seed in seeds)
        if num_scorers:
            recipe = plan.scorer_recipe
            build = builder(plan.scorer, self.pictures, self.num_classes)
            pace = measure_pace(build, self.pictures, recipe)
            num_steps = recipe.num_steps(n)
            num_epochs = -(-num_steps * recipe.batch_size // n)
            each = num_steps * pace.step_time + num_epochs * n * pace.reading_time
            items[f"{num_scorers} scorers ({plan.scorer}, {num_steps} steps)"] = num_scorers * each
        for name in plan.networks:
            mine = [cell for cell in todo if cell.network == name]
            if not mine:
                continue
            build = builder(name, self.pictures, self.num_classes)
            pace = measure_pace(build, self.pictures, plan.recipe)
            num_steps = sum(plan.recipe_of(cell.method).num_steps(cell.num_kept) for cell in mine)
            num_read = len(mine) * len(self.validation or self.test)
            if self.validation is not None:
                num_read += sum(cell.method == WHOLE for cell in mine) * len(self.test)
            what = f"{len(mine)} trainings of {name}, {num_steps} steps of {pace.step_time:.4f} s"
            items[what] = num_steps * pace.step_time + num_read * pace.reading_time
        return Cost(items, "the choices themselves come on top: seconds to a minute each")

    def run(
        self, say: Callable[[str], None] = print, sitting: Mapping[str, Any] | None = None
    ) -> list[Record]:
        """Do what is still to be done.

        Parameters
        ----------
        say : callable
            Given one line per finished training.
        sitting : mapping, optional
            What machine, code and command they are of, for ``env.json``.

        Returns
        -------
        list of dict
            All runs of the folder.
        """
        self.log.fill(self.open_cells(), self._train, say, sitting)
        self.log.write_csv()
        return self.log.records

    def _train(self, cell: Cell) -> Record:
        pictures, chosen = self.pictures, {"select_time": 0.0, "scorer_accuracy": None}
        kept = np.arange(cell.num_kept, dtype=np.int64)
        if cell.method != WHOLE:
            selector = self._selector_of(cell.seed)
            kept, select_time = self._choose(selector, cell)
            pictures = pictures.subset(kept)
            chosen = {"select_time": select_time, "scorer_accuracy": selector.scorer.accuracy}
            self._write_kept(cell, self._numbers[kept])
        network = build_network(cell.network, pictures.shape, self.num_classes, cell.seed)
        trained = train(
            network.to(pictures.labels.device),
            pictures,
            self.plan.recipe_of(cell.method),
            seed=cell.seed,
            test=self.test if self.plan.has_curve else None,
        )
        # Networks are chosen on the validation pictures; the test half only judges the chosen.
        is_judged = cell.method == WHOLE and self.validation is not None
        return {
            "key": cell.key,
            **asdict(cell),
            "accuracy": evaluate(network, self.validation or self.test),
            "test_accuracy": evaluate(network, self.test) if is_judged else None,
            **asdict(trained),
            **chosen,
            "kept_digest": sha256_of_array(kept)[:16],
        }

    def kept_path(self, cell: Cell) -> Path:
        """Where the numbers of the kept pictures lie: the same for all networks."""
        name = f"{cell.method}-{cell.num_kept}-seed{cell.seed}.npy"
        return self.log.folder / "kept" / name

    def _write_kept(self, cell: Cell, numbers: IndexArray) -> None:
        with written_whole(self.kept_path(cell)) as part, part.open("wb") as stream:
            np.save(stream, numbers)

    def _choose(self, selector: Selector, cell: Cell) -> tuple[IndexArray, float]:
        about = cell.method, cell.num_kept
        if about not in self._choices:
            started = time.perf_counter()
            kept = selector.choose(*about)
            self._choices[about] = kept, time.perf_counter() - started
        return self._choices[about]

    def _selector_of(self, seed: int) -> Selector:
        # Of one seed at a time: the next has another scorer, and needs its room.
        if self._selector is None or self._selector.seed != seed:
            self._choices = {}
            self._selector = Selector(
                self._scorers.scorer(self.plan.scorer_seed(seed)),
                seed=seed,
                is_balanced=self.plan.is_balanced,
                num_proposals=self.plan.num_proposals,
                device=str(algebra_device(self.pictures.labels.device)),
            )
        return self._selector
