"""What a shard is read from: rows of files, and what the files were like when it was cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from subsetsel.errors import FileFormatError
from subsetsel.shards.readers import Stamp, read, stamp_of

ALIGNMENT = 16
"""Bytes at whose multiples arrays begin that are made in memory. Libraries sum in another order
where one does not, and a map must give the sums of a copy."""


class Piece(NamedTuple):
    """Rows of one file, what the user calls it, and what it was like when it was opened."""

    name: str
    path: str
    start: int
    stop: int
    stamp: Stamp


class Source(NamedTuple):
    """What a shard is read from: a few small things that travel to whoever reads it."""

    pieces: tuple[Piece, ...]
    columns: tuple[str, ...]
    label: str | None
    is_mapped: bool


class Mapped(np.memmap[Any, Any]):
    """Rows that are mapped from a file: nobody keeps them, so that each round looks at the file."""

    held_bytes = None


def load_arrays(source: Source) -> Any:
    """Read the features of a shard, or features and labels where there is a label."""
    parts = [_read(piece, source) for piece in source.pieces]
    X = _joined([part for part, _ in parts])
    if isinstance(X, np.memmap):
        is_aligned = X.ctypes.data % ALIGNMENT == 0
        X = X.view(Mapped) if source.is_mapped and is_aligned else np.array(X, subok=False)
    return X if source.label is None else (X, _joined([y for _, y in parts if y is not None]))


def _read(piece: Piece, source: Source) -> tuple[NDArray[Any], NDArray[Any] | None]:
    path = piece.path
    try:
        stamp = stamp_of(path)
        if stamp != piece.stamp:
            raise FileFormatError(
                f"{path} was changed since the data was opened: it had {piece.stamp[0]:,} bytes, "
                f"and has {stamp[0]:,}, or another time of change. Open the data again. Copies on "
                "several machines need the same times (cp -p, rsync -t)."
            )
        return read(path, piece.start, piece.stop, source.columns, source.label)
    except OSError as error:
        raise FileFormatError(
            f"{path} can no longer be read ({error.strerror or error}), and was there when the "
            "data was opened. Put it back, or, with an engine, where all workers can read it, and "
            "open the data again."
        ) from error


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
