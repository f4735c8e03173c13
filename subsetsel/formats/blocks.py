"""Blocks of rows, joined once all are there."""

from __future__ import annotations

import numpy as np

from subsetsel.errors import FileFormatError
from subsetsel.formats.data import Array
from subsetsel.support.memory import check_fits


class Blocks:
    """Rows of features that come block by block, from a file that does not say how many it has.

    Before each block the memory is asked whether what is there can be joined.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._blocks: list[Array] = []
        self._num_rows = 0

    def add(self, block: Array) -> None:
        """Take a block of shape (rows, h)."""
        if self._blocks and block.shape[1] != self._blocks[0].shape[1]:
            raise FileFormatError(
                f"{self._what}: example {self._num_rows} has {block.shape[1]} features, and "
                f"example 0 has {self._blocks[0].shape[1]}."
            )
        check_fits(self._what, (self._num_rows + len(block)) * block.shape[1] * block.itemsize)
        self._blocks.append(block)
        self._num_rows += len(block)

    def joined(self) -> Array:
        """Put all rows into one array."""
        if len(self._blocks) == 1:
            return self._blocks[0]
        first = self._blocks[0]
        out = np.empty((self._num_rows, first.shape[1]), dtype=np.result_type(*self._blocks))
        start = self._num_rows
        # From the end, so that each block can be freed as soon as it is copied.
        while self._blocks:
            block = self._blocks.pop()
            out[start - len(block) : start] = block
            start -= len(block)
        return out
