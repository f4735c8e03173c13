"""Features and weights of the examples, walked through in chunks: by a clock, and by threads."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Self, TypeVar

import torch
from torch import Tensor

from subsetsel.influence.head.features import Features
from subsetsel.support.clock import NO_CLOCK, Clock
from subsetsel.support.threads import FLOPS_PER_THREAD, map_blocks

# Sums over the examples are made of at most so many parts, which threads can compute.
_MAX_PARTS = 32

Part = TypeVar("Part")


class Examples:
    """The features and weights of n examples.

    Parameters
    ----------
    X : Features of shape (n, q)
    weights : Tensor of shape (n,), float64, optional
        Positive; ones without it.

    Attributes
    ----------
    total : float
        Sum of the weights.
    clock : Clock
        Ends the work on the examples, of which it is asked before each chunk.
    """

    def __init__(self, X: Features, weights: Tensor | None) -> None:
        self.X, self.weights = X, weights
        self.n, self.q = X.shape
        self.total = float(self.n) if weights is None else float(weights.sum())
        self.clock = NO_CLOCK

    def timed(self, clock: Clock) -> Self:
        """Give the same objective on the same arrays, whose work a clock ends."""
        other = copy.copy(self)
        other.clock = clock
        return other

    @property
    def chunk_rows(self) -> int:
        """How many examples enter one matrix product."""
        return self.X.chunk_rows

    def chunks(self, length: int | None = None) -> Iterator[slice]:
        """Cut the examples into ranges, between which the clock ends the work with `TimeIsUp`."""
        return self.asking(self._cut(length or self.chunk_rows))

    def _cut(self, length: int) -> list[slice]:
        return [slice(start, min(start + length, self.n)) for start in range(0, self.n, length)]

    def asking(self, chunks: Iterable[slice]) -> Iterator[slice]:
        """Ask the clock before each chunk."""
        for rows in chunks:
            self.clock.check()
            yield rows

    @property
    def is_cpu(self) -> bool:
        """Whether threads of ours can share the work."""
        return self.X.device.type == "cpu"

    def parts(
        self,
        function: Callable[[list[slice]], Part],
        flops: float,
        *,
        length: int | None = None,
    ) -> Iterator[Part]:
        """Apply a function to a few lists of consecutive chunks, in order, with threads.

        The lists go by sizes alone, so that sums over them come out the same with any number of
        threads. ``flops`` are those of all chunks, if all features are dense; each list has enough
        for a thread.
        """
        flops *= self.X.filled
        chunks = self._cut(length or self.chunk_rows)
        count = max(1, min(_MAX_PARTS, len(chunks), int(flops / FLOPS_PER_THREAD)))
        edges = [k * len(chunks) // count for k in range(count + 1)]
        lists = [chunks[start:stop] for start, stop in pairwise(edges)]
        return map_blocks(function, lists, flops=flops, is_cpu=self.is_cpu)

    def weigh(self, rows: slice, values: Tensor) -> Tensor:
        """Multiply values, one per example on the first axis, by the weights, in place."""
        if self.weights is not None:
            values *= self.weights[rows].reshape(-1, *[1] * (values.dim() - 1))
        return values

    def ones(self) -> Tensor:
        """Weights of all examples, shape (n,): ones where none were given."""
        if self.weights is not None:
            return self.weights
        return torch.ones(self.n, dtype=torch.float64, device=self.X.device)

    def gram(self) -> Tensor:
        """X^T diag(w) X / sum w of the scaled features, shape (q, q)."""
        return self.X.gram(self.ones(), self.clock).div_(self.total)
