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

from functools import cache
from typing import ClassVar

import numpy as np

from subsetsel.bounds.dual import is_drifting
from subsetsel.engine.other_form import maximize_size
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.engine.warm_up import Kind
from subsetsel.problem.problem import Problem

from ._anneal_options import AnnealOptions, Proposals, Start
from ._core_search import search_core
from ._plain_search import search_plainly
from ._swap_search import can_hold_gram, search_swaps


class AnnealSolver:
    """Anneal; see the module's text."""

    Options: ClassVar[type[AnnealOptions]] = AnnealOptions

    def solve(self, problem: Problem, options: AnnealOptions, run: Run) -> Candidate:
        """Search for a subset; see `subsetsel.engine.registry.Solver`."""
        if problem.form == "min_norm":
            return search_swaps(problem, options, run)
        if options.start == "random":
            return search_plainly(problem, options, run)
        if run.solve_relaxation() is None:
            # Rows that cannot be read one by one: search sizes instead.
            return maximize_size(lambda sub, inner: search_swaps(sub, options, inner), problem, run)
        return search_core(problem, options, run)

    def warm_up(self, problem: Problem, options: AnnealOptions) -> None:
        """Compile or load the kernels that the problem's form, size and rows call for."""
        kind, free = Kind.of(problem), np.flatnonzero(problem.free)
        is_small = can_hold_gram(problem, options, free)
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
