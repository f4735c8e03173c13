"""Which solvers there are: strings and capabilities, no imports of back ends.

A new solver is one file, one `register_solver` line and no new test: the conformance suite in
`subsetsel.testing` takes up whatever is registered.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from typing import Any, ClassVar, Protocol

from subsetsel.engine.options import COMMON_OPTIONS
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.errors import OptionError, SolverNotInstalledError, UnknownSolverError
from subsetsel.problem.arguments import Normalization
from subsetsel.problem.problem import Form, Problem


class Solver(Protocol):
    """What a back end implements.

    `Options` is a frozen dataclass that validates itself in ``__post_init__``. `solve` looks at
    ``run.should_stop()`` often, hands every better subset to ``run.submit`` and returns why it
    stopped; it is told the rest by `Run`.
    """

    Options: ClassVar[type[Any]]

    def solve(self, problem: Problem, options: Any, run: Run) -> Candidate:
        """Search for a subset."""
        ...

    def warm_up(self, problem: Problem, options: Any) -> None:
        """Compile or load, before the clock starts, what solving this problem will need.

        Called before each solve: it returns at once where there is nothing left to do
        (`subsetsel.engine.warm_up.Kind` tells what has been done).
        """
        ...


@dataclass(frozen=True)
class SolverSpec:
    """What the registry knows of a solver before it is imported.

    Attributes
    ----------
    name : str
        The keyword of ``solve(solver=...)``.
    target : str
        ``"package.module:Class"``, imported on first use.
    summary : str
        One line for tables.
    requires : tuple of str
        Top-level packages that must be importable.
    forms : frozenset of {"max_size", "min_norm"}
        The forms it solves itself; the other is bridged in the core.
    normalizations : frozenset of {"full", "kept"}
        What it honours itself in the form "max_size"; "kept" is bridged where it is missing.
    supports : frozenset of {"constraints", "fixed", "max_size", "offset"}
        What it honours; anything else is refused by name before it starts. ``"offset"`` is not
        taken for granted: a solver that knows S alone would search another norm.
    proves : str
        ``"optimal"``, ``"bound"`` or ``"nothing"``: what it can prove by itself.
    practical_n : str
        Up to where it is usable, for tables.
    defaults : mapping
        Options that differ from the class's own defaults: a named variant of a solver.
    starts : tuple of mapping
        Where answers are refitted (`prune`, ``hessian="kept"``): options for each way in which a
        search may start, the usual one first. What the user gives goes before them.
    """

    name: str
    target: str
    summary: str
    requires: tuple[str, ...] = ()
    forms: frozenset[Form] = frozenset({"max_size", "min_norm"})
    normalizations: frozenset[Normalization] = frozenset({"full"})
    supports: frozenset[str] = frozenset({"constraints", "fixed", "max_size"})
    proves: str = "nothing"
    practical_n: str = ""
    defaults: Mapping[str, Any] | None = field(default=None, hash=False)
    starts: tuple[Mapping[str, Any], ...] = field(default=({},), hash=False)

    @property
    def missing(self) -> tuple[str, ...]:
        """Required packages that are not installed."""
        return tuple(name for name in self.requires if find_spec(name) is None)

    def load(self) -> Solver:
        """Import the back end.

        Returns
        -------
        Solver

        Raises
        ------
        SolverNotInstalledError
            If a package it needs is missing, or is there but broken.
        """
        if self.missing:
            raise SolverNotInstalledError(
                f"solver {self.name!r} needs {', '.join(self.missing)}, which is not installed; "
                f"pip install {' '.join(self.missing)}."
            )
        module, _, attribute = self.target.partition(":")
        try:
            cls = getattr(importlib.import_module(module), attribute)
        except ImportError as error:
            raise SolverNotInstalledError(
                f"solver {self.name!r} is installed but cannot be imported: {error}."
            ) from error
        solver: Solver = cls()
        return solver

    def options(self, solver: Solver, given: Mapping[str, Any]) -> Any:
        """Build and validate the options of a solver.

        Returns
        -------
        object
            An instance of ``solver.Options``.

        Raises
        ------
        OptionError
            If a name is unknown; the closest known one is named.
        """
        known = [field.name for field in fields(solver.Options)]
        for name in given:
            if name not in known:
                raise OptionError(_unknown_option(self.name, name, known))
        return solver.Options(**{**(self.defaults or {}), **given})


def _unknown_option(solver: str, name: str, known: list[str]) -> str:
    everything = known + list(COMMON_OPTIONS)
    close = difflib.get_close_matches(name, everything, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return (
        f"solver {solver!r} has no option {name!r}{hint} "
        f"Its own options: {', '.join(known) or 'none'}. "
        f"Common to all: {', '.join(COMMON_OPTIONS)}."
    )


_BOTH: frozenset[Normalization] = frozenset({"full", "kept"})
_ALL = frozenset({"constraints", "fixed", "max_size", "offset"})
_REGISTRY: dict[str, SolverSpec] = {}


def register_solver(spec: SolverSpec) -> None:
    """Make a solver known under ``spec.name``.

    Parameters
    ----------
    spec : SolverSpec

    Raises
    ------
    OptionError
        If the name is taken.
    """
    if spec.name in _REGISTRY:
        raise OptionError(
            f"a solver named {spec.name!r} is registered already; choose another name."
        )
    _REGISTRY[spec.name] = spec


def unregister_solver(name: str) -> None:
    """Forget a solver; for tests and plugins that are unloaded."""
    _REGISTRY.pop(get_spec(name).name)


def get_spec(name: str) -> SolverSpec:
    """Look a solver up.

    Raises
    ------
    UnknownSolverError
        Listing the available solvers and naming the closest.
    """
    if name in _REGISTRY:
        return _REGISTRY[name]
    close = difflib.get_close_matches(str(name), list(_REGISTRY), n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UnknownSolverError(
        f"there is no solver {name!r}. Available: {', '.join(available_solvers())}.{hint}"
    )


def registered_solvers() -> dict[str, SolverSpec]:
    """All registered solvers, installed or not.

    Returns
    -------
    dict
        name -> SolverSpec, in order of registration.
    """
    return dict(_REGISTRY)


def available_solvers() -> list[str]:
    """Names of the solvers whose packages are installed.

    Returns
    -------
    list of str
    """
    return [name for name, spec in _REGISTRY.items() if not spec.missing]


for _spec in (
    SolverSpec(
        "anneal",
        "subsetsel.solvers.anneal:AnnealSolver",
        "relaxation, then annealing on the items it leaves open (Numba)",
        requires=("numba",),
        supports=_ALL,
        proves="bound",
        practical_n="millions",
        starts=({}, {"start": "random"}),
    ),
    SolverSpec(
        "greedy",
        "subsetsel.solvers.greedy:GreedySolver",
        "best insertion, removal and exchange, deterministic (Numba)",
        requires=("numba",),
        normalizations=_BOTH,
        supports=_ALL,
        practical_n="100,000",
    ),
    SolverSpec(
        "relax",
        "subsetsel.solvers.relax:RelaxSolver",
        "cone relaxation (cvxpy, CLARABEL), rounding, best moves",
        requires=("cvxpy", "numba"),
        normalizations=_BOTH,
        supports=_ALL,
        proves="bound",
        practical_n="2,000 (n x rank up to a million)",
    ),
    SolverSpec(
        "cpsat",
        "subsetsel.solvers.cpsat:CpsatSolver",
        "exact search over integer rows (OR-Tools CP-SAT)",
        requires=("ortools", "numba"),
        normalizations=_BOTH,
        supports=_ALL,
        proves="optimal",
        practical_n="a few hundred",
    ),
    SolverSpec(
        "exact",
        "subsetsel.solvers.exact:ExactSolver",
        "branch and bound on the norm itself (OR-Tools MathOpt, SCIP)",
        requires=("ortools", "numba"),
        normalizations=_BOTH,
        supports=_ALL,
        proves="optimal",
        practical_n="100 to 200",
    ),
):
    register_solver(_spec)
