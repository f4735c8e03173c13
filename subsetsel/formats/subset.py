"""A subset as a file: whole, or not there; the user's ids beside the indices."""

from __future__ import annotations

import csv
import io
import json
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from subsetsel.errors import FileFormatError, OptionError
from subsetsel.formats.data import Array
from subsetsel.formats.parquet import read_parquet_metadata
from subsetsel.formats.read import check_suffix, read_columns
from subsetsel.formats.tensors import read_metadata, read_tensor, write_tensors
from subsetsel.problem.solution import Solution
from subsetsel.support.files import written_whole
from subsetsel.support.ids import check_ids
from subsetsel.support.optional import import_extra

SUBSET_SUFFIXES = (".npz", ".safetensors", ".parquet", ".csv", ".tsv")

_ABOUT = b"subsetsel"


def write_solution(solution: Solution, path: str | PathLike[str], ids: Array | None = None) -> None:
    """Write a subset in the format that the name ends in.

    ``.npz`` and ``.safetensors`` hold the arrays ``pruned``, ``kept`` and ``ids``; ``.parquet``,
    ``.csv`` and ``.tsv`` one line per example, with the columns ``index``, ``id`` and ``pruned``.
    All but the text tables hold the rest of the solution too.

    Parameters
    ----------
    solution : Solution
    path : str or path-like
    ids : ndarray of shape (n,), optional
        The user's names of the examples.

    Raises
    ------
    FileFormatError
        If there is not exactly one id per example, or one belongs to two.
    OptionError
        If the ending is none of `SUBSET_SUFFIXES`.
    MissingExtraError
        If the package that writes the format is not installed.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in SUBSET_SUFFIXES:
        raise OptionError(f"{target}: the name must end in one of {', '.join(SUBSET_SUFFIXES)}.")
    if ids is not None:
        check_ids("ids", ids, solution.n)
        array = np.asarray(ids)
        ids = np.array([str(name) for name in ids]) if array.dtype == object else array
    if suffix == ".npz":
        solution.save(target, ids=ids)
        return
    with written_whole(target) as part:
        if suffix == ".safetensors":
            _write_tensors(solution, part, ids)
        elif suffix == ".parquet":
            _write_parquet(solution, part, ids)
        else:
            delimiter = "\t" if suffix == ".tsv" else ","
            part.write_text(solution_table(solution, ids, delimiter), encoding="utf-8")


def require_writer(path: Path) -> None:
    """Refuse, before the work, a result for which the package that writes it is missing."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        import_extra("pyarrow.parquet", "parquet", "parquet files")
    elif suffix == ".safetensors":
        import_extra("safetensors.numpy", "safetensors", "safetensors files")


def solution_table(solution: Solution, ids: Array | None = None, delimiter: str = ",") -> str:
    """Write a subset as text: a line of names, then one line per example, ``pruned`` as 1 or 0."""
    stream = io.StringIO()
    table = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    columns = _columns(solution, ids)
    table.writerow(columns)
    table.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    return stream.getvalue()


def read_solution(path: str | PathLike[str]) -> Solution:
    """Read what `write_solution` wrote.

    Returns
    -------
    Solution
        Of a text table only the subset is known: its ``norm`` is NaN, its ``epsilon`` None.

    Raises
    ------
    FileFormatError
        If the file is something else, is truncated, or contradicts itself.
    FileNotFoundError
        If there is no such file.
    MissingExtraError
        If the package that reads the format is not installed.
    """
    source = Path(path)
    suffix = check_suffix(source, SUBSET_SUFFIXES)
    if suffix == ".npz":
        return Solution.load(source)
    if suffix == ".safetensors":
        text = read_metadata(source).get("about", "")
        return Solution.of_parts(
            source, read_tensor(source, "pruned"), read_tensor(source, "kept"), text
        )
    about = None
    if suffix == ".parquet":
        about = read_parquet_metadata(source).get(_ABOUT, b"").decode("utf-8", "replace")
    index, pruned = map(np.array, read_columns(source, ("index", "pruned")))
    try:
        # Tables of text give text, which must not reach the comparison with 0 and 1.
        pruned = pruned.astype(np.int64) if pruned.dtype.kind == "U" else pruned
        index = index.astype(np.int64)
    except (ValueError, OverflowError, TypeError) as error:
        raise FileFormatError(
            f"{source} is no table of a subset: 'index' and 'pruned' must hold integers."
        ) from error
    if not np.isin(pruned, (0, 1)).all():
        raise FileFormatError(f"{source}: column 'pruned' must hold 0 and 1.")
    is_pruned = pruned.astype(np.bool_)
    return Solution.of_parts(source, np.sort(index[is_pruned]), np.sort(index[~is_pruned]), about)


def _columns(solution: Solution, ids: Array | None) -> dict[str, Array]:
    columns: dict[str, Array] = {"index": np.arange(solution.n)}
    if ids is not None:
        columns["id"] = np.asarray(ids)
    columns["pruned"] = solution.mask.astype(np.int8)
    return columns


def _write_tensors(solution: Solution, part: Path, ids: Array | None) -> None:
    arrays: dict[str, Array] = {"pruned": solution.pruned, "kept": solution.kept}
    texts = {"about": solution.about()}
    if ids is not None and ids.dtype.kind in "iuf":
        arrays["ids"] = ids
    elif ids is not None:
        texts["ids"] = json.dumps([str(name) for name in ids.tolist()])
    write_tensors(part, arrays, texts)


def _write_parquet(solution: Solution, part: Path, ids: Array | None) -> None:
    arrow = import_extra("pyarrow", "parquet", "parquet files")
    parquet: Any = import_extra("pyarrow.parquet", "parquet", "parquet files")
    columns = {
        name: column.tolist() if column.dtype.kind == "U" else column
        for name, column in _columns(solution, ids).items()
    }
    columns["pruned"] = np.asarray(solution.mask)
    table = arrow.table(columns).replace_schema_metadata({_ABOUT: solution.about().encode()})
    parquet.write_table(table, part)
