"""Which training examples can be left out, together, without changing what the model learns.

Given an influence matrix S (n examples x d parameters), find the largest subset whose joint removal
moves the parameters by at most epsilon, or the subset of a given size that moves them least.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from subsetsel.engine.registry import SolverSpec, available_solvers, register_solver
    from subsetsel.engine.solve import path, solve
    from subsetsel.errors import (
        DegenerateProblemWarning,
        EngineError,
        FileFormatError,
        FormulationWarning,
        OptionError,
        ProblemError,
        SolverError,
        SolverNotInstalledError,
        SubsetselError,
        TrainingError,
        UnknownSolverError,
    )
    from subsetsel.guarantee.prune import prune
    from subsetsel.guarantee.verification import Verification, verify
    from subsetsel.problem.constraints import LinearConstraint
    from subsetsel.problem.groups import balanced_limits
    from subsetsel.problem.problem import Problem
    from subsetsel.problem.progress import Progress
    from subsetsel.problem.solution import Solution
    from subsetsel.selection.select import select_for_training

__version__ = "0.1.0"

__all__ = [
    "DegenerateProblemWarning",
    "EngineError",
    "FileFormatError",
    "FormulationWarning",
    "LinearConstraint",
    "OptionError",
    "Problem",
    "ProblemError",
    "Progress",
    "Solution",
    "SolverError",
    "SolverNotInstalledError",
    "SolverSpec",
    "SubsetselError",
    "TrainingError",
    "UnknownSolverError",
    "Verification",
    "available_solvers",
    "balanced_limits",
    "path",
    "prune",
    "register_solver",
    "select_for_training",
    "solve",
    "verify",
]

# Imported at their first use: the command `subsetsel` must be able to catch Ctrl-C from its first
# moment on, and whoever asks for one thing waits for nothing else.
_HOMES = {
    "DegenerateProblemWarning": "subsetsel.errors",
    "EngineError": "subsetsel.errors",
    "FileFormatError": "subsetsel.errors",
    "FormulationWarning": "subsetsel.errors",
    "LinearConstraint": "subsetsel.problem.constraints",
    "OptionError": "subsetsel.errors",
    "Problem": "subsetsel.problem.problem",
    "ProblemError": "subsetsel.errors",
    "Progress": "subsetsel.problem.progress",
    "Solution": "subsetsel.problem.solution",
    "SolverError": "subsetsel.errors",
    "SolverNotInstalledError": "subsetsel.errors",
    "SolverSpec": "subsetsel.engine.registry",
    "SubsetselError": "subsetsel.errors",
    "TrainingError": "subsetsel.errors",
    "UnknownSolverError": "subsetsel.errors",
    "Verification": "subsetsel.guarantee.verification",
    "available_solvers": "subsetsel.engine.registry",
    "balanced_limits": "subsetsel.problem.groups",
    "path": "subsetsel.engine.solve",
    "prune": "subsetsel.guarantee.prune",
    "register_solver": "subsetsel.engine.registry",
    "select_for_training": "subsetsel.selection.select",
    "solve": "subsetsel.engine.solve",
    "verify": "subsetsel.guarantee.verification",
}


def __getattr__(name: str) -> Any:
    """Import a name of `__all__` from its home."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(home), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
