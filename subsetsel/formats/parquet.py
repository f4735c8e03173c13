"""Parquet: columns by name, read batch by batch into one array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from subsetsel.errors import FileFormatError, ProblemError
from subsetsel.formats.arrow import join_features, read_labels
from subsetsel.formats.data import Array, Data, require_columns
from subsetsel.formats.tables import LABEL_CURE
from subsetsel.support.memory import check_fits
from subsetsel.support.optional import import_extra

_BATCH = 1 << 14


def read_parquet_matrix(path: Path) -> Array:
    """Read a file all of whose columns are numbers, or lists of as many numbers."""
    with _opened(path) as file:
        return _features(path, file, file.schema_arrow.names)


def read_parquet(path: Path, label: str, identity: str) -> Data:
    """Read labelled examples; columns that are neither the label nor the id are features."""
    with _opened(path) as file:
        names = file.schema_arrow.names
        require_columns(str(path), [label], names, FileFormatError, LABEL_CURE)
        features = [name for name in names if name not in {label, identity}]
        if not features:
            raise FileFormatError(f"{path} has no column of features beside {label!r}.")
        y, ids = (
            read_labels(str(path), _column(file, name), name) if name in names else None
            for name in (label, identity)
        )
        assert y is not None
        return Data(_features(path, file, features), y, ids)


def read_parquet_columns(path: Path, names: Sequence[str]) -> list[list[Any]]:
    """Read columns of numbers or texts without missing values."""
    with _opened(path) as file:
        require_columns(str(path), names, file.schema_arrow.names, FileFormatError)
        return [read_labels(str(path), _column(file, name), name).tolist() for name in names]


def read_parquet_metadata(path: Path) -> dict[bytes, bytes]:
    """Read what a file says of itself."""
    with _opened(path) as file:
        return dict(file.schema_arrow.metadata or {})


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file, and turn every error into a `FileFormatError` that names it."""
    arrow = import_extra("pyarrow", "parquet", "parquet files")
    parquet = import_extra("pyarrow.parquet", "parquet", "parquet files")
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if len(set(names)) != len(names):
                raise FileFormatError(f"{path} has two columns of one name.")
            about = file.metadata
            # What each row group says it takes once it is unpacked.
            sizes = (about.row_group(g).total_byte_size for g in range(about.num_row_groups))
            check_fits(str(path), max(sizes, default=0))
            if not about.num_rows:
                raise FileFormatError(f"{path} holds no example.")
            yield file
    except FileFormatError:
        raise
    except ProblemError as error:
        raise FileFormatError(f"{path}: {error}") from error
    except (arrow.ArrowException, OSError, ValueError, OverflowError) as error:
        raise FileFormatError(f"{path} is not a parquet file, or is damaged: {error}.") from error


def _features(path: Path, file: Any, names: list[str]) -> Array:
    batches = file.iter_batches(batch_size=_BATCH, columns=names)
    return join_features(str(path), file.metadata.num_rows, names, batches)


def _column(file: Any, name: str) -> Any:
    return file.read(columns=[name]).column(name)
