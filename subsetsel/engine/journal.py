"""What a long search over shards has found so far, on disk: the same call goes on after a kill.

Only steps of the search are kept. What is answered is recomputed from S at the end, so that no
claim ever rests on these files.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subsetsel.engine.options import Limits
from subsetsel.errors import OptionError, ProblemError
from subsetsel.problem.problem import Problem
from subsetsel.support.files import locked, written_whole
from subsetsel.support.npz import npz_names, read_npz

_QUESTION = "question"


class Journal:
    """Arrays by key, each key a file of its own in a folder.

    Parameters
    ----------
    folder : Path or None
        None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder, self._prefix = folder, ""

    def part(self, name: str) -> Journal:
        """Give the journal of one search of several, whose keys are its own."""
        part = copy(self)
        part._prefix = f"{self._prefix}{name}-"
        return part

    def _path_of(self, folder: Path, key: str) -> Path:
        return folder / f"{self._prefix}{key}.npz"

    def get(self, key: str) -> dict[str, NDArray[Any]] | None:
        """Look up what was put under a key; None where nothing was.

        Raises
        ------
        FileFormatError
            If the file is damaged.
        """
        if self._folder is None or not (path := self._path_of(self._folder, key)).exists():
            return None
        return read_npz(path, npz_names(path))

    def put(self, key: str, arrays: Mapping[str, Any]) -> None:
        """Keep arrays and numbers under a key, on disk before anything else is done.

        Parameters
        ----------
        key : str
            Names all that the arrays depend on beside the question that the folder belongs to; see
            `key_of`. Letters, digits and hyphens.
        arrays : mapping
            Name -> array or number; no Python objects.
        """
        if self._folder is None:
            return
        try:
            with written_whole(self._path_of(self._folder, key)) as part, part.open("wb") as stream:
                np.savez(stream, **arrays)
        except OSError as error:
            # Hours of search are worth more than what would save them from a kill.
            self._folder = None
            warnings.warn(
                f"{error}: the search is no longer saved, and a killed run would start again.",
                RuntimeWarning,
                stacklevel=2,
            )


def key_of(step: str, *question: Any) -> str:
    """Name a step by all it depends on beside the folder's question: numbers, texts, arrays."""
    return f"{step}-{digest(question).hex()[:16]}" if question else step


@contextmanager
def opened_journal(
    folder: str | PathLike[str] | None, problem: Problem, limits: Limits, solver: str, options: Any
) -> Iterator[Journal]:
    """Open the journal of one question, and keep other runs out of its folder meanwhile.

    Raises
    ------
    OptionError
        If it is a file.
    ProblemError
        If the folder belongs to another question.
    FolderInUseError
        If another run writes there.
    """
    if folder is None:
        yield Journal(None)
        return
    place = Path(folder)
    if place.is_file():
        raise OptionError(
            f"checkpoint = {str(folder)!r} is a file, and the steps of a search over shards lie in "
            "a folder; give the name of one, which is made."
        )
    asked = _fingerprint(problem, limits, solver, options)
    with locked(place):
        journal = Journal(place)
        found = journal.get(_QUESTION)
        if found is None:
            journal.put(_QUESTION, {"fingerprint": np.array(asked)})
        elif str(found.get("fingerprint")) != asked:
            raise ProblemError(
                f"checkpoint = {str(folder)!r} holds the progress of another run, of other data, "
                "another question or other settings; delete the folder, or give another one."
            )
        yield journal


def _fingerprint(problem: Problem, limits: Limits, solver: str, options: Any) -> str:
    """Name all that an answer depends on, which no clock is."""
    guess, rows = limits.initial_guess, problem.rows
    # Other rows may have the same norms, but not also the same product with such a vector.
    direction = np.random.default_rng(0).normal(size=rows.d)
    return digest([
        version("subsetsel"),
        solver,
        options,
        rows.shape,
        rows.dtype.str,
        None if rows.shards is None else rows.shards.starts,
        rows.squared_norms,
        rows.dot(direction),
        *problem.constraints.arrays,
        problem.must_prune,
        problem.must_keep,
        problem.offset,
        (problem.epsilon, problem.size, problem.max_size, problem.normalization, problem.hessian),
        None if guess is None else problem.check_mask(guess, "initial_guess"),
        (limits.seed, limits.num_workers, limits.max_iterations, limits.target, limits.gap),
        limits.bound,
    ]).hex()


def digest(parts: Iterable[Any]) -> bytes:
    """Give 32 bytes that equal arrays, numbers and texts share."""
    found = hashlib.blake2b(digest_size=32)
    for part in parts:
        if isinstance(part, np.ndarray) and part.dtype.hasobject:
            found.update(f"{part.tolist()!r}\n".encode())
        elif isinstance(part, np.ndarray):
            found.update(f"{part.dtype.str} {part.shape}".encode())
            found.update(np.ascontiguousarray(part).data)
        else:
            found.update(f"{part!r}\n".encode())
    return found.digest()
