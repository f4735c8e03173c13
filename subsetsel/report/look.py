"""A first look at labelled data: what stands out before anything is trained, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from subsetsel.errors import FileFormatError, ProblemError
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray

FEW = 10
NEAR = 0.01
# With fewer features rows lie near each other by chance.
LEAST_FEATURES = 8
SHOWN = 5

_BLOCK = 1 << 19  # numbers in a block: it and its copies stay in the cache
_NUM_TABLES, _NUM_DIRECTIONS, _CELL = 3, 8, 20

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Look:
    """What stands out in labelled data.

    Attributes
    ----------
    n, num_features : int
    not_finite : int
        Examples with a NaN or an infinite feature.
    constant : list of int
        Features that have one value in all examples.
    num_duplicates : int
        Examples whose features equal those of an earlier one.
    num_contradicting : int
        Those of them whose label is another than the earlier one's.
    num_near : int or None
        Examples that are no duplicates and lie within `NEAR` of the typical distance of two
        examples from an earlier one, each feature measured in its standard deviations. Random
        projections find the pairs and distances confirm them, so the number is at most a little
        too small. None where it was not counted: with fewer than `LEAST_FEATURES` features that
        vary, or with values that are not finite.
    few : dict
        Class -> number of examples, of each class with fewer than `FEW`.
    """

    n: int
    num_features: int
    not_finite: int = 0
    constant: list[int] = field(default_factory=list)
    num_duplicates: int = 0
    num_contradicting: int = 0
    num_near: int | None = None
    few: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        """Take it from a manifest.

        Parameters
        ----------
        record : mapping
            The fields, as `Manifest.look` has them.

        Returns
        -------
        Look

        Raises
        ------
        FileFormatError
            If they are not those of a look.
        """
        try:
            look = cls(**record)
            look.lines()
        except (TypeError, ValueError, AttributeError) as error:
            raise FileFormatError(
                "the first look of the manifest is damaged; prune again, or take the manifest "
                "that the run wrote."
            ) from error
        return look

    def lines(self) -> list[str]:
        """Say what stands out: one line for each thing, with a count and what to do.

        Returns
        -------
        list of str
            Empty where nothing stands out.
        """
        return [text for count, text in self._remarks() if count]

    def _remarks(self) -> Iterator[tuple[int, str]]:
        yield (
            self.not_finite,
            f"{_count(self.not_finite, 'example')} with NaN or infinite features: repair or remove "
            "them, a head cannot be trained on them",
        )
        yield (
            len(self.constant),
            f"{_count(len(self.constant), 'feature')} with one value in all examples "
            f"({_some(self.constant)}): drop them, they tell no classes apart",
        )
        yield (
            self.num_duplicates,
            f"{_count(self.num_duplicates, 'exact duplicate')} of earlier examples: remove them "
            "first if they are copies by mistake",
        )
        yield (
            self.num_contradicting,
            f"{_count(self.num_contradicting, 'duplicate')} with another label than the earlier "
            "example: look at these labels, one of each pair may be wrong",
        )
        yield (
            self.num_near or 0,
            f"{_count(self.num_near or 0, 'near duplicate')} of earlier examples: keep copies of "
            "one thing together when you split off test examples",
        )
        names = [f"{name}: {count}" for name, count in self.few.items()]
        yield (
            len(names),
            f"{_count(len(names), 'class', 'classes')} with fewer than {FEW} examples "
            f"({_some(names)}): keep them all with --keep-per-class, or merge them",
        )


def first_look(X: ArrayLike, y: ArrayLike) -> Look:
    """Look for duplicates, small classes and features that say nothing.

    It takes a few passes over X and no training.

    Parameters
    ----------
    X : array_like of shape (n, h)
        Real numbers, one row per example.
    y : array_like of shape (n,)

    Returns
    -------
    Look

    Raises
    ------
    ProblemError
        If X is not a table of numbers with one label per row.
    """
    table, labels = np.asarray(X), np.asarray(y)
    if table.ndim != 2 or table.dtype.kind not in "fiub" or labels.shape != table.shape[:1]:
        raise ProblemError(
            "a first look takes X, a dense table (n, h) of numbers, and y with one label per row; "
            f"got {table.dtype} of shape {table.shape} and labels of shape {labels.shape}. Take "
            "some rows of a sparse X with X[:1000].toarray()."
        )
    n, num_features = table.shape
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    few = {
        str(classes[c]): int(counts[c])
        for c in np.argsort(counts, kind="stable")
        if counts[c] < FEW
    }
    if not table.size:
        return Look(n, num_features, few=few)
    not_finite, mean, deviation, is_constant = _columns(table)
    first = _first_equal(table)
    is_copy = first != np.arange(n)
    copies = np.flatnonzero(is_copy)
    num_near = None
    if not not_finite and np.count_nonzero(~is_constant) >= LEAST_FEATURES:
        num_near = _count_near(table, np.flatnonzero(~is_copy), mean, deviation)
    return Look(
        n,
        num_features,
        not_finite=not_finite,
        constant=np.flatnonzero(is_constant).tolist(),
        num_duplicates=len(copies),
        num_contradicting=int(np.count_nonzero(codes[copies] != codes[first[copies]])),
        num_near=num_near,
        few=few,
    )


def _blocks(n: int, width: int) -> Iterator[slice]:
    step = max(1, _BLOCK // max(1, width))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def _columns(table: Array) -> tuple[int, FloatArray, FloatArray, BoolArray]:
    """Rows that are not finite; mean and deviation of each column, and whether it is constant."""
    n, h = table.shape
    bad, sums, squares = 0, np.zeros(h), np.zeros(h)
    is_constant = np.ones(h, dtype=np.bool_)
    origin = table[0].astype(np.float64)  # sums of what is left of it lose fewer digits
    with np.errstate(invalid="ignore", over="ignore"):
        for rows in _blocks(n, h):
            block = table[rows].astype(np.float64)
            block -= origin
            bad += int(np.count_nonzero(~np.isfinite(block).all(axis=1)))
            is_constant &= (block == 0).all(axis=0)
            sums += block.sum(axis=0)
            squares += np.einsum("ij,ij->j", block, block)
        mean = sums / n
        deviation = np.sqrt(np.maximum(squares / n - mean**2, 0.0))
    return bad, origin + mean, deviation, is_constant


def _first_equal(table: Array) -> IndexArray:
    """For each row the first row that equals it: by a hash, and each pair compared."""
    n, h = table.shape
    # Odd factors, so that a change of one number always changes the sum modulo 2^64.
    factors = np.random.default_rng(0).integers(0, 1 << 63, h, dtype=np.uint64) * 2 + 1
    keys = np.empty(n, dtype=np.uint64)
    for rows in _blocks(n, h):
        # Zero has two signs and one value; in float64 equal numbers have equal bits.
        block = table[rows].astype(np.float64) + 0.0
        bits = block.view(np.uint64)
        # Small whole numbers differ in their high bits alone, which a product would push out.
        bits ^= bits >> np.uint64(32)
        keys[rows] = bits @ factors
    return _first_of_each(keys, lambda a, b: (table[a] == table[b]).all(axis=1))


def _first_of_each(keys: NDArray[np.uint64], agree: Any) -> IndexArray:
    """For each row the first row with its key with which it also agrees; itself otherwise."""
    _, starts, groups = np.unique(keys, return_index=True, return_inverse=True)
    first = starts[groups]
    later = np.flatnonzero(first != np.arange(len(keys)))
    for part in np.array_split(later, len(later) // 4096 + 1):
        first[part] = np.where(agree(first[part], part), first[part], part)
    return first


def _count_near(table: Array, rows: IndexArray, mean: FloatArray, deviation: FloatArray) -> int:
    """Count rows that lie near an earlier one among those given.

    Each table of cells rounds a few random projections: rows that are near fall into one cell with
    probability of about 0.7, and of 0.97 in one of the tables.
    """
    is_usable = (deviation > 0) & np.isfinite(deviation)
    scale = np.divide(1.0, deviation, where=is_usable, out=np.zeros_like(deviation))
    mean = np.where(is_usable, mean, 0.0)
    num_varying = np.count_nonzero(is_usable)
    limit = NEAR * np.sqrt(2.0 * num_varying)
    rng = np.random.default_rng(0)
    width = _NUM_TABLES * _NUM_DIRECTIONS
    directions = rng.standard_normal((len(scale), width), dtype=np.float32)
    # Where two rows are `limit` apart, a projection differs by about as much.
    step, shift = np.float32(_CELL * limit), rng.random(width, dtype=np.float32)
    mix = rng.integers(0, 1 << 63, _NUM_DIRECTIONS, dtype=np.uint64) * 2 + 1
    keys = np.empty((_NUM_TABLES, len(rows)), dtype=np.uint64)
    for part in _blocks(len(rows), len(mean)):
        # In float64 until they are a few deviations: dates differ in their last digits.
        units = ((table[rows[part]] - mean) * scale).astype(np.float32)
        cells = units @ directions / step + shift
        cells = np.floor(cells).astype(np.int64).view(np.uint64)
        for t in range(_NUM_TABLES):
            keys[t, part] = cells[:, t * _NUM_DIRECTIONS : (t + 1) * _NUM_DIRECTIONS] @ mix

    def agree(a: IndexArray, b: IndexArray) -> BoolArray:
        apart = (table[rows[a]].astype(np.float64) - table[rows[b]]) * scale
        near: BoolArray = np.einsum("ij,ij->i", apart, apart) <= limit**2
        return near

    is_near = np.zeros(len(rows), dtype=np.bool_)
    for one in keys:
        is_near |= _first_of_each(one, agree) != np.arange(len(rows))
    return int(np.count_nonzero(is_near))


def _count(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _some(values: list[Any]) -> str:
    more = "" if len(values) <= SHOWN else f" and {len(values) - SHOWN:,} more"
    return ", ".join(map(str, values[:SHOWN])) + more
