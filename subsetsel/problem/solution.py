"""What a user gets back."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.errors import FileFormatError
from subsetsel.problem.goal import OFFSET
from subsetsel.problem.kept_share import KEPT_WEIGHT
from subsetsel.problem.progress import Limit, Progress, Status
from subsetsel.problem.selected import Selected, facts_of
from subsetsel.problem.solution_file import SCALARS, decode, encode, read_solution, write_solution
from subsetsel.rows.base import BoolArray, IndexArray
from subsetsel.support.text import Facts, as_html, as_lines


@dataclass(frozen=True, eq=False)
class Solution:
    """A subset to prune, with everything that is known about it.

    Attributes
    ----------
    mask : ndarray of shape (n,), bool
        True means pruned.
    norm : float
        ||W^T S||_2, with an offset ||v0 + S^T W||_2, recomputed in float64 from the whole S; NaN
        where the subset was chosen by a score, without an S.
    status : {"optimal", "feasible", "infeasible", "unknown"}
        What the subset is. "infeasible" is proved; "unknown" means nothing was found and nothing
        proved. In both cases nothing is pruned.
    limit : {None, "time", "iterations", "gap", "target", "interrupted"}
        Why the search stopped; None where it came to its own end.
    bound : float or None
        Eq. 3: proven upper bound on the size. Eq. 4: proven lower bound on the norm. None where
        nothing is proven.
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
        The solver's own remarks, and what the plan of memory chose: ``storage`` ("dense" or
        "factored"), ``search_width`` (columns the search worked on; less than d is a projection)
        ``inverse`` ("cholesky" or "cg", where S was computed here), ``kept_weight``, the kept share
        of the sample weights where they decide what is allowed, and ``offset_length`` = ||v0||_2
        where there is an offset.
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
        """First-order parameter change of retraining on the kept mean: norm / the kept share.

        That share is (n - size) / n, or of the weight where the head has sample weights.
        """
        return self.norm / self.kept_share if self.kept_share else float("inf")

    @property
    def kept_share(self) -> float:
        """Share that is kept: of the sample weights where there are any, else of the number."""
        share = self.stats.get(KEPT_WEIGHT)
        return share if isinstance(share, float) else (self.n - self.size) / self.n

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
        return as_lines(_verdict(self), _facts(self), width=8)

    def _repr_html_(self) -> str:
        return as_html(
            "Solution",
            _verdict(self),
            _facts(self),
            is_good=self.is_feasible,
        )

    def save(self, path: str | PathLike[str], *, ids: ArrayLike | None = None) -> None:
        """Write to an ``.npz`` file that `load` and plain NumPy read without pickle.

        Parameters
        ----------
        path : str or path-like
            Written beside and renamed, so that a killed run leaves no half file.
        ids : array_like of shape (n,), optional
            The user's names of the examples, kept beside the indices.
        """
        write_solution(path, self.pruned, self.kept, self.about(), ids)

    def about(self) -> str:
        """Everything but the indices, as JSON text."""
        scalars = {name: getattr(self, name) for name in SCALARS}
        return encode(scalars, self.stats, self.trace)

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
        return cls(**read_solution(path))

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
            about = cls(np.zeros(1, dtype=np.bool_), norm=float("nan"), status="feasible").about()
        return cls(**decode(path, pruned, kept, about))


_LIMIT_WORDS = {
    "time": "time limit",
    "iterations": "iteration limit",
    "gap": "gap reached",
    "target": "target reached",
    "interrupted": "interrupted",
}


def _verdict(solution: Solution) -> str:
    """Say what the subset is and why the search stopped."""
    selected = _selected(solution)
    found = str(solution.status) if selected is None else f"{solution.status}, {selected.standing}"
    if solution.limit is None:
        return found
    return f"{found} (stopped: {_LIMIT_WORDS[solution.limit]})"


def _selected(solution: Solution) -> Selected | None:
    """Read what a selection recorded; a file that somebody changed is printed without it."""
    with suppress(FileFormatError):
        return Selected.of_record(vars(solution))
    return None


def _facts(solution: Solution) -> Facts:
    """Say what was found and how good it is."""
    selected = _selected(solution)
    facts: list[tuple[str, str]] = []
    if solution.is_feasible:
        facts.append((
            "pruned",
            f"{solution.size:,} of {solution.n:,} ({solution.size / solution.n:.1%}), "
            f"kept {solution.n - solution.size:,}",
        ))
    if selected is not None:
        facts += facts_of(selected)
    if solution.is_feasible:
        facts += _norm(solution, selected)
    if selected is not None:
        # What the message says has been said, name by name.
        return [*facts, ("solver", f"{solution.solver}, seed {solution.seed}")]
    facts.append((
        "solver",
        f"{solution.solver}, seed {solution.seed}, {solution.solve_time:.2f} s "
        f"(+ {solution.compile_time:.2f} s to load or compile), "
        f"{solution.num_iterations:,} iterations",
    ))
    if solution.message:
        facts.append(("note", solution.message))
    return facts


def _norm(solution: Solution, selected: Selected | None) -> Facts:
    if selected is not None:
        return (
            []
            if np.isnan(solution.norm)
            else [
                (
                    "norm",
                    f"{solution.norm:.6g}, which says what happens near the trained parameters",
                )
            ]
        )
    if np.isnan(solution.norm):
        return [("norm", "unknown: chosen without influence rows S")]
    return [("norm", f"{solution.norm:.6g}{_allowed(solution)}"), ("bound", _bound(solution))]


def _allowed(solution: Solution) -> str:
    epsilon = solution.epsilon
    if OFFSET in solution.stats:
        return _beside_offset(solution, solution.stats[OFFSET])
    predicted = f"{solution.predicted_kept:.6g}"
    if epsilon is None:
        return f", predicted change after retraining on what is kept {predicted}"
    if solution.normalization == "full":
        return f" <= epsilon = {epsilon:.6g}"
    share = solution.kept_share
    if solution.norm > epsilon * share * (1 + 1e-9):
        # A verified set may be better than its first-order prediction.
        return f", predicted change {predicted}, epsilon = {epsilon:.6g}"
    return (
        f" <= epsilon * kept share = {epsilon * share:.6g} "
        f"(predicted change {predicted} <= epsilon = {epsilon:.6g})"
    )


def _beside_offset(solution: Solution, length: float) -> str:
    """Say what is allowed, and nothing of retraining, which knows no offset."""
    limit = ""
    if solution.epsilon is not None:
        is_kept = solution.normalization == "kept"
        most = solution.epsilon * (solution.kept_share if is_kept else 1.0)
        limit = f" <= epsilon{' * kept share' if is_kept else ''} = {most:.6g}"
    return f"{limit}, with an offset of length {length:.6g}"


def _bound(solution: Solution) -> str:
    if solution.bound is None:
        return "none was computed" if solution.status == "optimal" else "none is proved"
    if solution.epsilon is None:
        least = f"the norm cannot be below {solution.bound:.6g} (proved)"
        above = solution.norm / solution.bound - 1.0 if solution.bound > 0 else np.inf
        return f"{least}: at most {above:.3%} above the least" if above < 1.0 else least
    gap = "optimal" if solution.gap == 0 else f"gap {solution.gap:.3%}"
    return f"at most {int(np.floor(solution.bound)):,} can be pruned (proved): {gap}"
