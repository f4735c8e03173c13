"""Files in shards: opened, and each number looked at once, where it is read."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from subsetsel.errors import ProblemError
from subsetsel.shards.files import Files, Paths, find_files
from subsetsel.shards.open import open_workers
from subsetsel.shards.pieces import Piece, Source, load_arrays
from subsetsel.shards.table import Shards
from subsetsel.shards.workers import Serial, Workers
from subsetsel.support.entries import Entries, entries_of

# Entries that are looked at together.
_LOOK = 2**20


class FileShards(Shards):
    """Shards of files; an example is named by its row in a file."""

    def __init__(self, workers: Workers, held: Sequence[Any], sources: Sequence[Source]) -> None:
        pieces = [source.pieces for source in sources]
        lengths = [sum(one.stop - one.start for one in part) for part in pieces]
        super().__init__(workers, held, lengths, [_name_of(part) for part in pieces])
        self.pieces = [piece for part in pieces for piece in part]

    def locate(self, index: int) -> str:
        """Name an example: its row in a file."""
        for piece in self.pieces:
            if index < piece.stop - piece.start:
                return f"row {piece.start + index} of {piece.name}"
            index -= piece.stop - piece.start
        raise IndexError(index)

    def derive(
        self,
        function: Callable[..., Any],
        *common: Any,
        each: Sequence[tuple[Any, ...]] | None = None,
    ) -> Shards:
        """See `Shards.derive`."""
        other = copy.copy(self)
        other.held = super().derive(function, *common, each=each).held
        other.num_rounds, other.bytes_sent = 0, 0
        return other


def open_table(
    paths: Paths,
    *,
    label: str | None = None,
    columns: Sequence[str] | None = None,
    engine: Any = None,
    rows_per_shard: int | None = None,
) -> Shards:
    """Open files of features as shards, and look at each number once, where it is read.

    Parameters
    ----------
    paths : path, glob, or sequence of them
        npy, npz, parquet or zarr, all of one kind. A folder stands for its files, and a glob for
        those that match, sorted by name, part-2 before part-10; a sequence keeps its order.
    label : str, optional
        The column, or the array of an npz file or a zarr group, that holds the labels.
    columns : sequence of str, optional
        Those that hold the features; all others by default. Of an npz file or a zarr group one
        array, by default ``X`` or the only one.
    engine : optional
        Who holds the shards; see `subsetsel.shards.open.open_workers`.
    rows_per_shard : int, optional
        By default about 64 MB, and more where there would be more than 256 shards. A file is cut
        into equal ranges, parquet between row groups and zarr between chunks; small files share a
        shard.

    Returns
    -------
    Shards
        Of X, shape (n_k, h), float32 or float64; of (X, y) with a label. Of the values as they are
        stored where each row is a single one: so labels and weights can be read.

    Raises
    ------
    FileFormatError
        If a file is not what it should be, or not as the others.
    ProblemError
        If a number is not finite, named by file, row and column.
    FileNotFoundError
        If there is no such file.
    """
    workers = open_workers(engine)
    files = find_files(paths, workers, columns=columns, label=label)
    shards = open_files(files, workers, rows_per_shard=rows_per_shard)
    for k, found in enumerate(shards.map(_look_at)):
        if found is not None and found.bad is not None:
            row, column, value, *_ = found.bad
            raise ProblemError(
                f"features must be finite, but column {column} of "
                f"{shards.locate(int(shards.starts[k]) + row)} is {value}; remove or repair these "
                "examples first."
            )
    return shards


def open_files(
    files: Files,
    workers: Workers,
    load: Callable[[Source], Any] = load_arrays,
    rows_per_shard: int | None = None,
) -> FileShards:
    """Cut files into shards, each to be held as ``load`` makes it of its source."""
    # A file that is mapped takes no memory; a worker of an engine counts, spills and sends what it
    # holds, and must hold it itself.
    sources = files.cut(rows_per_shard, is_mapped=isinstance(workers, Serial))
    held = workers.hold(load, [(source,) for source in sources])
    return FileShards(workers, held, sources)


def _look_at(value: Any) -> Entries | None:
    """Look at the features of a shard; None where each row is a single value."""
    X = value[0] if isinstance(value, tuple) else value
    if X.ndim != 2:
        return None
    step = max(1, _LOOK // max(1, X.shape[1]))
    starts = range(0, len(X), step)
    return entries_of(X.shape, X.dtype, ((at, at + step, X[at : at + step]) for at in starts))


def _name_of(pieces: Sequence[Piece]) -> str:
    first = pieces[0].name
    if len(pieces) > 1:
        return f"{first} to {pieces[-1].name}"
    return f"{first} from row {pieces[0].start}" if pieces[0].start else first
