"""A search as it goes on, thinned to what a picture can show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from subsetsel.problem.progress import Progress

MOST = 400


class Trail:
    """Collects what a search reports, and hands it on.

    Parameters
    ----------
    forward : callable, optional
        Called with every record too.

    Attributes
    ----------
    records : list of Progress
        The first and the last, and some between; `MOST` at most.
    """

    def __init__(self, forward: Callable[[Progress], Any] | None = None) -> None:
        self.forward = forward
        self._records: list[Progress] = []
        self._last: Progress | None = None
        self._stride = 1
        self._num_seen = 0

    def __call__(self, record: Progress) -> Any:
        """Take one record; for ``solve(progress=...)``."""
        self._last = record
        if self._num_seen % self._stride == 0:
            self._records.append(record)
            if len(self._records) >= MOST:
                self._records = self._records[::2]
                self._stride *= 2
        self._num_seen += 1
        return None if self.forward is None else self.forward(record)

    @property
    def records(self) -> list[Progress]:
        """What was kept, in order."""
        if self._last is None or self._records[-1] is self._last:
            return list(self._records)
        return [*self._records, self._last]
