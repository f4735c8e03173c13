"""Feature rows of the data sets that heads are trained on.

Nothing is downloaded. Three folders are looked for in the folder given, then in
``$SUBSETSEL_DATA``, then in ``../shared/data`` beside the repository: ``fashion-mnist`` with the
official IDX files, ``cifar-10-batches-bin`` with the binary version, and ``sentences`` with
``sentences.npz`` (unit embeddings `X`, sources `y`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subsetsel.experiments.images import DataMissingError, Images, load_cifar10, load_idx

__all__ = [
    "SOURCES",
    "SPLIT_DATA",
    "DataMissingError",
    "Features",
    "Images",
    "Source",
    "cifar_features",
    "digits_features",
    "fashion_features",
    "find_folder",
    "leading",
    "pca_features",
    "present",
    "sampled_features",
    "sentence_features",
]

_TEST_SHARE = 0.2
_NUM_TEST_SENTENCES = 4_703


@dataclass(frozen=True)
class Features:
    """Feature rows of both parts of a data set, without the bias column.

    Attributes
    ----------
    train, test : ndarray of float64, shape (n, h)
    train_labels, test_labels : ndarray of int64, shape (n,)
    """

    train: NDArray[np.float64]
    train_labels: NDArray[np.int64]
    test: NDArray[np.float64]
    test_labels: NDArray[np.int64]


def find_folder(name: str, data_dir: Path | None = None) -> Path:
    """Find the folder of one data set: fashion-mnist, cifar-10-batches-bin or sentences.

    Raises
    ------
    DataMissingError
        Naming every place that was tried.
    """
    places = [] if data_dir is None else [Path(data_dir)]
    if "SUBSETSEL_DATA" in os.environ:
        places.append(Path(os.environ["SUBSETSEL_DATA"]))
    places.append(Path(__file__).resolve().parents[2] / "shared" / "data")
    for place in places:
        if (place / name).is_dir():
            return place / name
    raise DataMissingError(
        f"there is no folder {name} in {', '.join(str(place) for place in places)}; "
        "give --data-dir or set SUBSETSEL_DATA."
    )


def digits_features(_: Path | None = None) -> Features:
    """scikit-learn's digits, 1,797 rows of 64 pixels / 16; all in the training part."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise DataMissingError("the digits need scikit-learn; pip install scikit-learn.") from error
    pixels, labels = load_digits(return_X_y=True)
    empty = np.zeros((0, 64)), np.zeros(0, dtype=np.int64)
    return Features(pixels / 16.0, labels.astype(np.int64), *empty)


def fashion_features(data_dir: Path | None = None) -> Features:
    """Fashion-MNIST, 60,000 and 10,000 rows, on its first 128 principal components."""
    return pca_features(load_idx(find_folder("fashion-mnist", data_dir)), num_components=128)


def cifar_features(data_dir: Path | None = None) -> Features:
    """CIFAR-10, 50,000 and 10,000 rows, on the first 128 principal components of its pixels."""
    return pca_features(load_cifar10(find_folder("cifar-10-batches-bin", data_dir)), 128)


def sentence_features(data_dir: Path | None = None, seed: int = 0) -> Features:
    """Sentence embeddings, 19,000 to train on and 4,703 drawn with the seed to test on.

    The label is where a sentence comes from. The embeddings have unit length and are left as they
    are: neither centred nor scaled.
    """
    X, labels = _sentences(0, 0, 0, data_dir)
    order = np.random.default_rng(seed).permutation(len(X))
    test, train = order[:_NUM_TEST_SENTENCES], order[_NUM_TEST_SENTENCES:]
    X = X.astype(np.float64)
    return Features(X[train], labels[train], X[test], labels[test])


def pca_features(images: Images, num_components: int) -> Features:
    """Principal components of the pixels, with one common scale.

    Pixels / 255, centred on the training mean, projected on the first principal directions of the
    training part, divided by the root mean square of the training rows' norms. The test part is
    treated with the training part's mean, directions and scale.
    """
    train = images.train.reshape(len(images.train), -1).astype(np.float64) / 255
    test = images.test.reshape(len(images.test), -1).astype(np.float64) / 255
    return leading(train, images.train_labels, test, images.test_labels, num_components)


def leading(
    train: NDArray[Any],
    train_labels: NDArray[np.int64],
    test: NDArray[Any],
    test_labels: NDArray[np.int64],
    num_components: int,
) -> Features:
    """Centre and scale both parts, on the training part's first principal components.

    The common scale makes the root mean square of the training rows' norms 1.
    """
    train, test = train.astype(np.float64), test.astype(np.float64)
    mean = train.mean(axis=0)
    train -= mean
    test -= mean
    _, directions = np.linalg.eigh(train.T @ train / len(train))
    leading = directions[:, ::-1][:, :num_components]
    train, test = train @ leading, test @ leading
    scale = float(np.sqrt(np.mean(np.sum(train * train, axis=1))))
    return Features(train / scale, train_labels, test / scale, test_labels)


@dataclass(frozen=True)
class Source:
    """Data that heads are sampled from.

    Attributes
    ----------
    num_rows, num_classes : int
    min_columns, max_columns : int
        How many principal components a head may have.
    load : callable
        (rows, columns, seed, folder of the data) -> all rows there are, and their labels.
    """

    num_rows: int
    num_classes: int
    min_columns: int
    max_columns: int
    load: Callable[[int, int, int, Path | None], tuple[NDArray[Any], NDArray[np.int64]]]


def _fashion_pixels(
    _n: int, _h: int, _seed: int, data_dir: Path | None
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    images = load_idx(find_folder("fashion-mnist", data_dir))
    return images.train.reshape(len(images.train), -1), images.train_labels


def _cifar_pixels(
    _n: int, _h: int, _seed: int, data_dir: Path | None
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    images = load_cifar10(find_folder("cifar-10-batches-bin", data_dir))
    return images.train.reshape(len(images.train), -1), images.train_labels


def _sentences(
    _n: int, _h: int, _seed: int, data_dir: Path | None
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    path = find_folder("sentences", data_dir) / "sentences.npz"
    with np.load(path, allow_pickle=False) as held:
        return held["X"], np.unique(held["y"], return_inverse=True)[1].astype(np.int64)


def _table(
    n: int, h: int, seed: int, _data_dir: Path | None
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Draw clusters like those of `_tabular26`: three quarters of the columns tell them apart."""
    from sklearn.datasets import make_classification

    X, y = make_classification(
        n_samples=n,
        n_features=h,
        n_informative=max(5, 3 * h // 4),
        n_redundant=h // 8,
        n_classes=26,
        n_clusters_per_class=1,
        class_sep=1.5,
        random_state=seed,
    )
    return X, y.astype(np.int64)


SOURCES: dict[str, Source] = {
    "fmnist": Source(60_000, 10, 1, 784, _fashion_pixels),
    "cifar": Source(50_000, 10, 1, 3_072, _cifar_pixels),
    "sentences": Source(23_703, 4, 5, 384, _sentences),
    "tabular": Source(320_000, 26, 8, 784, _table),
}
"""name -> data that heads are sampled from; 26 classes need a few columns to differ in."""


def sampled_features(name: str, n: int, h: int, seed: int, data_dir: Path | None) -> Features:
    """Draw rows of a source without replacement, on their own first h principal components.

    Raises
    ------
    DataMissingError
        If the data are not there.
    """
    X, labels = SOURCES[name].load(n, h, seed, data_dir)
    chosen = np.sort(np.random.default_rng(seed).choice(len(X), size=n, replace=False))
    rows, nothing = X[chosen], X[:0]
    scale = 255 if rows.dtype == np.uint8 else 1
    return leading(rows / scale, labels[chosen], nothing / scale, labels[:0], h)


def _digits() -> Features:
    whole = digits_features()
    return _split(whole.train, whole.train_labels)


def _tabular26() -> Features:
    """Twenty thousand rows of 16 columns in 26 classes, the shape of the letter data."""
    from sklearn.datasets import make_classification

    X, y = make_classification(
        n_samples=20_000,
        n_features=16,
        n_informative=12,
        n_redundant=2,
        n_classes=26,
        n_clusters_per_class=1,
        class_sep=1.5,
        random_state=0,
    )
    return _standardized(_split(X, y))


def _cancer() -> Features:
    """scikit-learn's breast cancer data, standardized; two classes."""
    from sklearn.datasets import load_breast_cancer

    return _standardized(_split(*load_breast_cancer(return_X_y=True)))


def _split(X: Any, y: Any) -> Features:
    """Put a fifth of each class into the test part."""
    from sklearn.model_selection import train_test_split

    train, test, y_train, y_test = train_test_split(
        X, y, test_size=_TEST_SHARE, stratify=y, random_state=0
    )
    return Features(train, y_train, test, y_test)


def _standardized(given: Features) -> Features:
    """Centre and scale the columns by the training part."""
    mean, scale = given.train.mean(axis=0), given.train.std(axis=0)
    return replace(given, train=(given.train - mean) / scale, test=(given.test - mean) / scale)


SPLIT_DATA: dict[str, Callable[[], Features]] = {
    "digits": _digits,
    "tabular26": _tabular26,
    "cancer": _cancer,
    "sentences": sentence_features,
    "fmnist-pca128": fashion_features,
    "cifar10-pca128": cifar_features,
}
"""name -> data set with a training and a test part."""


def present(names: list[str]) -> dict[str, Features]:
    """Load the data sets that are there, and print why the others are left out."""
    found = {}
    for name in names:
        try:
            found[name] = SPLIT_DATA[name]()
        except DataMissingError as error:
            print(f"{name}: left out, {error}")
    return found
