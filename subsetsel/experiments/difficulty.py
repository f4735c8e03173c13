"""How hard each picture is, by one short training; kept on disk for the calls that follow."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from subsetsel.errors import FileFormatError, OptionError, ProblemError
from subsetsel.experiments.pictures import Pictures
from subsetsel.experiments.recipe import Recipe
from subsetsel.experiments.train import Recorder, outputs, train
from subsetsel.experiments.training import Build
from subsetsel.scores import TrainingRecorder, el2n
from subsetsel.support.files import written_whole
from subsetsel.support.npz import DAMAGE, npz_names, read_npz
from subsetsel.support.records import plain

Difficulty = dict[str, NDArray[np.float64]]
"""Name -> one number per example, higher is harder."""


def measure_difficulty(
    pictures: Pictures,
    build: Build,
    recipe: Recipe,
    num_classes: int,
    *,
    seed: int,
    num_folds: int = 0,
) -> Difficulty:
    """Train a network on everything, or one for each fold on the others, and read it off.

    Parameters
    ----------
    pictures : Pictures
    build : callable
        Seed -> network.
    recipe : Recipe
    num_classes : int
    seed : int
    num_folds : int
        From 2 on, every picture is judged by a network that was not trained on it.

    Returns
    -------
    dict
        ``el2n``, the mean over the ends of all epochs; and ``forgetting``, which only pictures have
        that were trained on.

    Raises
    ------
    ProblemError
        If the training diverges.
    """
    n = len(pictures)
    if not num_folds:
        recorder = TrainingRecorder(n, num_classes)
        watch = _Watch(recorder, recipe)
        found = _error_lengths(build(seed), pictures, pictures, recipe, seed, watch)
        return {"el2n": found, "forgetting": recorder.forgetting().values}
    lengths = np.empty(n)
    order = np.random.default_rng(seed).permutation(n)
    for number, fold in enumerate(np.array_split(order, num_folds)):
        others = pictures.subset(np.setdiff1d(order, fold))
        mine = seed + number
        lengths[fold] = _error_lengths(build(mine), others, pictures.subset(fold), recipe, mine)
    return {"el2n": lengths}


def _error_lengths(
    network: Any,
    pictures: Pictures,
    judged: Pictures,
    recipe: Recipe,
    seed: int,
    recorder: Recorder | None = None,
) -> NDArray[np.float64]:
    """Train on some and give the mean EL2N of others over the ends of the epochs."""
    labels, lengths = judged.labels.cpu().numpy(), []

    def read_off(_: int) -> None:
        logits = outputs(network, judged)[1].astype(np.float64)
        _require_finite(logits, recipe)
        lengths.append(el2n(softmax(logits, axis=1), labels).values)

    network.to(pictures.labels.device)
    whole = _covering(recipe, len(pictures))
    train(network, pictures, whole, seed=seed, recorder=recorder, after_epoch=read_off)
    found: NDArray[np.float64] = np.mean(lengths, axis=0)
    return found


@dataclass(frozen=True)
class _Watch:
    """Hands batches on, and tells a training that diverges from data that are wrong."""

    recorder: TrainingRecorder
    recipe: Recipe

    def update(self, ids: Any, logits: Any, labels: Any) -> None:
        """Take in a batch."""
        _require_finite(logits.cpu().numpy(), self.recipe)
        self.recorder.update(ids, logits, labels)

    def end_epoch(self) -> None:
        """Close an epoch."""
        self.recorder.end_epoch()


def _require_finite(logits: NDArray[Any], recipe: Recipe) -> None:
    if not np.isfinite(logits).all():
        raise ProblemError(
            "the training that measures difficulty diverged, its outputs are not finite; take a "
            f"smaller --lr than {recipe.lr:g}."
        )


def _covering(recipe: Recipe, n: int) -> Recipe:
    """Change the size of batches until none of one example is left, which would not be shown."""
    size = recipe.batch_size
    while size > 1 and n > size and n % size == 1:
        size += 1
    return replace(recipe, batch_size=size)


def stored_difficulty(
    path: Path | None,
    study: Path | None,
    about: Mapping[str, Any],
    measure: Callable[[], Difficulty],
) -> Difficulty:
    """Read what an earlier call measured for this study, or measure and store it.

    Parameters
    ----------
    path : Path or None
        The file; None stores nothing.
    study : Path or None
        The study that it belongs to. While there is none, the file binds nobody.
    about : mapping
        Everything that trainings depend on: data, networks, recipes.
    measure : callable

    Raises
    ------
    OptionError
        If the study was made with other settings.
    FileFormatError
        If the file is damaged.
    """
    told = plain(about)
    if path is not None and path.exists():
        found, before = _read(path)
        other = sorted(name for name in {*told, *before} if told.get(name) != before.get(name))
        if not other:
            return found
        if study is not None and study.exists():
            shown = ", ".join(
                f"{name} {before.get(name)} there, {told.get(name)} here" for name in other
            )
            raise OptionError(
                f"the study {study} was made with other settings ({shown}); name another file by "
                "--study, and this one by --warm-start to profit from it."
            )
    found = measure()
    if path is not None:
        with written_whole(path) as part, part.open("wb") as stream:
            np.savez(stream, about=json.dumps(told), **found)  # type: ignore[arg-type]
    return found


def _read(path: Path) -> tuple[Difficulty, dict[str, Any]]:
    try:
        arrays = read_npz(path, npz_names(path))
        about: dict[str, Any] = json.loads(str(arrays.pop("about")))
        if not arrays or any(values.ndim != 1 for values in arrays.values()):
            raise ValueError("there is not one number per example")
        return {name: values.astype(np.float64) for name, values in arrays.items()}, about
    except DAMAGE as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise FileFormatError(
            f"{path} holds no difficulties, or is damaged: {error}; delete it, and they are "
            "measured anew."
        ) from error
