"""Where answers are refitted: a solver in each of its ways to start, best exchanges beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from subsetsel.engine.other_form import Engine, pick_engine
from subsetsel.engine.registry import Solver, SolverSpec, get_spec
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.engine.sharded import sharded_engine
from subsetsel.problem.problem import Problem


@dataclass(frozen=True, eq=False)
class Method:
    """A solver with its own options, checked, and best exchanges beside it.

    ``options`` has one entry for each way in which it starts.
    """

    spec: SolverSpec
    solver: Solver
    options: tuple[Any, ...]

    @classmethod
    def of(
        cls, spec: SolverSpec, given: Mapping[str, Any], starts: tuple[Mapping[str, Any], ...]
    ) -> Self:
        """Load a solver and check its options, which go before those of each start."""
        solver = spec.load()
        options = [spec.options(solver, {**start, **given}) for start in starts]
        return cls(spec, solver, tuple(dict.fromkeys(options)))

    def engines(self, problem: Problem) -> tuple[Engine, ...]:
        """Compile what solves such problems; the last engine exchanges from an initial guess."""
        greedy = get_spec("greedy")
        exchanges = greedy.load()
        ways = [(self.spec, self.solver, one) for one in self.options]
        ways.append((greedy, exchanges, greedy.options(exchanges, {"patience": 0})))
        for _, solver, options in ways:
            solver.warm_up(problem, options)
        if problem.rows.shards is None:
            return tuple(pick_engine(problem, *way) for way in ways)
        return tuple(sharded_engine(partial(_search, way)) for way in ways)


def _search(way: tuple[SolverSpec, Solver, Any], problem: Problem, run: Run) -> Candidate:
    """Solve a problem of either form in one of the ways."""
    return pick_engine(problem, *way)(problem, run)
