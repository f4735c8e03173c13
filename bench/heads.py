"""Real influence matrices: trained softmax heads on digits and on Fashion-MNIST.

S is computed by `subsetsel.influence` and kept in a cache folder outside the repository.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from data import Features, digits_features, fashion_features
from numpy.typing import NDArray
from recording import code_digest

import subsetsel

L2 = 1e-3


def default_cache_dir() -> Path:
    """Folder for influence matrices: ``$SUBSETSEL_BENCH_CACHE`` or one beside temporary files."""
    given = os.environ.get("SUBSETSEL_BENCH_CACHE")
    return Path(given) if given else Path(tempfile.gettempdir()) / "subsetsel-bench"


HEADS: dict[str, tuple[Callable[[Path | None], Features], Literal["included", "excluded"]]] = {
    "digits": (digits_features, "excluded"),
    "digits-ridge": (digits_features, "included"),
    "fmnist-pca128": (fashion_features, "excluded"),
    "fmnist-pca128-ridge": (fashion_features, "included"),
}
"""name -> (features, ridge); l2 = 1e-3 throughout."""


def head_matrix(
    name: str, data_dir: Path | None = None, cache_dir: Path | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Compute S of a trained head, or read it from the cache.

    Parameters
    ----------
    name : str
        A key of `HEADS`.
    data_dir, cache_dir : path, optional

    Returns
    -------
    S : ndarray of shape (n, d), float32
    labels : ndarray of shape (n,), int64

    Raises
    ------
    DataMissingError
        If the data are not there and S is not in the cache either.
    """
    features_of, ridge = HEADS[name]
    folder = (cache_dir or default_cache_dir()) / f"heads-{_version_of_code()}"
    path, labels_path = folder / f"{name}.npy", folder / f"{name}.labels.npy"
    if not (path.exists() and labels_path.exists()):
        from subsetsel.influence import fit_head, influence_rows

        features = features_of(data_dir)
        head = fit_head(features.train, features.train_labels, l2=L2)
        S = influence_rows(head, ridge=ridge, dtype=np.float32, storage="dense").dense()
        assert S is not None
        folder.mkdir(parents=True, exist_ok=True)
        _save(labels_path, features.train_labels)
        _save(path, S)
    return np.load(path), np.load(labels_path)


def _version_of_code() -> str:
    """Name the code that computes S, so that a change of it does not read an old S."""
    influence = (Path(subsetsel.__file__).parent / "influence").rglob("*.py")
    return code_digest([*influence, Path(__file__), Path(__file__).with_name("data.py")])


def _save(path: Path, array: NDArray[np.generic]) -> None:
    """Write beside and rename, so that a killed run leaves no half file."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("wb") as stream:
        np.save(stream, array)
    part.replace(path)
