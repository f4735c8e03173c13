"""What a back end returns to the core."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self, get_args

from subsetsel.errors import SolverError
from subsetsel.problem.progress import Limit
from subsetsel.rows.base import FloatArray


@dataclass(frozen=True)
class Candidate:
    """The end of a search; the subset itself went through ``run.submit``.

    Attributes
    ----------
    limit : str or None
        Why the search stopped: None where it came to its own end, else as in `Solution.limit`.
    is_optimal : bool
        The incumbent is proved optimal for the true problem, not for a rounded one.
    is_infeasible : bool
        It is proved that no subset satisfies the constraints.
    bound : float or None
        Proven bound of the solver's own: upper on the size, or lower on the norm.
    tolerance : float
        The solver's own proofs hold within this, as a share of the norm; 0 where they are exact.
        Then the claims above are named with it, and ``bound`` is not printed as proved.
    dual : ndarray of shape (d,) or None
        A vector u from which the core computes a bound in float64: U(u) on the size, or the least
        norm along u.
    stats : dict
        Whatever is worth telling; JSON types.
    message : str
        One sentence for the user where there is something to say.
    """

    limit: Limit | None = None
    is_optimal: bool = False
    is_infeasible: bool = False
    bound: float | None = None
    tolerance: float = 0.0
    dual: FloatArray | None = None
    stats: dict[str, Any] = field(default_factory=dict)
    message: str = ""

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit not in get_args(Limit):
            raise SolverError(f"a solver reported the unknown limit {self.limit!r}.")

    def without_proofs(self) -> Self:
        """Give the same end of a search without anything that it claims to have proved."""
        return replace(
            self, is_optimal=False, is_infeasible=False, bound=None, tolerance=0.0, dual=None
        )
