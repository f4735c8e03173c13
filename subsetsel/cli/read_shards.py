"""Examples that lie in shards: opened where they lie, with labels, ids and weights brought here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from subsetsel.cli.console import print_note
from subsetsel.cli.options import flag
from subsetsel.engine.plan_steps import Asked
from subsetsel.errors import OptionError
from subsetsel.formats import Data, Reading
from subsetsel.formats.choose import beside_features, require_labels
from subsetsel.formats.parquet import ParquetTable
from subsetsel.formats.read import read_labels_alone
from subsetsel.support.parts import parts_of

if TYPE_CHECKING:
    from subsetsel.rows.base import Rows
    from subsetsel.shards.files import Files
    from subsetsel.shards.table import Shards

_PARQUET = ".parquet"


def files_of_shards(setting: Mapping[str, Any]) -> list[Path]:
    """List the files that the paths of a plan stand for, in the order of their shards."""
    from subsetsel.shards.readers import ENDINGS

    return [part for path in setting["paths"] for part in parts_of(Path(path), ENDINGS)]


def read_sharded(setting: Mapping[str, Any], how: Reading, engine: str | None) -> Data:
    """Open the shards that a plan names, look through them once, and bring labels here.

    Parameters
    ----------
    setting : mapping
        ``paths`` and ``rows_per_shard``.
    how : Reading
    engine : str or None
        The address of a scheduler; None for this process.
    """
    from subsetsel.problem.in_shards import open_features

    files = files_of_shards(setting)
    table = _parquet_of(files)
    beside = None if table is None else beside_features(table, how)
    if beside is None:
        _refuse_columns(how)
    shards = open_shards(
        setting,
        engine,
        label=None if how.labels is not None else how.label,
        columns=_columns(how) if beside is None else beside.features,
    )
    X, y = open_features(shards, None if how.labels is None else read_labels_alone(how), None)
    if table is None or beside is None:
        return Data(X, y)
    if how.labels is None:
        require_labels(table, y, how)
    return Data(X, y, beside.ids, weights=beside.weights, names=beside.features)


def open_shards(
    setting: Mapping[str, Any],
    engine: str | None,
    *,
    label: str | None = None,
    columns: tuple[str, ...] | None = None,
) -> Shards:
    """Open the files of a plan, and say where an engine has nothing to share out."""
    from subsetsel.shards.sources import open_table

    table: Shards = open_table(
        list(map(str, files_of_shards(setting))),
        label=label,
        columns=columns,
        engine=engine,
        rows_per_shard=setting["rows_per_shard"],
    )
    _note_if_small(table, engine)
    return table


def rows_in_shards(setting: Mapping[str, Any], engine: str | None) -> Rows:
    """Open the files of S that a plan names; see `open_rows`."""
    from subsetsel.rows.sharded import open_rows

    rows: Rows = open_rows(
        setting["paths"], engine=engine, rows_per_shard=setting["rows_per_shard"]
    )
    _note_if_small(rows.shards, engine)
    return rows


def _note_if_small(shards: Shards | None, engine: str | None) -> None:
    """Say where an engine has nothing to share out."""
    if engine is not None and shards is not None and len(shards) == 1:
        print_note(
            f"warning: all {shards.n:,} examples are one shard, which a single worker computes; "
            "leave out --engine, or name smaller shards with --rows-per-shard"
        )


def measure_examples(setting: Mapping[str, Any], how: Reading, num_classes: int | None) -> Asked:
    """Count examples, features and classes from the headers of the files, and their labels.

    Parameters
    ----------
    setting : mapping
        ``paths`` and ``rows_per_shard``.
    how : Reading
    num_classes : int or None
        Where it is known, no label is read.
    """
    table = _parquet_of(files_of_shards(setting))
    columns = _columns(how) if table is None else beside_features(table, how).features
    label = None if how.labels is not None else how.label
    files, num_shards = _look(setting, columns, label)
    if num_classes is None:
        num_classes = len(_classes(files, how))
    if num_classes < 2:
        raise OptionError(
            f"a head needs two classes, and the labels have {num_classes}; name others with "
            "--label, or their number with --assume classes=10."
        )
    return Asked(
        n=files.num_rows,
        d=(num_classes - 1) * (files.width + 1),
        num_shards=num_shards,
        itemsize=_itemsize(files),
        num_features=files.width,
        num_classes=num_classes,
    )


def measure_matrix(setting: Mapping[str, Any]) -> Asked:
    """Count the rows and columns of S from the headers of its files."""
    files, num_shards = _look(setting, None, None)
    return Asked(n=files.num_rows, d=files.width, num_shards=num_shards, itemsize=_itemsize(files))


def _look(
    setting: Mapping[str, Any], columns: tuple[str, ...] | None, label: str | None
) -> tuple[Files, int]:
    """Read the headers of all files, here, and count the shards that they are cut into."""
    from subsetsel.shards.files import find_files
    from subsetsel.shards.workers import Serial

    files = find_files(setting["paths"], Serial(), columns=columns, label=label)
    return files, len(files.cut(setting["rows_per_shard"], is_mapped=True))


def _itemsize(files: Files) -> int:
    return max(one.itemsize for one in files.about)


def _classes(files: Files, how: Reading) -> set[Any]:
    """Find the different labels, file after file, and nothing of the features."""
    from subsetsel.shards.readers import read

    if how.labels is not None:
        return set(np.unique(read_labels_alone(how)).tolist())
    classes: set[Any] = set()
    for path, about in zip(files.paths, files.about, strict=True):
        labels, _ = read(path, 0, about.num_rows, (how.label,), None)
        classes |= set(np.unique(np.asarray(labels)).tolist())
    return classes


def _parquet_of(files: list[Path]) -> ParquetTable | None:
    """Give the columns of all files together; None where they are files of arrays."""
    if all(file.suffix.lower() == _PARQUET for file in files):
        return ParquetTable(files[0], files)
    return None


def _columns(how: Reading) -> tuple[str, ...] | None:
    return how.features or None


def _refuse_columns(how: Reading) -> None:
    """Refuse flags that speak of columns, for files of arrays."""
    asked = {"drop": how.drop, "weight": how.weight, "id": how.identity != "id"}
    for name, value in asked.items():
        if value:
            raise OptionError(
                f"{flag(name)} names a column, and of data in shards only parquet files have "
                "columns; leave it out, or write the data as parquet."
            )
