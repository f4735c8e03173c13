"""Named, seeded instances: ``<matrix>/<goal>``, built by name alone.

A matrix is a real one of `heads` or ``<family>-<n>x<d>[-s<seed>]`` of `families.FAMILIES`. A
goal is ``eps=20%`` (of ||S^T 1||), ``eps=20%random`` (of the mean norm of random halves),
``eps=0.1`` (absolute), ``size=40%`` (of n) or ``size=500``, with ``,kept`` for normalization "kept"
and ``,balanced`` for equal shares of every group.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from check import MAX_ENUMERATED, Question, enumerate_optimum, norm_of
from families import FAMILIES, planted_mask
from heads import HEADS, head_matrix, is_head
from numpy.typing import NDArray

_SYNTHETIC = re.compile(r"([a-z]+[12]?)-(\d+)x(\d+)(?:-s(\d+))?")
_GOAL = re.compile(r"(eps|size)=([0-9.]+(?:e-?\d+)?)(%|%random)?(,kept)?(,balanced)?")
_NUM_RANDOM = 10
_CHUNK_ENTRIES = 4_000_000
# Groups of a synthetic instance that is asked to be balanced.
_NUM_GROUPS = 4
APPROXIMATE = "rms-"
"""Begins the digest of a matrix that other machines reproduce up to rounding only."""


@dataclass(frozen=True)
class Instance:
    """One question about one matrix, with what is known about it.

    Attributes
    ----------
    name : str
    question : Question
    digest : str
        SHA-256 of the bytes of S, first 16 digits; the root-mean-square row norm for trained heads.
    total_norm : float
        ||S^T 1||.
    random_norm : float
        Mean norm of ten random subsets of the required size, or of half of S under Eq. 3.
    known : (value, finder) or None
        A value that is known without any solver: the enumerated optimum or the planted subset.
    is_optimum : bool
        Whether `known` is proved optimal.
    """

    name: str
    question: Question
    digest: str
    total_norm: float
    random_norm: float
    known: tuple[float, str] | None = None
    is_optimum: bool = False

    @property
    def optimum(self) -> float | None:
        """The proved optimum, where there is one."""
        return self.known[0] if self.known is not None and self.is_optimum else None


@dataclass(frozen=True)
class Goal:
    """What comes after the slash of a name."""

    kind: str
    number: float
    unit: str
    is_kept: bool
    is_balanced: bool


@dataclass(frozen=True)
class Matrix:
    """S with what does not depend on the goal."""

    S: NDArray[np.float32]
    labels: NDArray[np.int64]
    digest: str
    total_norm: float
    planted: NDArray[np.bool_] | None = None


LISTED: dict[str, tuple[str, ...]] = {
    "tiny-12x2": ("eps=20%", "eps=40%,kept", "size=50%"),
    "tiny-16x3": ("eps=10%", "size=40%", "size=50%,balanced"),
    "tiny-20x5": ("eps=30%", "size=40%"),
    "gaussian-200x8": ("eps=20%", "size=40%"),
    "planted-200x4": ("eps=5%", "size=40%"),
    **{
        f"{family}-20000x{d}": ("eps=20%", "eps=2%", "size=40%")
        for family in ("gaussian", "heavytail1", "heavytail2", "powerlaw", "planted")
        for d in (16, 256, 2048)
    },
    "digits": ("eps=0.01", "eps=0.1", "eps=1.0"),
    "digits-ridge": ("size=40%", "size=40%,balanced", "eps=0.5,kept"),
    "fmnist-pca128": ("eps=2%", "eps=20%", "eps=50%"),
    "fmnist-pca128-ridge": ("size=40%", "size=80%", "eps=0.05,kept"),
    "mixed-1280000x256": ("eps=2%", "eps=20%", "size=40%"),
}
"""The instances with a name in the tables; any other name of the same grammar works too."""


def listed_names() -> list[str]:
    """All listed instances."""
    return [f"{matrix}/{goal}" for matrix, goals in LISTED.items() for goal in goals]


def select(patterns: Iterable[str]) -> list[str]:
    """Expand names and shell patterns, in the order given.

    Parameters
    ----------
    patterns : iterable of str
        ``"digits/*"`` is matched against the listed instances; anything without a star is a name.

    Raises
    ------
    ValueError
        If a pattern matches nothing or a name is not of the grammar.
    """
    names: list[str] = []
    for pattern in patterns:
        found = fnmatch.filter(listed_names(), pattern) if "*" in pattern else [pattern]
        if not found:
            raise ValueError(f"no listed instance matches {pattern!r}; see --list.")
        for name in found:
            _parse(name)
            names += [] if name in names else [name]
    return names


def build(name: str, data_dir: Path | None = None, cache_dir: Path | None = None) -> Instance:
    """Build the instance ``<matrix>/<goal>``; the last matrix stays in memory for the next goal.

    Raises
    ------
    ValueError
        If the name is not of the grammar.
    DataMissingError
        If it needs data that are not there.
    """
    matrix_name, goal = _parse(name)
    matrix = _matrix(matrix_name, data_dir, cache_dir)
    n = len(matrix.S)
    epsilon = size = limits = None
    if goal.kind == "eps":
        epsilon = goal.number
        if goal.unit:
            is_random = goal.unit == "%random"
            whole = _random_norm(matrix.S, n // 2) if is_random else matrix.total_norm
            epsilon *= whole / 100
    else:
        size = round(goal.number / 100 * n) if goal.unit else int(goal.number)
        limits = _balanced_limits(matrix.labels, size) if goal.is_balanced else None
    question = Question(
        matrix.S,
        epsilon,
        size,
        normalization="kept" if goal.is_kept else "full",
        groups=matrix.labels if goal.is_balanced else None,
        group_limits=limits,
    )
    known, is_optimum = _known(question, matrix)
    return Instance(
        name,
        question,
        matrix.digest,
        total_norm=matrix.total_norm,
        random_norm=_random_norm(matrix.S, size if size is not None else n // 2),
        known=known,
        is_optimum=is_optimum,
    )


def _parse(name: str) -> tuple[str, Goal]:
    matrix, _, goal = name.partition("/")
    found = _GOAL.fullmatch(goal)
    if found is None:
        raise ValueError(f"{name!r} has no goal like eps=20%, eps=0.1, size=40% or size=500.")
    synthetic = _SYNTHETIC.fullmatch(matrix)
    if not is_head(matrix) and (synthetic is None or synthetic[1] not in FAMILIES):
        known = ", ".join([*HEADS, *(f"{family}-NxD" for family in FAMILIES)])
        raise ValueError(f"{name!r} is about an unknown matrix; there are {known}.")
    kind, number, unit, kept, balanced = found.groups()
    if balanced and kind == "eps":
        raise ValueError(f"{name!r}: balanced goes with size.")
    if unit == "%random" and kind == "size":
        raise ValueError(f"{name!r}: %random goes with eps.")
    return matrix, Goal(kind, float(number), unit or "", bool(kept), bool(balanced))


@lru_cache(maxsize=1)
def _matrix(name: str, data_dir: Path | None, cache_dir: Path | None) -> Matrix:
    planted = None
    if is_head(name):
        S, labels = head_matrix(name, data_dir, cache_dir)
    else:
        found = _SYNTHETIC.fullmatch(name)
        assert found is not None
        family, n, d, seed = found[1], int(found[2]), int(found[3]), int(found[4] or 0)
        S = FAMILIES[family](n, d, seed)
        labels = np.arange(n, dtype=np.int64) % _NUM_GROUPS
        planted = planted_mask(n, seed) if family == "planted" else None
    digest = _head_digest(S) if is_head(name) else _exact_digest(S)
    total = norm_of(S, np.ones(len(S), dtype=np.bool_))
    return Matrix(S, labels, digest, total, planted)


def _exact_digest(S: NDArray[np.float32]) -> str:
    return hashlib.sha256(np.ascontiguousarray(S).data).hexdigest()[:16]


def _head_digest(S: NDArray[np.float32]) -> str:
    """Stay the same where another BLAS rounds the same trained head otherwise."""
    squares = np.einsum("ij,ij->i", S, S, dtype=np.float64)
    return f"{APPROXIMATE}{np.sqrt(squares.mean()):.5e}"


def _balanced_limits(labels: NDArray[np.int64], size: int) -> dict[int, tuple[int, int]]:
    """Equal shares of every group, up to rounding."""
    values, counts = np.unique(labels, return_counts=True)
    shares = counts * (size / len(labels))
    return {
        int(label): (int(np.floor(share)), int(np.ceil(share)))
        for label, share in zip(values, shares, strict=True)
    }


def _known(question: Question, matrix: Matrix) -> tuple[tuple[float, str] | None, bool]:
    if question.n <= MAX_ENUMERATED:
        found = enumerate_optimum(question)
        return (None if found is None else (found[0], "enumeration")), found is not None
    planted = matrix.planted
    if planted is None or question.normalization != "full" or question.groups is not None:
        return None, False
    count = int(planted.sum())
    if question.size not in {None, count}:
        return None, False
    if question.form == "max_size":
        return (float(count), "planted"), False
    return (norm_of(question.S, planted), "planted"), True


def _random_norm(S: NDArray[np.float32], count: int) -> float:
    """Mean norm of random subsets of that size."""
    rng = np.random.default_rng(0)
    weights = np.zeros((_NUM_RANDOM, len(S)))
    for row in weights:
        row[rng.choice(len(S), size=count, replace=False)] = 1
    sums = np.zeros((_NUM_RANDOM, S.shape[1]))
    step = max(1, _CHUNK_ENTRIES // S.shape[1])
    for start in range(0, len(S), step):
        sums += weights[:, start : start + step] @ S[start : start + step].astype(np.float64)
    return float(np.linalg.norm(sums, axis=1).mean())
