"""The manifest: what was pruned, from what, how, and what the check said. One JSON file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.errors import FileFormatError
from subsetsel.problem.progress import Progress
from subsetsel.problem.solution import Solution
from subsetsel.report.environment import environment
from subsetsel.rows.base import BoolArray
from subsetsel.support.ids import check_ids, find_places
from subsetsel.support.records import plain, sha256_of_array, sha256_of_file, write_json

# More steps than a picture can show; the first and the last are always among them.
MAX_TRACE = 400

_FORMAT = "subsetsel-manifest-1"
_OF_THE_MACHINE = (
    *("python", "machine", "num_cpus", "num_usable_cpus", "torch_threads", "threads"),
    "planned_memory",
)
_REQUIRED: dict[str, type] = {
    "command": str,
    "settings": dict,
    "inputs": list,
    "solution": dict,
    "environment": dict,
    "kept": list,
    "pruned": list,
    "created": str,
}


@dataclass(frozen=True)
class Manifest:
    """A record from which a run can be understood, checked and repeated.

    Attributes
    ----------
    command : str
        Which command or function ran.
    settings : dict
        Its arguments, defaults included.
    inputs : list of dict
        ``name``, ``sha256`` and, for a file, ``path`` as it was given.
    solution : dict
        As in `solution_record`.
    verification : dict or None
        Every field of the check by exact refit, None if there was none.
    kept, pruned : list
        Ids of the examples: indices, or the user's own ids.
    environment : dict
        As in `subsetsel.report.environment.environment`.
    created : str
        UTC, ISO 8601.
    trace : list of dict
        The search as it went on: the fields of a `Progress` for each better subset that was found,
        thinned to `MAX_TRACE` of them.
    has_ids : bool or None
        Whether ``kept`` and ``pruned`` hold the user's own ids rather than indices; None in a
        manifest of an older version, which does not tell.
    look : dict or None
        A first look at the data: the fields of a `subsetsel.report.look.Look`.
    """

    command: str
    settings: dict[str, Any]
    inputs: list[dict[str, Any]]
    solution: dict[str, Any]
    kept: list[Any]
    pruned: list[Any]
    verification: dict[str, Any] | None = None
    environment: dict[str, Any] = field(default_factory=environment)
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    trace: list[dict[str, Any]] = field(default_factory=list)
    has_ids: bool | None = None
    look: dict[str, Any] | None = None

    @classmethod
    def of(
        cls,
        solution: Solution,
        *,
        command: str,
        settings: Mapping[str, Any],
        inputs: Mapping[str, Any],
        verification: Any = None,
        ids: ArrayLike | None = None,
        paths: Mapping[str, Any] | None = None,
        look: Any = None,
    ) -> Self:
        """Record a solution.

        Parameters
        ----------
        solution : Solution
        command : str
        settings : mapping
        inputs : mapping
            name -> path of a file, or array.
        verification : Verification, optional
        ids : array_like of shape (n,), optional
            The user's names of the examples; indices otherwise.
        paths : mapping, optional
            The names of the files as they were given, where ``inputs`` names copies of them.
        look : Look, optional
            What `subsetsel.report.look.first_look` found.

        Returns
        -------
        Manifest

        Raises
        ------
        FileFormatError
            If there is not exactly one id per example, or one belongs to two.
        """
        names = np.arange(solution.n) if ids is None else np.asarray(ids)
        check_ids("the manifest", names, solution.n)
        return cls(
            command=command,
            settings=plain(settings),
            inputs=[
                {**fingerprint(name, source), **({"path": str(paths[name])} if paths else {})}
                for name, source in inputs.items()
            ],
            solution=solution_record(solution),
            kept=plain(names[solution.kept]),
            pruned=plain(names[solution.pruned]),
            verification=None if verification is None else plain(verification),
            trace=plain(thinned(solution.trace)),
            has_ids=ids is not None,
            look=None if look is None else plain(look),
        )

    def write(self, path: str | PathLike[str]) -> None:
        """Write as JSON, whole or not at all.

        Parameters
        ----------
        path : str or path-like
        """
        write_json(path, {"format": _FORMAT, **vars(self)})

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Self:
        """Read what `write` wrote.

        Returns
        -------
        Manifest

        Raises
        ------
        FileFormatError
            If the file is something else, truncated, or lacks a field.
        FileNotFoundError
            If there is no such file.
        """
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise
        except (OSError, ValueError, RecursionError) as error:
            raise FileFormatError(f"{path} is not a manifest, or is damaged: {error}.") from error
        if not isinstance(record, dict) or record.pop("format", None) != _FORMAT:
            raise FileFormatError(f"{path} is not a manifest of format {_FORMAT!r}.")
        _require_fields(path, record)
        try:
            return cls(**record)
        except TypeError as error:
            raise FileFormatError(f"{path} has a field that no manifest has: {error}.") from error

    def mask(self, ids: ArrayLike | None = None) -> BoolArray:
        """Find the pruned examples again.

        Parameters
        ----------
        ids : array_like of shape (n,), optional
            The ids of the data at hand, in any order. Without them, or where the manifest holds
            indices, examples are told by their positions.

        Returns
        -------
        ndarray of shape (n,), bool
            True means pruned.

        Raises
        ------
        FileFormatError
            If the manifest's ids are not exactly those of the data.
        """
        n = len(self.kept) + len(self.pruned)
        if ids is None and self.has_ids:
            raise FileFormatError(
                f"the manifest names its examples by ids (such as {(self.kept + self.pruned)[0]!r})"
                ", and the data have none; name their column with --id, or give an array `ids` "
                "beside X and y."
            )
        given = list(range(n)) if ids is None else plain(np.asarray(ids))
        if len(given) != n:
            raise FileFormatError(
                f"the manifest speaks of {n} examples, the data hold {len(given)}; give the data "
                "that were pruned."
            )
        names = list(range(n)) if self.has_ids is False else given
        places = find_places("the manifest", self.pruned + self.kept, "the data", names)
        return places < len(self.pruned)

    def differences(self, other: Manifest) -> list[str]:
        """Say what may explain that two runs ended differently.

        Parameters
        ----------
        other : Manifest

        Returns
        -------
        list of str
            One line for each setting, input or part of the environment that is not the same.
        """
        # What one of the two, from an older version, does not tell explains nothing.
        machine = [
            name
            for name in _OF_THE_MACHINE
            if name in self.environment and name in other.environment
        ]
        mine, theirs = (one._facts(machine) for one in (self, other))
        return [
            f"{name}: {mine.get(name)} there, {theirs.get(name)} here"
            for name in {**mine, **theirs}
            if mine.get(name) != theirs.get(name)
        ]

    def _facts(self, machine: Iterable[str]) -> dict[str, Any]:
        """Name everything that may explain a result."""
        versions = self.environment.get("versions", {})
        return {
            **{f"setting {name}": value for name, value in self.settings.items()},
            **{f"input {item['name']}": item.get("sha256") for item in self.inputs},
            **{f"version of {name}": value for name, value in versions.items()},
            **{name: self.environment[name] for name in machine},
        }


def _require_fields(path: str | PathLike[str], record: dict[str, Any]) -> None:
    """Refuse a record in which something that will be read is missing or of another type."""
    for name, kind in _REQUIRED.items():
        if not isinstance(record.get(name), kind):
            raise FileFormatError(f"{path}: field {name!r} is missing or no {kind.__name__}.")
    trace = record.get("trace", [])
    if not isinstance(trace, list) or not all(isinstance(point, dict) for point in trace):
        raise FileFormatError(f"{path}: trace must be a list of records.")
    if not all(_is_input(item) for item in record["inputs"]):
        raise FileFormatError(f"{path}: inputs must be records with a name, SHA-256 and path.")
    if not isinstance(record["environment"].get("versions", {}), dict):
        raise FileFormatError(f"{path}: the versions of the environment must be a record.")
    if not all(isinstance(i, (str, int, float)) for i in record["kept"] + record["pruned"]):
        raise FileFormatError(f"{path}: ids must be texts or numbers.")
    if not isinstance(record.get("has_ids"), (bool, type(None))):
        raise FileFormatError(f"{path}: has_ids must be true, false or null.")
    if not isinstance(record.get("look"), (dict, type(None))):
        raise FileFormatError(f"{path}: look must be a record or null.")
    _require_agreement(path, record)


def _require_agreement(path: str | PathLike[str], record: dict[str, Any]) -> None:
    """Refuse a record whose parts speak of different subsets."""
    pruned, kept, solution = record["pruned"], record["kept"], record["solution"]
    both = set(pruned) & set(kept)
    if both:
        raise FileFormatError(
            f"{path} contradicts itself: it says of {len(both)} examples that they are kept and "
            f"pruned (such as {next(i for i in pruned if i in both)!r}). Prune again, or take the "
            "manifest that the run wrote."
        )
    if len({*pruned, *kept}) != len(pruned) + len(kept):
        raise FileFormatError(
            f"{path} names an example twice; give each an id of its own, and prune again."
        )
    said = {"size": len(pruned), "n": len(pruned) + len(kept)}
    for name, count in said.items():
        if solution.get(name, count) != count:
            raise FileFormatError(
                f"{path} contradicts itself: its solution says {name} = {solution[name]}, and it "
                f"names {count}. Prune again, or take the manifest that the run wrote."
            )


def _is_input(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and isinstance(item.get("name"), str)
        and all(isinstance(item.get(key, ""), str) for key in ("sha256", "path"))
    )


def thinned(trace: Sequence[Progress]) -> list[Progress]:
    """Keep `MAX_TRACE` records of a trace, evenly spread, with the first and the last."""
    if len(trace) <= MAX_TRACE:
        return list(trace)
    return [trace[i] for i in np.linspace(0, len(trace) - 1, MAX_TRACE).round().astype(int)]


def fingerprint(name: str, source: Any) -> dict[str, Any]:
    """Name an input, a file or an array, and hash it."""
    if isinstance(source, (str, PathLike)):
        return {"name": name, "path": str(source), "sha256": sha256_of_file(source)}
    array = np.asarray(source)
    return {
        "name": name,
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "sha256": sha256_of_array(array),
    }


def solution_record(solution: Solution) -> dict[str, Any]:
    """Everything a solution knows except the indices and the trace, as JSON types."""
    names = (
        *("status", "limit", "n", "size", "norm", "epsilon", "target_size", "normalization"),
        *("bound", "gap", "predicted_full", "predicted_kept", "solver", "seed"),
        *("num_iterations", "solve_time", "compile_time", "message", "stats"),
    )
    return {name: plain(getattr(solution, name)) for name in names}
