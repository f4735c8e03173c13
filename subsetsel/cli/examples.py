"""What is asked of examples as soon as they are read, so that no work is lost to it."""

from __future__ import annotations

import numpy as np

from subsetsel.cli.console import print_note
from subsetsel.errors import ProblemError
from subsetsel.formats import Data
from subsetsel.report.look import Look, first_look


def check_held_out(data: Data, other: Data, flag: str) -> None:
    """Refuse held-out examples that the head of the data could not be tried on."""
    if other.num_features != data.num_features:
        raise ProblemError(
            f"{flag}: its examples have {other.num_features} features, those of the data "
            f"{data.num_features}; give examples with the same columns."
        )
    if (other.y.dtype.kind in "US") != (data.y.dtype.kind in "US"):
        raise ProblemError(
            f"{flag}: its labels are of type {other.y.dtype}, those of the data of "
            f"{data.y.dtype}; write both the same way."
        )
    unknown = ~np.isin(other.y, np.unique(data.y))
    if unknown.any():
        bad = int(np.flatnonzero(unknown)[0])
        raise ProblemError(
            f"{flag}: {np.count_nonzero(unknown)} examples have a label that no example of the "
            f"data has, first {other.y[bad]!s} in example {bad}; correct them, or leave them out."
        )


def show_look(data: Data) -> Look | None:
    """Say on stderr what stands out in the data; None where they are not a table of numbers."""
    X, y = data.X, np.asarray(data.y)
    if not isinstance(X, np.ndarray) or X.ndim != 2 or X.dtype.kind not in "fiub":
        return None
    if y.size != len(X):
        return None
    look = first_look(X, y.reshape(-1))
    for line in look.lines():
        print_note(f"look: {line}")
    return look
