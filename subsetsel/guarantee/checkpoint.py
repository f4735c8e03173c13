"""The choices of a verified search on disk: a run that was killed does not choose again.

Only subsets are saved. Each is refitted and judged anew when the search takes it up, so that no
claim ever rests on the file; what it saves is the solver's work, about half of a run.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subsetsel.engine.journal import digest
from subsetsel.engine.options import Limits
from subsetsel.errors import FileFormatError, ProblemError
from subsetsel.guarantee.task import Task
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray
from subsetsel.support.files import written_whole
from subsetsel.support.npz import read_npz

_ARRAYS = ("fingerprint", "keys", "is_found", "num_iterations", "masks")
_KEY_BYTES = 16


@dataclass(frozen=True, eq=False)
class Choice:
    """What a solver gave; ``mask`` is None where it found nothing."""

    mask: BoolArray | None
    num_iterations: int


class Journal:
    """The choices of one search, by what was asked.

    Parameters
    ----------
    path : Path or None
        An ``.npz`` file, rewritten whole after every choice; None keeps nothing.
    fingerprint : str
        Of data, limits and settings: everything a choice depends on.
    n : int

    Attributes
    ----------
    num_known : int
        Choices that were on disk from the start.

    Raises
    ------
    FileFormatError
        If the file is damaged or something else.
    ProblemError
        If it is of another search.
    """

    def __init__(self, path: Path | None, fingerprint: str, n: int) -> None:
        self._path, self._fingerprint, self._n = path, fingerprint, n
        self._choices: dict[bytes, Choice] = {}
        if path is not None and path.exists():
            self._choices = _read(path, fingerprint, n)
        self.num_known = len(self._choices)

    def find(self, key: bytes, problem: Problem | None = None) -> Choice | None:
        """Look up what was chosen before; nothing where it breaks a limit of a problem.

        Not even a limit that no refit measures rests on the file.
        """
        choice = self._choices.get(key)
        if choice is None or choice.mask is None or problem is None:
            return choice
        return None if problem.linear_violations(choice.mask) else choice

    def add(self, key: bytes, choice: Choice) -> None:
        """Record a choice under its `key_of`, on disk before anything else is done."""
        self._choices[key] = choice
        if self._path is None:
            return
        try:
            self._write(self._path)
        except OSError as error:
            # Hours of search are worth more than what would save them from a kill.
            self._path = None
            warnings.warn(
                f"{error}: choices are no longer saved, and a killed run would start again.",
                RuntimeWarning,
                stacklevel=2,
            )

    def _write(self, path: Path) -> None:
        known = self._choices.values()
        nothing = np.zeros(self._n, dtype=np.bool_)
        masks = [nothing if choice.mask is None else choice.mask for choice in known]
        with written_whole(path) as part, part.open("wb") as stream:
            np.savez(
                stream,
                fingerprint=np.array(self._fingerprint),
                keys=np.frombuffer(b"".join(self._choices), dtype=np.uint8).reshape(-1, _KEY_BYTES),
                is_found=np.array([choice.mask is not None for choice in known]),
                num_iterations=np.array([choice.num_iterations for choice in known]),
                masks=np.packbits(masks, axis=1),
            )


def key_of(*question: Any) -> bytes:
    """Name a question to the solver by all it depends on: numbers, texts, arrays, None."""
    return digest(question)[:_KEY_BYTES]


def open_journal(
    path: str | PathLike[str] | None, task: Task, limits: Limits, solver: str, settings: Any
) -> Journal:
    """Name all that a choice depends on, which no clock is, and look for what was chosen."""
    problem, head = task.problem, task.problem.head
    if path is None:
        return Journal(None, "", problem.n)
    assert head is not None
    from subsetsel.influence.head.sparse import arrays_of

    objective, epsilon, earlier = head.objective_function, task.criteria.epsilon, task.earlier
    tensors = (objective.scale, objective.weights)
    held_out = () if task.validation is None else head.encode(*task.validation)
    fingerprint = digest([
        version("subsetsel"),
        solver,
        settings,
        *objective.X.arrays(),
        *(None if tensor is None else tensor.cpu().numpy() for tensor in tensors),
        head.labels,
        objective.setting,
        # The rows that the head was given: their ridge and their precision.
        (problem.rows.dtype.str, f"{problem.rows.squared_norms.sum():.6g}"),
        *problem.constraints.arrays,
        problem.must_prune,
        problem.must_keep,
        problem.max_size,
        # An epsilon that is a share of ||theta|| is known to rounding only.
        None if epsilon is None else f"{epsilon:.9g}",
        replace(task.criteria, epsilon=None),
        *(array for part in held_out for array in arrays_of(part)),
        *((None, None) if earlier is None else (earlier.mask, earlier.num_examples)),
        (limits.seed, limits.num_workers, limits.max_iterations),
    ])
    return Journal(Path(path), fingerprint.hex(), problem.n)


def _read(path: Path, fingerprint: str, n: int) -> dict[bytes, Choice]:
    found = read_npz(path, _ARRAYS)
    if str(found["fingerprint"]) != fingerprint:
        raise ProblemError(
            f"{path} holds the progress of another run, of other data or settings; delete it, or "
            "give another name."
        )
    if not _is_sound(found, n):
        raise FileFormatError(f"{path} is no progress of a search, or is damaged; delete it.")
    choices: dict[bytes, Choice] = {}
    for key, is_found, num_iterations, bits in zip(
        *(found[name] for name in _ARRAYS[1:]), strict=True
    ):
        mask = np.unpackbits(bits, count=n).astype(np.bool_) if is_found else None
        choices[key.tobytes()] = Choice(mask, int(num_iterations))
    return choices


def _is_sound(found: Mapping[str, NDArray[Any]], n: int) -> bool:
    """Whether the arrays have the types and the shapes that belong to n examples."""
    num = len(found["keys"]) if found["keys"].ndim else 0
    wanted = {
        "keys": ((num, _KEY_BYTES), np.uint8),
        "is_found": ((num,), np.bool_),
        "num_iterations": ((num,), np.int64),
        "masks": ((num, -(-n // 8)), np.uint8),
    }
    return all(
        found[name].shape == shape and found[name].dtype == kind
        for name, (shape, kind) in wanted.items()
    ) and bool((found["num_iterations"] >= 0).all())
