"""The errors and warnings of subsetsel.

Every error is a `SubsetselError`. Each message names the argument, the value it had, the rule it
broke and what to do. An infeasible problem is no error: it is a `Solution` with status
``"infeasible"``.
"""


class SubsetselError(Exception):
    """Base class of all errors raised on purpose by subsetsel."""


class ProblemError(SubsetselError, ValueError):
    """The data or the question makes no sense: shape, NaN, epsilon, size, labels, limits."""


class OptionError(SubsetselError, ValueError):
    """An option is unknown, has a bad value, or asks a solver for what it cannot honour."""


class UnknownSolverError(SubsetselError, ValueError):
    """No solver of that name is registered."""


class SolverNotInstalledError(SubsetselError, ImportError):
    """The solver is registered but a package it needs is missing or broken."""


class MissingExtraError(SubsetselError, ImportError):
    """A file format, a picture or an integration needs a package that is not installed."""


class SolverError(SubsetselError, RuntimeError):
    """A back end failed; the original exception is chained to this one."""


class TrainingError(SubsetselError, RuntimeError):
    """The user's own training failed where nothing can be compared without it."""


class FileFormatError(SubsetselError, ValueError):
    """A file is not what it should be: truncated, of another format, or with missing fields."""


class EngineError(SubsetselError, RuntimeError):
    """A cluster is not reached, is closed, lost its workers too often, or has other versions."""


class FolderInUseError(SubsetselError, RuntimeError):
    """Another run is writing to the same folder."""


class OutOfMemoryError(SubsetselError, MemoryError):
    """The memory is not enough; the message says what was needed and what needs less."""


class DegenerateProblemWarning(UserWarning):
    """The constraint lets every example be pruned, so the optimum says nothing."""


class FormulationWarning(UserWarning):
    """The settings are legal but their combination is rarely what is meant."""
