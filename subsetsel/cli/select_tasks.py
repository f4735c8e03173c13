"""What `select` chooses from and who judges: pictures and a network, or features and a head."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from subsetsel.cli.console import print_note, working
from subsetsel.cli.examples import show_look
from subsetsel.cli.load_network import load_network
from subsetsel.cli.with_model import parse_size
from subsetsel.errors import OptionError, ProblemError
from subsetsel.experiments.cost import Cost, measure_pace
from subsetsel.experiments.difficulty import Difficulty, measure_difficulty
from subsetsel.experiments.head_training import HeadTraining
from subsetsel.experiments.pictures import Pictures
from subsetsel.experiments.recipe import Recipe
from subsetsel.experiments.training import (
    Build,
    PictureTraining,
    builder,
    check_network,
    own_builder,
)
from subsetsel.experiments.training_data import TrainingData, as_pictures, read_training_data
from subsetsel.formats import Reading, read_data
from subsetsel.influence.device import feature_device
from subsetsel.problem.problem import Problem
from subsetsel.support.records import sha256_of_array

if TYPE_CHECKING:
    from subsetsel.report.look import Look


@dataclass(frozen=True, eq=False)
class Task:
    """What is chosen from, and who judges.

    Attributes
    ----------
    labels : ndarray of shape (n,)
    ids : ndarray of shape (n,) or None
    source : Path or ndarray
        What the manifest takes the fingerprint of.
    train : callable
        Of `subsetsel.select_for_training`.
    measure : callable
        Gives the difficulty of every example.
    rows : callable or None
        Gives the influence of every example.
    cost : callable
        Number of trainings, number kept -> `Cost`.
    about : dict
        Everything that a training depends on.
    pictures : ndarray of uint8 or None
        To be shown.
    look : Look or None
        What stands out in features.
    delimiter : str or None
        Between the cells of a text table, if it was named.
    """

    labels: Any
    ids: Any
    source: Any
    train: Callable[..., float]
    measure: Callable[[], Difficulty]
    cost: Callable[[int, int], Cost]
    about: dict[str, Any]
    rows: Callable[[], Problem] | None = None
    pictures: Any = None
    look: Look | None = None
    delimiter: str | None = None

    @property
    def n(self) -> int:
        """Number of examples."""
        return len(self.labels)


@dataclass(frozen=True)
class PictureFlags:
    """Flags that speak of pictures, by their names."""

    label: str
    identity: str
    network: str
    model: str | None
    image_size: str | None
    scorer: str | None
    scorer_epochs: int
    epochs: int | None
    iterations: int | None
    batch_size: int
    lr: float
    padding: int

    @property
    def recipes(self) -> tuple[Recipe, Recipe]:
        """How the network is trained, and how the one that measures difficulty."""
        if self.epochs is None and self.iterations is None:
            raise OptionError("give --epochs or --iterations: how long to train on what is kept.")
        whole = Recipe(
            epochs=self.epochs,
            iterations=self.iterations,
            batch_size=self.batch_size,
            lr=self.lr,
            padding=self.padding,
        )
        return whole, replace(whole, epochs=self.scorer_epochs, iterations=None)


def picture_task(path: Path, flags: PictureFlags, measuring: Mapping[str, Any]) -> Task:
    """Read pictures, and make the training of a network the judge.

    ``measuring`` says by which seed, in how many folds and on which device difficulty is measured.
    """
    recipe, scorer_recipe = flags.recipes
    data, pixels = _read_pictures(path, flags)
    num_classes, codes = _codes(path, data.labels)
    device = feature_device(measuring["device"])
    pictures = as_pictures(pixels, codes, device, is_plain=flags.model is not None)
    (name, build), (of_scorer, build_scorer) = _networks(flags, pictures, num_classes)
    training, num_folds = PictureTraining(pictures, build, recipe), measuring["num_folds"]

    def measure() -> Difficulty:
        how = {"seed": measuring["seed"], "num_folds": num_folds}
        with working(f"measuring the difficulty of {len(pictures):,} pictures"):
            return measure_difficulty(pictures, build_scorer, scorer_recipe, num_classes, **how)

    def cost(num_trainings: int, num_kept: int) -> Cost:
        items = _cost_of_scorer(pictures, build_scorer, scorer_recipe, num_folds)
        pace = measure_pace(build, pictures, recipe)
        num_steps = recipe.num_steps(num_kept)
        each = num_steps * pace.step_time + len(pictures) // 10 * pace.reading_time
        what = f"{num_trainings} trainings of {num_steps} steps, {pace.step_time:.4f} s each step"
        return Cost({**items, what: num_trainings * each})

    array = pixels if isinstance(pixels, np.ndarray) else pixels.numpy()
    return Task(
        labels=data.labels,
        ids=data.ids,
        source=array,
        train=training,
        measure=measure,
        cost=cost,
        about={
            "pictures": sha256_of_array(array),
            "network": name,
            "recipe": asdict(recipe),
            "scorer": of_scorer,
            "scorer_recipe": asdict(scorer_recipe),
        },
        pictures=array if array.dtype == np.uint8 else None,
    )


def _read_pictures(path: Path, flags: PictureFlags) -> tuple[TrainingData, Any]:
    """Find the pictures, and give them as bytes or as what a transform makes of them."""
    size = None if flags.image_size is None else parse_size(flags.image_size)
    with working(f"looking at {path}"):
        data = read_training_data(path, label=flags.label, identity=flags.identity)
    _tell_what_is_read(path, data)
    transform = None
    if flags.model is not None:
        with working(f"making {flags.model}"):
            transform = load_network(flags.model)[1]
    if transform is not None and size is not None:
        raise OptionError(
            f"--image-size {flags.image_size} cannot go with --model {flags.model}, which gives a "
            "transform that says the size itself; leave --image-size out."
        )
    with working(f"reading {len(data):,} pictures"):
        if transform is None:
            return data, data.stacked(size)
        return data, data.transformed(transform, f"--model {flags.model}")


def _tell_what_is_read(path: Path, data: TrainingData) -> None:
    if data.path != path or (data.array is not None and path.is_dir()):
        print_note(f"{data.path}: the training half is chosen from, {len(data):,} pictures")
    left_out = [] if data.files is None else data.files.left_out
    if left_out:
        shown = ", ".join(str(one.relative_to(data.path)) for one in left_out[:3])
        more = ", ..." * (len(left_out) > 3)
        print_note(f"{data.path}: left out {len(left_out)} without a picture: {shown}{more}")


def _codes(path: Path, labels: Any) -> tuple[int, Any]:
    """Count the classes and number them."""
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ProblemError(
            f"{path}: all examples are of the class {classes[0]}; there must be two classes at "
            "least."
        )
    return len(classes), codes.astype(np.int64)


def _networks(
    flags: PictureFlags, pictures: Pictures, num_classes: int
) -> tuple[tuple[str, Build], tuple[str, Build]]:
    """Name and build the network, and the one that says what is hard; both tried on pictures."""
    name, build = flags.network, builder(flags.network, pictures, num_classes)
    what, scorer = f"--network {name}", flags.scorer or "strided"
    if flags.model is not None:
        model = flags.model
        name, build = model, own_builder(lambda: load_network(model)[0], num_classes)
        what = f"--model {name}"
    check_network(build, pictures, num_classes, what)
    if flags.model is not None and flags.scorer is None:
        return (name, build), (name, build)
    build_scorer = builder(scorer, pictures, num_classes)
    check_network(build_scorer, pictures, num_classes, f"--scorer {scorer}")
    return (name, build), (scorer, build_scorer)


def _cost_of_scorer(
    pictures: Pictures, build: Build, recipe: Recipe, num_folds: int
) -> dict[str, float]:
    n, num = len(pictures), max(1, num_folds)
    pace = measure_pace(build, pictures, recipe)
    num_steps = recipe.num_steps(n - n // num if num_folds else n)
    reading = (recipe.epochs or 1) * n * pace.reading_time
    what = f"difficulty: {num} training{'s' * (num > 1)} of {num_steps} steps"
    return {what: num * num_steps * pace.step_time + reading}


def feature_task(
    path: Path,
    how: Reading,
    l2: float | None,
    question: Mapping[str, Any],
    measuring: Mapping[str, Any],
) -> Task:
    """Read features, and make the exact refit of a head the judge.

    ``question`` holds what `Problem.from_features` is asked, ``measuring`` is that of pictures.
    """
    if l2 is None:
        raise OptionError("--l2 is needed for features: the weight decay of the head, as 1e-3.")
    with working(f"reading {path}"):
        data = read_data(path, how)
    num_classes, codes = _codes(path, data.y)
    fit: dict[str, Any] = {"l2": l2, "num_classes": num_classes, "device": measuring["device"]}
    training = HeadTraining(data.X, codes, **fit)

    @cache
    def rows() -> Problem:
        with working(f"training the head on {data.n:,} examples, computing S"):
            return Problem.from_features(data.X, codes, **fit, **question)

    def measure() -> Difficulty:
        if measuring["num_folds"]:
            with working(f"training {measuring['num_folds']} heads"):
                how = measuring["num_folds"], measuring["seed"]
                return {"el2n": training.difficulty_out_of_fold(*how)}
        head = rows().head
        assert head is not None
        return {"el2n": training.difficulty(head)}

    def cost(num_trainings: int, num_kept: int) -> Cost:
        some = np.random.default_rng(0).choice(data.n, num_kept, replace=False)
        started = time.perf_counter()
        training.fit(np.sort(some))
        each = time.perf_counter() - started
        what = f"{num_trainings} exact refits on {num_kept:,} examples"
        return Cost({what: num_trainings * each}, "S and the joint choices come on top")

    return Task(
        labels=data.y,
        ids=data.ids,
        source=path,
        train=training,
        measure=measure,
        rows=rows,
        cost=cost,
        about={
            "features": sha256_of_array(np.asarray(data.X)),
            "l2": l2,
            "hessian": question["hessian"],
        },
        look=show_look(data),
        delimiter=how.text.delimiter,
    )
