"""Rows cut into shards, in this process, for tests that compare with rows in one piece."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from subsetsel.rows import DenseRows
from subsetsel.rows.base import Rows
from subsetsel.rows.sharded import ShardedRows
from subsetsel.shards.table import Shards
from subsetsel.shards.workers import Serial


def in_shards(S: NDArray[np.floating], cuts: Sequence[int]) -> ShardedRows:
    """Cut S before the rows ``cuts``; equal cuts make empty shards."""
    workers, edges = Serial(), [0, *cuts, len(S)]
    parts = [(S[start:stop],) for start, stop in pairwise(edges)]
    held = workers.hold(_rows, parts)
    return ShardedRows(Shards(workers, held, np.diff(edges).tolist()), S.shape[1], S.dtype)


def cut_evenly(n: int, num: int) -> list[int]:
    """Give the cuts of ``num`` shards of about the same length."""
    return [n * k // num for k in range(1, num)]


def _rows(part: NDArray[np.floating]) -> Rows | None:
    return DenseRows(part) if len(part) else None
