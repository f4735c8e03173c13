"""The conformance suite: what every solver must do, for anyone who writes one.

One line checks a solver that is registered::

    subsetsel.testing.check_solver("mine")

and two lines give pytest one test per case::

    @pytest.mark.parametrize("case", subsetsel.testing.CASES, ids=str)
    def test_conformance(case):
        case.check("mine")

Everything runs on problems of at most 16 examples, whose optimum is found by enumeration.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from subsetsel.engine.registry import get_spec
from subsetsel.engine.solve import solve
from subsetsel.errors import DegenerateProblemWarning, OptionError
from subsetsel.testing.behaviours import BEHAVIOURS
from subsetsel.testing.oracle import (
    Optimum,
    check_solution,
    enumerate_optimum,
    feasible_subsets,
    require,
)
from subsetsel.testing.problems import SmallProblem, small_problems

__all__ = [
    "CASES",
    "Case",
    "Optimum",
    "check_solution",
    "check_solver",
    "conformance_cases",
    "enumerate_optimum",
    "feasible_subsets",
]


@dataclass(frozen=True)
class Case:
    """One thing every solver is checked for.

    Attributes
    ----------
    name : str
    needs : frozenset of {"constraints", "fixed", "max_size", "offset"}
        What a solver must honour. From one that does not, the case expects a refusal by name.
    run : callable
        Takes the name of a solver; raises AssertionError.
    """

    name: str
    needs: frozenset[str]
    run: Callable[[str], None]

    def __str__(self) -> str:
        return self.name

    def check(self, solver: str) -> None:
        """Run the case on one solver.

        Parameters
        ----------
        solver : str
            A registered name.

        Raises
        ------
        AssertionError
            Saying what does not hold.
        """
        missing = self.needs - get_spec(solver).supports
        if not missing:
            self.run(solver)
            return
        try:
            self.run(solver)
        except OptionError as error:
            require(repr(solver) in str(error), f"the refusal does not name {solver!r}: {error}")
            return
        raise AssertionError(f"{solver!r} does not honour {sorted(missing)}, yet took the problem")


def _check_problem(small: SmallProblem, solver: str) -> None:
    problem = small.build()
    solution = solve(problem, solver=solver)
    check_solution(problem, solution)
    status, expected = solution.status, small.expected
    if expected is not None:
        require(status == expected, f"status is {status!r}, expected {expected!r}")
    elif small.must_find:
        require(solution.is_feasible, f"a feasible subset exists, status is {status!r}")


def _check_degenerate(solver: str) -> None:
    small = next(small_problems()).build()
    problem = small.replace(epsilon=2 * float(small.norm(~small.must_keep)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        solution = solve(problem, solver=solver)
    check_solution(problem, solution)
    require(solution.size == problem.n, "the full set is feasible, but it did not come back")
    require(
        any(issubclass(one.category, DegenerateProblemWarning) for one in caught),
        "everything could be pruned, and no DegenerateProblemWarning said so",
    )


def _check_proof(solver: str) -> None:
    """Prove optimality, where the solver says it can, on problems of ten examples."""
    if get_spec(solver).proves != "optimal":
        return
    for small in small_problems():
        if small.name in {"eq3_full", "eq4"}:
            status = solve(small.build(), solver=solver).status
            require(status == "optimal", f"{small.name}: status is {status!r}, not 'optimal'")


def conformance_cases() -> list[Case]:
    """All cases, in the order in which they are best read."""
    checks = {
        "degenerate_warns": _check_degenerate,
        "proves_what_it_says": _check_proof,
        **BEHAVIOURS,
    }
    return [
        *(Case(one.name, one.needs, partial(_check_problem, one)) for one in small_problems()),
        *(Case(name, frozenset(), check) for name, check in checks.items()),
    ]


CASES: tuple[Case, ...] = tuple(conformance_cases())


def check_solver(name: str) -> None:
    """Run the whole suite on one solver.

    Parameters
    ----------
    name : str
        A registered name; see `subsetsel.register_solver`.

    Raises
    ------
    AssertionError
        Listing every case that failed and why.
    """
    failures = []
    for case in CASES:
        try:
            case.check(name)
        except Exception as error:  # a crash is a failure of the case, not of the suite
            failures.append(f"  {case.name}: {type(error).__name__}: {error}")
    if failures:
        raise AssertionError(
            f"solver {name!r} fails {len(failures)} of {len(CASES)} cases:\n" + "\n".join(failures)
        )
