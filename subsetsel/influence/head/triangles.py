"""Cholesky factors and triangular solves in tiles, between which a clock can end the work.

One call of LAPACK on 20,000 parameters takes minutes, and nothing can stop it. Tiles of up to
`TILE` rows are products of a few tenths of a second, and as fast.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from subsetsel.support.clock import NO_CLOCK, Clock
from subsetsel.support.threads import by_blocks, run_blocks

TILE = 1024


@by_blocks()
def factor_in_place(matrix: Tensor, clock: Clock = NO_CLOCK) -> bool:
    """Overwrite a symmetric matrix with L, zeros above its diagonal; False if it has none."""
    tiles = list(_tiles(len(matrix)))
    for k, here in enumerate(tiles):
        corner = _update(matrix, here, here, clock)
        corner, info = torch.linalg.cholesky_ex(corner)
        if int(info):
            return False
        matrix[here, here] = corner
        run_blocks(
            partial(_fill, matrix, here, clock),
            tiles[k + 1 :],
            flops=TILE * (2 * here.start + TILE) * (len(matrix) - here.stop),
            is_cpu=matrix.device.type == "cpu",
        )
    return True


def _update(matrix: Tensor, below: slice, here: slice, clock: Clock) -> Tensor:
    """Subtract from a tile what the columns of L left of it make of it."""
    clock.check()
    tile = matrix[below, here]
    if here.start:
        tile.addmm_(matrix[below, : here.start], matrix[here, : here.start].T, alpha=-1)
    return tile


def _fill(matrix: Tensor, here: slice, clock: Clock, below: slice) -> None:
    """Overwrite the tile below a corner of L, and its mirror image with zeros."""
    tile = _update(matrix, below, here, clock)
    corner = matrix[here, here].T
    matrix[below, here] = torch.linalg.solve_triangular(corner, tile, upper=True, left=False)
    matrix[here, below] = 0.0


@by_blocks()
def solve_lower(lower: Tensor, columns: Tensor, clock: Clock = NO_CLOCK) -> Tensor:
    """L^-1 times columns."""
    found = columns.clone()
    for here in _tiles(len(lower)):
        clock.check()
        if here.start:
            found[here].addmm_(lower[here, : here.start], found[: here.start], alpha=-1)
        found[here] = torch.linalg.solve_triangular(lower[here, here], found[here], upper=False)
    return found


@by_blocks()
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
