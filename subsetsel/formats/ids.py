"""The ids that a file holds, if it holds any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from subsetsel.formats.read import TABLE_SUFFIXES, check_suffix, names_of_columns, read_columns
from subsetsel.formats.reading import PLAIN_TEXT, Text
from subsetsel.formats.tensors import names_in_tensors, read_tensor, read_texts
from subsetsel.support.npz import npz_names, read_npz


def read_ids(path: Path, identity: str = "id", text: Text = PLAIN_TEXT) -> list[Any] | None:
    """Read the names of the examples, in the order of the file's rows or arrays.

    Parameters
    ----------
    path : Path
        ``.npz`` or ``.safetensors``, where they are called ``ids``; or a table.
    identity : str
        Column of a table that holds them.
    text : Text
        How a text is read.

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
    is_table = suffix not in {".npy", ".txt"} and check_suffix(path) in TABLE_SUFFIXES
    if is_table and identity in names_of_columns(path, text):
        return read_columns(path, [identity], text)[0]
    return None


def ids_by_position(path: Path) -> list[Any] | None:
    """Read the ids of a file of a subset: the one at i is that of example i."""
    ids = read_ids(path)
    if ids is None or path.suffix.lower() in {".npz", ".safetensors"}:
        return ids
    index = np.array(read_columns(path, ["index"])[0]).astype(np.int64)
    # A table of a subset may have been sorted since.
    return [ids[row] for row in np.argsort(index)]
