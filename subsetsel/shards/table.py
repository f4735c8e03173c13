"""`Shards`: values that lie in parts, one after the other, and what is asked of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subsetsel.errors import SubsetselError
from subsetsel.shards.workers import FAILED_TASK, Workers


class Shards:
    """Values of some kind, each of some consecutive examples, held by workers.

    Parameters
    ----------
    workers : Workers
    held : sequence
        A handle for each shard.
    lengths : sequence of int
        Examples in each shard; 0 is allowed.
    names : sequence of str
        What errors call each shard, such as its file.

    Attributes
    ----------
    starts : ndarray of shape (len(held) + 1,), int64
        Shard k has the examples ``starts[k]`` to ``starts[k + 1]``.
    num_rounds, bytes_sent : int
        Calls of `map`, and the bytes of arrays that they sent and brought back.
    """

    def __init__(
        self,
        workers: Workers,
        held: Sequence[Any],
        lengths: Sequence[int],
        names: Sequence[str] | None = None,
    ) -> None:
        self.workers, self.held = workers, list(held)
        self.starts: NDArray[np.int64] = np.concatenate([
            [0],
            np.cumsum(np.asarray(lengths, dtype=np.int64)),
        ]).astype(np.int64)
        self.names = list(names) if names is not None else [f"shard {k}" for k in range(len(self))]
        self.num_rounds, self.bytes_sent = 0, 0

    def __len__(self) -> int:
        return len(self.held)

    @property
    def n(self) -> int:
        """Examples in all shards."""
        return int(self.starts[-1])

    def map(
        self,
        function: Callable[..., Any],
        *common: Any,
        each: Sequence[tuple[Any, ...]] | None = None,
        only: Sequence[int] | None = None,
    ) -> list[Any]:
        """Give ``function(value, *common, *each[k])`` of each shard k, in the order of the shards.

        Parameters
        ----------
        function : callable
            Pure, at the top level of a module.
        *common
            Small arrays and numbers for every shard.
        each : sequence of tuple, optional
            What each shard is given beside, one tuple for each that is asked.
        only : sequence of int, optional
            The shards that are asked; all of them otherwise. Empty shards are asked too.

        Raises
        ------
        SubsetselError
            Of the first shard that failed, whose name the message has: see `explain`.
        """
        asked = range(len(self)) if only is None else only
        more = [()] * len(asked) if each is None else each
        arguments = [(self.held[k], *common, *own) for k, own in zip(asked, more, strict=True)]
        try:
            found = self.workers.run(function, arguments)
        except SubsetselError as error:
            failed = getattr(error, FAILED_TASK, None)
            name = "" if failed is None else self.names[asked[failed]]
            if name in str(error):
                raise
            raise type(error)(f"{name}: {error}") from error.__cause__ or error
        self.num_rounds += 1
        self.bytes_sent += sum(map(_bytes_in, (one[1:] for one in arguments)))
        self.bytes_sent += sum(map(_bytes_in, found))
        return found

    def derive(
        self,
        function: Callable[..., Any],
        *common: Any,
        each: Sequence[tuple[Any, ...]] | None = None,
    ) -> Shards:
        """Hold what ``function(value, *common, *each[k])`` makes of each shard beside it."""
        more = [()] * len(self) if each is None else each
        sources = [(held, *common, *own) for held, own in zip(self.held, more, strict=True)]
        held = self.workers.hold(function, sources)
        return Shards(self.workers, held, np.diff(self.starts).tolist(), self.names)

    def split(self, vector: NDArray[Any]) -> list[tuple[NDArray[Any]]]:
        """Cut an array of n entries into those of each shard, as ``each`` of `map`."""
        return [
            (vector[start:stop],)
            for start, stop in zip(self.starts[:-1], self.starts[1:], strict=True)
        ]

    def find(self, indices: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int64]]]:
        """Say which shards chosen examples lie in.

        Returns
        -------
        list of (int, ndarray)
            The shards that have any, and the positions in ``indices`` of those they have.
        """
        if not len(indices):
            return []
        owners = np.searchsorted(self.starts, indices, side="right") - 1
        order = np.argsort(owners, kind="stable")
        shards, first = np.unique(owners[order], return_index=True)
        parts = np.split(order, first[1:])
        return [(int(k), part) for k, part in zip(shards, parts, strict=True)]

    def locate(self, index: int) -> str:
        """Name an example: its shard and its row there."""
        k = int(np.searchsorted(self.starts, index, side="right")) - 1
        return f"row {index - int(self.starts[k])} of {self.names[k]}"


def _bytes_in(value: Any) -> int:
    if isinstance(value, (tuple, list)):
        return sum(map(_bytes_in, value))
    return int(getattr(value, "nbytes", 8))
