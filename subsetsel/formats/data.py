"""Labelled examples, and what every reader must see to before it allocates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from subsetsel.errors import ProblemError

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
    weights : ndarray of shape (n,) or None
        How much each example counts in the training loss.
    names : tuple of str or None
        Columns that hold the features, where they come from a table.
    """

    X: Array
    y: Array
    ids: Array | None = None
    weights: Array | None = field(default=None, kw_only=True)
    names: tuple[str, ...] | None = field(default=None, kw_only=True)

    @property
    def n(self) -> int:
        """Number of examples."""
        return len(self.X)

    @property
    def num_features(self) -> int:
        """Numbers per example."""
        return int(np.prod(self.X.shape[1:]))

    @property
    def num_classes(self) -> int:
        """Different labels."""
        return len(np.unique(self.y))


class Table(Protocol):
    """What every reader makes of a file: columns, or arrays, by name.

    Attributes
    ----------
    path : str
        Begins every message.
    kind : str
        What its parts are called: ``column``, ``array`` or ``tensor``.
    names : sequence of str
    index : sequence of str
        Columns that hold the index of the frame that was written.
    """

    path: str
    kind: str
    names: Sequence[str]
    index: Sequence[str]

    def take(
        self, features: Sequence[str], label: str | None, identity: str | None
    ) -> tuple[Array | None, Array | None, Array | None]:
        """Read features side by side, labels and ids; None for each that is not asked for."""
        ...

    def place(self, row: int) -> str:
        """Say where a row is found in the file: by its line, if it has lines."""
        ...


def numbers_of(table: Table, names: Sequence[str]) -> Array:
    """Read columns of numbers alone, side by side in one array."""
    X, _, _ = table.take(names, None, None)
    assert X is not None
    return X


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
