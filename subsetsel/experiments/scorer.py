"""The network that is asked what to keep: trained once for each seed, and stored."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from subsetsel.errors import FileFormatError
from subsetsel.experiments.pictures import Pictures
from subsetsel.experiments.recipe import Recipe
from subsetsel.experiments.train import evaluate, outputs, train
from subsetsel.experiments.zoo import build_network
from subsetsel.scores import TrainingRecorder, el2n, grand_last_layer
from subsetsel.support.files import written_whole
from subsetsel.support.npz import DAMAGE, read_npz
from subsetsel.support.records import sha256_of_array

# Part of the name of a file: one that holds something else than is read today is not opened.
_SAVED = "subsetsel-scorer-3"
_BY_EXAMPLE: dict[str, type] = {
    "labels": np.int64,
    "el2n": np.float64,
    "grand": np.float64,
    "forgetting": np.float64,
}


@dataclass(frozen=True, eq=False)
class Scorer:
    """What a trained network says of every training example.

    Attributes
    ----------
    features : ndarray of shape (n, f), float32
        At the end of training.
    labels : ndarray of shape (n,), int64
    el2n : ndarray of shape (n,)
        Mean over the ends of all epochs, in evaluation mode.
    grand : ndarray of shape (n,)
        Length of the last layer's gradient after the first epoch.
    forgetting : ndarray of shape (n,)
        Counted at each presentation in training.
    accuracy : float
        On the test half.
    train_time : float
        Seconds, with everything read off.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    el2n: NDArray[np.float64]
    grand: NDArray[np.float64]
    forgetting: NDArray[np.float64]
    accuracy: float
    train_time: float

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        with written_whole(path) as part, part.open("wb") as stream:
            np.savez(stream, **{item.name: getattr(self, item.name) for item in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Scorer:
        """Read what `save` wrote; anything else is a FileFormatError."""
        try:
            found: dict[str, Any] = read_npz(path, [item.name for item in fields(cls)])
            for name in ("accuracy", "train_time"):
                found[name] = float(found[name])
            num = len(found["features"])
            for name, dtype in _BY_EXAMPLE.items():
                if found[name].dtype != dtype or found[name].shape != (num,):
                    raise ValueError(f"{name} is {found[name].dtype} of {found[name].shape}")
            if found["features"].dtype != np.float32 or found["features"].ndim != 2:
                raise ValueError(f"features are {found['features'].dtype}")
        except DAMAGE as error:
            raise FileFormatError(f"{path} is no saved scorer: {error}; delete it.") from error
        return cls(**found)


@dataclass(frozen=True, eq=False)
class ScorerSource:
    """Trains scorers of one kind on one data set, one for each seed, and stores them.

    Attributes
    ----------
    folder : Path
        Where trained scorers are stored.
    name : str
        Of the network, see `subsetsel.experiments.zoo.build_network`.
    recipe : Recipe
    pictures, test : Pictures
        It is trained on the first and its accuracy is that on the second.
    num_classes : int
    """

    folder: Path
    name: str
    recipe: Recipe
    pictures: Pictures
    test: Pictures
    num_classes: int

    def path(self, seed: int) -> Path:
        """Find where the scorer of a seed, of these settings and these very pictures, is stored."""
        held = [
            sha256_of_array(values.cpu().numpy())
            for part in (self.pictures, self.test)
            for values in (part.bytes, part.labels)
        ]
        # A GPU trains another network than a processor.
        device = self.pictures.labels.device.type
        about = f"{_SAVED} {self.name} {self.recipe} {device} {held}"
        return self.folder / f"scorer-{hashlib.sha256(about.encode()).hexdigest()[:12]}-{seed}.npz"

    def scorer(self, seed: int) -> Scorer:
        """Read a scorer that was trained before, or train and store it."""
        path = self.path(seed)
        if path.exists():
            return Scorer.load(path)
        scorer = self.train(seed)
        scorer.save(path)
        return scorer

    def train(self, seed: int) -> Scorer:
        """Train a network on everything and read off what the methods need."""
        started = time.perf_counter()
        pictures, labels = self.pictures, self.pictures.labels.cpu().numpy()
        network = build_network(self.name, pictures.shape, self.num_classes, seed)
        network.to(pictures.labels.device)
        recorder = TrainingRecorder(len(pictures), self.num_classes)
        lengths: list[NDArray[np.float64]] = []
        found: dict[str, Any] = {}

        def read_off(epoch: int) -> None:
            features, logits = outputs(network, pictures)
            probabilities = softmax(logits.astype(np.float64), axis=1)
            lengths.append(el2n(probabilities, labels).values)
            if epoch == 1:
                found["grand"] = grand_last_layer(probabilities, features, labels).values
            found["features"] = features

        train(network, pictures, self.recipe, seed=seed, recorder=recorder, after_epoch=read_off)
        return Scorer(
            **found,
            labels=labels,
            el2n=np.mean(lengths, axis=0),
            forgetting=recorder.forgetting().values,
            accuracy=evaluate(network, self.test),
            train_time=time.perf_counter() - started,
        )
