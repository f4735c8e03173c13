"""Labelled examples, and what every reader must see to before it allocates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from subsetsel.errors import ProblemError
from subsetsel.support.memory import check_fits

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Data:
    """Labelled examples.

    Attributes
    ----------
    X : ndarray of shape (n, h)
    y : ndarray of shape (n,)
    ids : ndarray of shape (n,) or None
        The user's names of the examples.
    """

    X: Array
    y: Array
    ids: Array | None = None

    @property
    def n(self) -> int:
        """Number of examples."""
        return len(self.X)

    @property
    def num_features(self) -> int:
        """Numbers per example."""
        return self.X.size // max(1, len(self.X))

    @property
    def num_classes(self) -> int:
        """Different labels."""
        return len(np.unique(self.y))


def as_text(what: str, values: Sequence[str]) -> Array:
    """Make a text array of shape (n,), in which every element is as wide as the longest.

    ``what`` begins the message where that does not fit into memory: a file, and which part of it.
    """
    check_fits(what, 4 * len(values) * max(map(len, values), default=0))
    return np.array(values, dtype=np.str_)


def require_columns(
    what: str,
    wanted: Iterable[str],
    known: Sequence[Any],
    error: type[Exception] = ProblemError,
    cure: str = "Name one of these.",
) -> None:
    """Refuse a table, called ``what`` in the message, that lacks one of the columns wanted."""
    for name in wanted:
        if name not in known:
            more = ", ..." if len(known) > 8 else ""
            raise error(
                f"{what} has no column {name!r}; its columns are "
                f"{', '.join(map(str, known[:8]))}{more}. {cure}"
            )
