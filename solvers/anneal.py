"""Simulated annealing: the default solver.

Eq. 3: the relaxation decides almost every example; a core around its margin is annealed with its
Gram matrix at hand (`_core_search`). Eq. 4: swaps under a falling temperature, from the examples
that can still move (`_swap_search`). ``start="random"`` with ``proposals="plain"`` is the paper's
own way: uniform proposals from a random start, on the rows themselves.

References
----------
Yang et al., Dataset Pruning, ICLR 2023, arXiv:2205.09329, Section 4. Kirkpatrick, Gelatt, Vecchi,
Optimization by Simulated Annealing, Science 220 (1983).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

import numpy as np

from subsetsel.bounds import is_drifting
from subsetsel.bridge import maximize_size
from subsetsel.candidate import Candidate
from subsetsel.errors import OptionError
from subsetsel.miniature import Kind
from subsetsel.problem import Problem
from subsetsel.run import Run

from ._core_search import search_core
from ._plain_search import search_plainly
from ._swap_search import holds_gram, search_swaps

Start = Literal["relax", "random"]
Proposals = Literal["norm", "plain"]


@dataclass(frozen=True)
class AnnealOptions:
    """Options of the annealer.

    Parameters
    ----------
    start : {"relax", "random"}
        Eq. 3: begin at the rounded relaxation and anneal its core, or at a random subset.
    proposals : {"norm", "plain"}
        Eq. 4: propose what the temperature lets move, or everything alike.
    num_proposals : int, optional
        Length of one chain; set from n and d otherwise.
    num_chains : int, optional
        How many chains without a limit; each starts from the best so far or afresh.
    core_size : int, optional
        Examples in the core; chosen and adapted from the relaxation otherwise.
    penalty : float, optional
        For ``start="random"``: items per unit of norm outside the ball; 1.5 times a dual norm
        otherwise.

    Raises
    ------
    OptionError
        If a value is out of its range.
    """

    start: Start = "relax"
    proposals: Proposals = "norm"
    num_proposals: int | None = None
    num_chains: int | None = None
    core_size: int | None = None
    penalty: float | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("start", ("relax", "random")), ("proposals", ("norm", "plain"))):
            if getattr(self, name) not in allowed:
                raise OptionError(
                    f"{name} must be {allowed[0]!r} or {allowed[1]!r}, got {getattr(self, name)!r}."
                )
        for name, least in (("num_proposals", 1), ("num_chains", 1), ("core_size", 2)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not value >= least):
                raise OptionError(f"{name} must be an integer >= {least}, got {value!r}.")
        if self.penalty is not None and not self.penalty > 0:
            raise OptionError(f"penalty must be positive, got {self.penalty!r}.")


class AnnealSolver:
    """Anneal; see the module's text."""

    Options: ClassVar[type[AnnealOptions]] = AnnealOptions

    def solve(self, problem: Problem, options: AnnealOptions, run: Run) -> Candidate:
        """Search for a subset.

        Parameters
        ----------
        problem : Problem
        options : AnnealOptions
        run : Run

        Returns
        -------
        Candidate
        """
        if problem.form == "min_norm":
            return search_swaps(problem, options, run)
        if options.start == "random":
            return search_plainly(problem, options, run)
        if run.relaxation is None:
            # Rows that cannot be read one by one: search sizes instead.
            return maximize_size(lambda sub, inner: search_swaps(sub, options, inner), problem, run)
        return search_core(problem, options, run)

    def warm_up(self, problem: Problem, options: AnnealOptions) -> None:
        """Compile or load the kernels that the problem's form, size and rows call for."""
        kind, free = Kind.of(problem), np.flatnonzero(problem.free)
        is_small = holds_gram(problem, options, free)
        _compile(kind, options.start, options.proposals, is_small)
        if kind.form == "min_norm" and not is_small and is_drifting(problem):
            # The core may be small.
            _compile(kind, options.start, options.proposals, True)


@cache
def _compile(kind: Kind, start: Start, proposals: Proposals, is_small: bool) -> None:
    """Run each kernel once; ``is_small`` is whether Eq. 4 has its Gram matrix at hand."""
    problem = kind.problem()
    if kind.form == "min_norm" and not is_small:
        proposals = "plain"
    options = AnnealOptions(start, proposals, num_proposals=600, num_chains=2)
    AnnealSolver().solve(problem, options, Run.quiet(problem))
