"""Cholesky factors and triangular solves in tiles, between which a clock can end the work.

One call of LAPACK on 20,000 parameters takes minutes, and nothing can stop it. Tiles of up to
`TILE` rows are products of a few tenths of a second, and as fast.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from subsetsel.support.clock import NO_CLOCK, Clock

TILE = 1024


def factor_in_place(matrix: Tensor, clock: Clock = NO_CLOCK) -> bool:
    """Overwrite a symmetric matrix with L, zeros above its diagonal; False if it has none."""
    tiles = list(_tiles(len(matrix)))
    for here in tiles:
        known = slice(0, here.start)
        for below in tiles[here.start // TILE :]:
            clock.check()
            if here.start:
                matrix[below, here].addmm_(matrix[below, known], matrix[here, known].T, alpha=-1)
        corner, info = torch.linalg.cholesky_ex(matrix[here, here])
        if int(info):
            return False
        matrix[here, here] = corner
        for below in tiles[here.start // TILE + 1 :]:
            clock.check()
            matrix[below, here] = torch.linalg.solve_triangular(
                corner.T, matrix[below, here], upper=True, left=False
            )
            matrix[here, below] = 0.0
    return True


def solve_lower(lower: Tensor, columns: Tensor, clock: Clock = NO_CLOCK) -> Tensor:
    """L^-1 times columns."""
    found = columns.clone()
    for here in _tiles(len(lower)):
        clock.check()
        if here.start:
            found[here].addmm_(lower[here, : here.start], found[: here.start], alpha=-1)
        found[here] = torch.linalg.solve_triangular(lower[here, here], found[here], upper=False)
    return found


def solve_upper(lower: Tensor, columns: Tensor, clock: Clock = NO_CLOCK) -> Tensor:
    """L^-T times columns."""
    found = columns.clone()
    for here in reversed(list(_tiles(len(lower)))):
        clock.check()
        if here.stop < len(lower):
            found[here].addmm_(lower[here.stop :, here].T, found[here.stop :], alpha=-1)
        found[here] = torch.linalg.solve_triangular(lower[here, here].T, found[here], upper=True)
    return found


def _tiles(side: int) -> Iterator[slice]:
    for start in range(0, side, TILE):
        yield slice(start, min(start + TILE, side))
