"""What a user gets back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.errors import FileFormatError
from subsetsel.problem.progress import Progress
from subsetsel.problem.summary import solution_facts, solution_verdict
from subsetsel.rows.base import BoolArray, IndexArray
from subsetsel.support.files import written_whole
from subsetsel.support.npz import DAMAGE, read_npz
from subsetsel.support.text import as_html, as_lines

Status = Literal["optimal", "feasible", "infeasible", "unknown"]
Limit = Literal["time", "iterations", "gap", "target", "interrupted"]

_FORMAT = "subsetsel-solution-1"
_DAMAGE = (*DAMAGE, AttributeError)


@dataclass(frozen=True, eq=False)
class Solution:
    """A subset to prune, with everything that is known about it.

    Attributes
    ----------
    mask : ndarray of shape (n,), bool
        True means pruned.
    norm : float
        ||W^T S||_2, recomputed in float64 from the whole S; NaN where the subset was chosen by a
        score, without an S.
    status : {"optimal", "feasible", "infeasible", "unknown"}
        What the subset is. "infeasible" is proved; "unknown" means nothing was found and nothing
        proved. In both cases nothing is pruned.
    limit : {None, "time", "iterations", "gap", "target", "interrupted"}
        Why the search stopped; None where it came to its own end.
    bound : float or None
        Eq. 3 with normalization "full": proven upper bound on the size. Eq. 4: proven lower bound
        on the norm. None where nothing is proven.
    epsilon : float or None
        The norm that was allowed (Eq. 3).
    target_size : int or None
        The size that was asked for (Eq. 4).
    normalization : {"full", "kept"}
    solver, seed
        Who found it.
    num_iterations : int
        In the solver's own unit (proposals for the annealer).
    solve_time, compile_time : float
        Seconds; compilation is not part of the former.
    message : str
        One sentence where there is something to say.
    trace : tuple of Progress
        Filled when asked for with ``trace=True``.
    stats : dict
        The solver's own remarks.
    """

    mask: BoolArray
    norm: float
    status: Status
    limit: Limit | None = None
    bound: float | None = None
    epsilon: float | None = None
    target_size: int | None = None
    normalization: str = "full"
    solver: str = ""
    seed: int = 0
    num_iterations: int = 0
    solve_time: float = 0.0
    compile_time: float = 0.0
    message: str = ""
    trace: tuple[Progress, ...] = ()
    stats: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.mask.flags.writeable = False

    @cached_property
    def pruned(self) -> IndexArray:
        """Sorted indices of the examples to leave out, int64."""
        return np.flatnonzero(self.mask).astype(np.int64)

    @cached_property
    def kept(self) -> IndexArray:
        """Sorted indices of the examples to train on, int64."""
        return np.flatnonzero(~self.mask).astype(np.int64)

    @property
    def n(self) -> int:
        """Number of examples."""
        return len(self.mask)

    @cached_property
    def size(self) -> int:
        """How many examples are pruned."""
        return int(np.count_nonzero(self.mask))

    @property
    def is_feasible(self) -> bool:
        """Whether the subset satisfies everything that was asked."""
        return self.status in {"optimal", "feasible"}

    @property
    def gap(self) -> float | None:
        """(floor(bound) - size) / floor(bound) for Eq. 3; None where no bound is proven."""
        if self.bound is None or self.epsilon is None:
            return None
        most = int(np.floor(self.bound))
        return (most - self.size) / most if most > 0 else 0.0

    @property
    def predicted_full(self) -> float:
        """First-order parameter change with the factor 1/n of Eq. 3; the same as `norm`."""
        return self.norm

    @property
    def predicted_kept(self) -> float:
        """First-order parameter change of retraining on the kept mean: norm n / (n - size)."""
        num_kept = self.n - self.size
        return self.norm * self.n / num_kept if num_kept else float("inf")

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        return (
            f"Solution(size={self.size}, n={self.n}, norm={self.norm:.6g}, "
            f"status={self.status!r}, limit={self.limit!r}, solver={self.solver!r})"
        )

    def summary(self) -> str:
        """Say in a few lines what was found and how good it is.

        Returns
        -------
        str
        """
        return as_lines(solution_verdict(self), solution_facts(self), width=8)

    def _repr_html_(self) -> str:
        return as_html(
            "Solution",
            solution_verdict(self),
            solution_facts(self),
            is_good=self.is_feasible,
        )

    def about(self) -> str:
        """Everything but the indices, as JSON text.

        Returns
        -------
        str
        """
        about = {name: getattr(self, name) for name in _SCALARS}
        about["format"] = _FORMAT
        # JSON has no NaN.
        about["norm"] = None if np.isnan(self.norm) else self.norm
        about["stats"] = self.stats
        about["trace"] = [asdict(record) for record in self.trace]
        return json.dumps(about)

    def save(self, path: str | PathLike[str], *, ids: ArrayLike | None = None) -> None:
        """Write to an ``.npz`` file that `load` and plain NumPy read without pickle.

        Parameters
        ----------
        path : str or path-like
            Written beside and renamed, so that a killed run leaves no half file.
        ids : array_like of shape (n,), optional
            The user's names of the examples, kept beside the indices.
        """
        arrays: dict[str, Any] = {"pruned": self.pruned, "kept": self.kept}
        if ids is not None:
            names = np.asarray(ids)
            # An array of objects could only be pickled.
            arrays["ids"] = names.astype(np.str_) if names.dtype.hasobject else names
        with written_whole(path) as part, part.open("wb") as stream:
            np.savez_compressed(stream, about=np.array(self.about()), **arrays)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read what `save` wrote.

        Returns
        -------
        Solution

        Raises
        ------
        FileFormatError
            If the file is something else, is truncated, or contradicts itself.
        FileNotFoundError
            If there is no such file.
        """
        try:
            data = read_npz(Path(path), ("pruned", "kept", "about"))
            return cls._from_arrays(data["pruned"], data["kept"], str(data["about"][()]))
        except FileNotFoundError:
            raise
        except _DAMAGE as error:
            raise FileFormatError(
                f"{path} is not a solution written by Solution.save, or is damaged: "
                f"{str(error).removeprefix(f'{path}: ').rstrip('.')}."
            ) from error

    @classmethod
    def of_parts(
        cls, path: str | PathLike[str], pruned: IndexArray, kept: IndexArray, about: str | None
    ) -> Self:
        """Put a solution together from what a file of any format holds.

        Parameters
        ----------
        path : str or path-like
            Named in the error.
        pruned, kept : ndarray, int64
        about : str or None
            What `about` returned; None where only the indices are known.

        Returns
        -------
        Solution

        Raises
        ------
        FileFormatError
            If the parts contradict themselves or each other.
        """
        if about is None:
            known = cls(np.zeros(1, dtype=np.bool_), norm=float("nan"), status="feasible")
            about = known.about()
        try:
            return cls._from_arrays(pruned, kept, about)
        except _DAMAGE as error:
            raise FileFormatError(
                f"{path} is not a subset written by subsetsel, or is damaged: {error}."
            ) from error

    @classmethod
    def _from_arrays(cls, pruned: IndexArray, kept: IndexArray, text: str) -> Self:
        about = json.loads(text)
        if not isinstance(about, dict) or about.get("format") != _FORMAT:
            raise ValueError(f"its format is not {_FORMAT!r}")
        both = np.sort(np.concatenate([pruned, kept]))
        if both.dtype != np.int64 or not np.array_equal(both, np.arange(len(both))):
            raise ValueError("pruned and kept do not partition the examples")
        if not len(both):
            raise ValueError("it holds no examples")
        if about["status"] not in get_args(Status) or about["limit"] not in (
            None,
            *get_args(Limit),
        ):
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
        return cls(
            mask=mask,
            trace=tuple(Progress(**record) for record in about["trace"]),
            stats=about["stats"],
            **{name: about[name] for name in _SCALARS},
        )


_SCALARS = (
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
