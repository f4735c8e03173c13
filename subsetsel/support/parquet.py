"""Parquet files: opened so that whatever is wrong with one is said with its name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from subsetsel.errors import FileFormatError, ProblemError
from subsetsel.support.memory import check_fits
from subsetsel.support.optional import import_extra


@contextmanager
def named_columns(path: str) -> Iterator[None]:
    """Turn an error about columns into one about a file."""
    arrow = import_extra("pyarrow", "parquet", "parquet files")
    try:
        yield
    except FileFormatError:
        raise
    except ProblemError as error:
        raise FileFormatError(f"{path}: {error}") from error
    except (arrow.ArrowException, ValueError, OverflowError) as error:
        raise FileFormatError(f"{path} is not a parquet file, or is damaged: {error}.") from error


@contextmanager
def opened_parquet(path: Path) -> Iterator[Any]:
    """Open a file, and turn every error into a `FileFormatError` that names it."""
    arrow = import_extra("pyarrow", "parquet", "parquet files")
    parquet = import_extra("pyarrow.parquet", "parquet", "parquet files")
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            for name in names:
                if names.count(name) > 1:
                    raise FileFormatError(f"{path} has two columns named {name!r}; rename one.")
            about = file.metadata
            # What each row group says it takes once it is unpacked.
            sizes = (about.row_group(g).total_byte_size for g in range(about.num_row_groups))
            check_fits(str(path), max(sizes, default=0))
            yield file
    except FileFormatError:
        raise
    except (arrow.ArrowException, OSError, ValueError, OverflowError) as error:
        raise FileFormatError(f"{path} is not a parquet file, or is damaged: {error}.") from error


def index_columns(schema: Any) -> list[str]:
    """Name the columns in which pandas stored the index of a frame."""
    about = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
    columns = about.get("index_columns", []) if isinstance(about, dict) else []
    if not isinstance(columns, list):
        return []
    return [name for name in columns if isinstance(name, str) and name in schema.names]


def refuse_differences(first: Path, expected: Any, part: Path, schema: Any) -> None:
    """Refuse a part that has other columns than the first, or columns of other types."""
    for one, names, other in (
        (part, set(expected.names) - set(schema.names), first),
        (first, set(schema.names) - set(expected.names), part),
    ):
        if names:
            raise FileFormatError(
                f"{one} has no column {min(names)!r}, which {other} has. Write both with the same "
                "columns, or name one of them."
            )
    for name in expected.names:
        wanted, found = expected.field(name).type, schema.field(name).type
        if wanted != found:
            raise FileFormatError(
                f"{part}: column {name!r} holds {found}, and in {first} it holds {wanted}. Write "
                "both with one type."
            )
