"""Which training examples can be left out, together, without changing what the model learns.

Given an influence matrix S (n examples x d parameters), find the largest subset whose joint removal
moves the parameters by at most epsilon, or the subset of a given size that moves them least.
"""

from subsetsel.engine.registry import SolverSpec, available_solvers, register_solver
from subsetsel.engine.solve import path, solve
from subsetsel.errors import (
    DegenerateProblemWarning,
    FileFormatError,
    FormulationWarning,
    OptionError,
    ProblemError,
    SolverError,
    SolverNotInstalledError,
    SubsetselError,
    UnknownSolverError,
)
from subsetsel.guarantee.prune import prune
from subsetsel.guarantee.verification import Verification, verify
from subsetsel.problem.constraints import LinearConstraint
from subsetsel.problem.groups import balanced_limits
from subsetsel.problem.problem import Problem
from subsetsel.problem.progress import Progress
from subsetsel.problem.solution import Solution

__version__ = "0.1.0"

__all__ = [
    "DegenerateProblemWarning",
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
    "UnknownSolverError",
    "Verification",
    "available_solvers",
    "balanced_limits",
    "path",
    "prune",
    "register_solver",
    "solve",
    "verify",
]
