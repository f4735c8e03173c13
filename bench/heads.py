"""Real influence matrices: trained softmax heads, listed ones and sampled ones.

A sampled head ``<source>-n<rows>-h<columns>-s<seed>[-ridge]`` is trained on that many rows of one
of `data.SOURCES`, drawn with the seed, on their first principal components. S has (h + 1)(K - 1)
columns for K classes. S is computed by `subsetsel.influence` and kept in a cache folder outside the
repository.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from data import SOURCES, Features, digits_features, fashion_features, sampled_features
from numpy.typing import NDArray
from recording import code_digest

import subsetsel

L2 = 1e-3
_SAMPLED = re.compile(r"([a-z]+)-n(\d+)-h(\d+)-s(\d+)(-ridge)?")


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


def is_head(name: str) -> bool:
    """Whether the name is that of a listed head or of a sampled one."""
    found = _SAMPLED.fullmatch(name)
    return name in HEADS or (found is not None and found[1] in SOURCES)


def head_matrix(
    name: str, data_dir: Path | None = None, cache_dir: Path | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Compute S of a trained head, or read it from the cache.

    Parameters
    ----------
    name : str
        A key of `HEADS`, or the name of a sampled head.
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
    features_of, ridge = HEADS[name] if name in HEADS else _sampled(name)
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


def _sampled(
    name: str,
) -> tuple[Callable[[Path | None], Features], Literal["included", "excluded"]]:
    found = _SAMPLED.fullmatch(name)
    assert found is not None
    source, n, h, seed = found[1], int(found[2]), int(found[3]), int(found[4])
    return lambda folder: sampled_features(source, n, h, seed, folder), (
        "included" if found[5] else "excluded"
    )


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
