"""Small stand-ins of a problem, on which a solver compiles what the problem itself will need.

Compiled code is specialized on the type, the layout and the writability of the arrays it is given:
what has been compiled for one kind of S is compiled anew for another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from subsetsel.engine.proof import Proof
from subsetsel.problem.problem import Form, Problem

_SHAPE = (24, 8)


@dataclass(frozen=True)
class Kind:
    """What compiled code depends on; hashable, so that the work is done once per kind.

    Attributes
    ----------
    dtype : str
        Of the rows, ``"float32"`` or ``"float64"``.
    is_writable : bool
        False for a read-only array or memory map.
    form : {"max_size", "min_norm"}
        What is searched. With normalization "kept" sizes are bisected, and norms searched.
    """

    dtype: str
    is_writable: bool
    form: Form

    @classmethod
    def of(cls, problem: Problem) -> Kind:
        """Tell the kind of a problem."""
        array = problem.rows.dense()
        is_kept = problem.normalization == "kept"
        return cls(
            problem.rows.dtype.name,
            array is None or bool(array.flags.writeable),
            "min_norm" if is_kept else problem.form,
        )

    def problem(self) -> Problem:
        """Make a small problem of this kind, solved in milliseconds but not without a search.

        Returns
        -------
        Problem
            Of 24 examples in 8 dimensions; no subset reaches its bound.
        """
        S = np.random.default_rng(0).normal(0.5, 1.0, size=_SHAPE).astype(self.dtype)
        S.flags.writeable = self.is_writable
        return Problem(S, size=8) if self.form == "min_norm" else Problem(S, epsilon=4.0)


def warm_up_bound(problem: Problem, *, is_tight: bool = False) -> None:
    """Compile what the relaxation, and the semidefinite bound if wanted, compile on first use."""
    kind = Kind.of(problem)
    if kind.form == "max_size":
        _compile_bound(kind, is_tight=is_tight)


@cache
def _compile_bound(kind: Kind, *, is_tight: bool) -> None:
    stand_in = kind.problem()
    proof = Proof(stand_in, lambda: float("inf"), is_tight=is_tight)
    proof.solve_relaxation()
    proof.strengthen(0)
