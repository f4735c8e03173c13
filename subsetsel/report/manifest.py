"""The manifest: what was pruned, from what, how, and what the check said. One JSON file."""

from __future__ import annotations

import hashlib
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
from subsetsel.report.manifest_fields import require_fields
from subsetsel.rows.base import BoolArray, Rows
from subsetsel.shards.table import Shards
from subsetsel.support.ids import check_ids, find_places
from subsetsel.support.records import plain, sha256_of_array, sha256_of_file, write_json

# More steps than a picture can show; the first and the last are always among them.
MAX_TRACE = 400
# Of more examples no list is written: it would take gigabytes of memory to read.
MAX_LISTED = 5_000_000

_FORMAT = "subsetsel-manifest-1"
_OF_THE_MACHINE = (
    *("python", "machine", "num_cpus", "num_usable_cpus", "torch_threads", "threads"),
    "planned_memory",
)


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
        ``name``, ``sha256`` and, for a file, ``path`` as it was given; of shards how many.
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
    subset_sha256 : str or None
        Where there are more than `MAX_LISTED` examples, whose ``kept`` and ``pruned`` are empty:
        the digest of the mask (`mask_digest`).
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
    subset_sha256: str | None = None

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
            name -> path of a file, array, or shards.
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
        if ids is not None:
            check_ids("the manifest", ids, solution.n)
        is_listed = solution.n <= MAX_LISTED
        names = np.arange(solution.n if is_listed else 0) if ids is None else np.asarray(ids)
        return cls(
            command=command,
            settings=plain(settings),
            inputs=[
                {**fingerprint(name, source), **({"path": str(paths[name])} if paths else {})}
                for name, source in inputs.items()
            ],
            solution=solution_record(solution),
            kept=plain(names[solution.kept]) if is_listed else [],
            pruned=plain(names[solution.pruned]) if is_listed else [],
            subset_sha256=None if is_listed else mask_digest(solution.mask),
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
        require_fields(path, record)
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
        if self.subset_sha256 is not None:
            raise FileFormatError(
                f"the manifest speaks of more than {MAX_LISTED:,} examples and lists none of them; "
                "name the subset that was saved beside it."
            )
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

    def has_subset_of(self, other: Manifest) -> bool:
        """Whether both name the same examples.

        Of reordered data the same ids come in another order; a table holds numbers as text.
        """
        if self.subset_sha256 is not None or other.subset_sha256 is not None:
            return self.subset_sha256 == other.subset_sha256
        return set(map(str, self.pruned)) == set(map(str, other.pruned))

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


def mask_digest(mask: BoolArray) -> str:
    """SHA-256 of who is pruned."""
    return sha256_of_array(np.packbits(mask))


def thinned(trace: Sequence[Progress]) -> list[Progress]:
    """Keep `MAX_TRACE` records of a trace, evenly spread, with the first and the last."""
    if len(trace) <= MAX_TRACE:
        return list(trace)
    return [trace[i] for i in np.linspace(0, len(trace) - 1, MAX_TRACE).round().astype(int)]


def fingerprint(name: str, source: Any) -> dict[str, Any]:
    """Name an input, a file, an array or shards, and hash it."""
    if isinstance(source, Shards):
        return {"name": name, "num_shards": len(source), "sha256": sha256_of_shards(source)}
    if isinstance(source, (str, PathLike)):
        return {"name": name, "path": str(source), "sha256": sha256_of_file(source)}
    array = np.asarray(source)
    return {
        "name": name,
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "sha256": sha256_of_array(array),
    }


def sha256_of_shards(shards: Shards) -> str:
    """SHA-256 of what all shards hold, in one round; data in other shards have another one."""
    return hashlib.sha256("".join(shards.map(_digest_of_shard)).encode()).hexdigest()


def _digest_of_shard(value: Any) -> str:
    if isinstance(value, Rows):
        value = [rows for _, _, rows in value.blocks()]
    parts = value if isinstance(value, (tuple, list)) else [value]
    return "".join(sha256_of_array(np.asarray(part)) for part in parts if part is not None)


def solution_record(solution: Solution) -> dict[str, Any]:
    """Everything a solution knows except the indices and the trace, as JSON types."""
    names = (
        *("status", "limit", "n", "size", "norm", "epsilon", "target_size", "normalization"),
        *("bound", "gap", "predicted_full", "predicted_kept", "solver", "seed"),
        *("num_iterations", "solve_time", "compile_time", "message", "stats"),
    )
    return {name: plain(getattr(solution, name)) for name in names}
