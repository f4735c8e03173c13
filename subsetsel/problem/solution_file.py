"""How a solution is written to an ``.npz`` file, and what is checked when one is read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.errors import FileFormatError, OptionError
from subsetsel.problem.progress import Limit, Progress, Status
from subsetsel.rows.base import IndexArray
from subsetsel.support.files import written_whole
from subsetsel.support.npz import DAMAGE, read_npz
from subsetsel.support.records import plain

SCALARS = (
    "norm",
    "status",
    "limit",
    "bound",
    "epsilon",
    "target_size",
    "normalization",
    "solver",
    "seed",
    "num_iterations",
    "solve_time",
    "compile_time",
    "message",
)
_FORMAT = "subsetsel-solution-1"
_DAMAGE = (*DAMAGE, AttributeError)


def encode(scalars: Mapping[str, Any], stats: Any, trace: Sequence[Progress]) -> str:
    """Write everything but the indices as JSON text."""
    # JSON has no NaN.
    norm = None if np.isnan(scalars["norm"]) else scalars["norm"]
    records = [asdict(record) for record in trace]
    return json.dumps({
        **scalars,
        "norm": norm,
        "format": _FORMAT,
        "stats": plain(stats),  # a solver's own remarks may hold anything
        "trace": records,
    })


def write_solution(
    path: str | PathLike[str],
    pruned: IndexArray,
    kept: IndexArray,
    about: str,
    ids: ArrayLike | None,
) -> None:
    """Write a solution as `Solution.save` promises."""
    suffix = Path(path).suffix
    if suffix.lower() not in {"", ".npz"}:
        raise OptionError(
            f"path must end in .npz, which is what save writes, got {str(path)!r}. Name it "
            f"{str(Path(path).with_suffix('.npz'))!r}; subsetsel.formats.write_solution(solution, "
            "path) writes .csv, .tsv, .parquet and .safetensors."
        )
    arrays: dict[str, Any] = {"pruned": pruned, "kept": kept}
    if ids is not None:
        arrays["ids"] = _checked_ids(ids, len(pruned) + len(kept))
    with written_whole(path) as part, part.open("wb") as stream:
        np.savez_compressed(stream, about=np.array(about), **arrays)


def _checked_ids(ids: ArrayLike, n: int) -> Any:
    """Refuse ids from which nobody could tell which example is meant."""
    names = np.asarray(ids)
    # An array of objects could only be pickled.
    names = names.astype(np.str_) if names.dtype.hasobject else names
    if names.shape != (n,):
        raise OptionError(
            f"ids must hold one id for each of the {n} examples, got shape {names.shape}. Give "
            "those of all examples, pruned and kept, in their order."
        )
    found, counts = np.unique(names, return_counts=True)
    if len(found) < n:
        twice = found[int(np.argmax(counts > 1))].item()
        raise OptionError(
            f"ids must differ, and {twice!r} is there twice or more. Make them unique, or "
            "leave ids out: the indices are saved in any case."
        )
    return names


def read_solution(path: str | PathLike[str]) -> dict[str, Any]:
    """Read the arguments of `Solution` from a file that `write_solution` wrote.

    Raises
    ------
    FileFormatError
        If the file is something else, is truncated, or contradicts itself.
    """
    try:
        data = read_npz(Path(path), ("pruned", "kept", "about"))
        return _arguments(data["pruned"], data["kept"], str(data["about"][()]))
    except FileNotFoundError:
        raise
    except _DAMAGE as error:
        raise FileFormatError(
            f"{path} is not a solution written by Solution.save, or is damaged: "
            f"{str(error).removeprefix(f'{path}: ').rstrip('.')}."
        ) from error


def decode(
    path: str | PathLike[str], pruned: IndexArray, kept: IndexArray, about: str
) -> dict[str, Any]:
    """Check the parts of a solution that a file of any format holds; the path is for the error.

    Raises
    ------
    FileFormatError
        If the parts contradict themselves or each other.
    """
    try:
        return _arguments(pruned, kept, about)
    except _DAMAGE as error:
        raise FileFormatError(
            f"{path} is not a subset written by subsetsel, or is damaged: {error}."
        ) from error


def _arguments(pruned: IndexArray, kept: IndexArray, text: str) -> dict[str, Any]:
    about = json.loads(text)
    if not isinstance(about, dict) or about.get("format") != _FORMAT:
        raise ValueError(f"its format is not {_FORMAT!r}")
    both = np.sort(np.concatenate([pruned, kept]))
    if both.dtype != np.int64 or not np.array_equal(both, np.arange(len(both))):
        raise ValueError("pruned and kept do not partition the examples")
    if not len(both):
        raise ValueError("it holds no examples")
    if about["status"] not in get_args(Status) or about["limit"] not in (None, *get_args(Limit)):
        raise ValueError(f"status {about['status']!r} or limit {about['limit']!r} is unknown")
    if about["normalization"] not in {"full", "kept"}:
        raise ValueError(f"normalization {about['normalization']!r} is unknown")
    if about["norm"] is None and about["epsilon"] is None and about["bound"] is None:
        about["norm"] = float("nan")
    elif not (isinstance(about["norm"], float) and 0 <= about["norm"] < np.inf):
        raise ValueError(f"its norm is {about['norm']!r}")
    is_feasible = about["status"] in {"optimal", "feasible"}
    if len(pruned) and not is_feasible:
        raise ValueError(f"examples are pruned although its status is {about['status']!r}")
    if is_feasible and about["target_size"] not in {None, len(pruned)}:
        raise ValueError(f"{len(pruned)} are pruned, not {about['target_size']}")
    mask = np.zeros(len(both), dtype=np.bool_)
    mask[pruned] = True
    return {
        "mask": mask,
        "trace": tuple(Progress(**record) for record in about["trace"]),
        "stats": about["stats"],
        **{name: about[name] for name in SCALARS},
    }
