"""The ids that a file holds, if it holds any."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from subsetsel.errors import FileFormatError
from subsetsel.formats.read import read_columns
from subsetsel.formats.tensors import names_in_tensors, read_tensor, read_texts
from subsetsel.support.npz import npz_names, read_npz
from subsetsel.support.optional import import_extra


def read_ids(path: Path, identity: str = "id") -> list[Any] | None:
    """Read the names of the examples, in the order of the file's rows or arrays.

    Parameters
    ----------
    path : Path
        ``.npz`` or ``.safetensors``, where they are called ``ids``; or a table.
    identity : str
        Column of a table that holds them.

    Returns
    -------
    list or None
        None where the file has none.
    """
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return read_npz(path, ["ids"])["ids"].tolist() if "ids" in npz_names(path) else None
    if suffix == ".safetensors":
        has_tensor = "ids" in names_in_tensors(path)
        ids = read_tensor(path, "ids") if has_tensor else read_texts(path, "ids")
        return None if ids is None else list(ids.tolist())
    if suffix in {".csv", ".tsv", ".parquet"} and identity in _column_names(path):
        return read_columns(path, [identity])[0]
    return None


def ids_by_position(path: Path) -> list[Any] | None:
    """Read the ids of a file of a subset: the one at i is that of example i."""
    ids = read_ids(path)
    if ids is None or path.suffix.lower() in {".npz", ".safetensors"}:
        return ids
    index = np.array(read_columns(path, ["index"])[0]).astype(np.int64)
    # A table of a subset may have been sorted since.
    return [ids[row] for row in np.argsort(index)]


def _column_names(path: Path) -> list[str]:
    if path.suffix.lower() == ".parquet":
        schema = import_extra("pyarrow.parquet", "parquet", "parquet files").read_schema(path)
        return list(schema.names)
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
            return [name.strip() for name in next(csv.reader(stream, delimiter=delimiter), [])]
    except (csv.Error, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} is not a table in UTF-8: {error}.") from error
