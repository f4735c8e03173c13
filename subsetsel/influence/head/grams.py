"""Gram matrices of the features under weights, which Hessians are made of; eigenvectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from subsetsel.influence.device import block_sizes
from subsetsel.support.clock import NO_CLOCK, Clock
from subsetsel.support.threads import run_blocks

# Sides of the tiles in which Gram matrices of pairs are computed: as long as products of matrices
# need to be fast, and so short that what they are made of stays in the cache.
_TILE_ROWS, _TILE_COLUMNS = 128, 1024


def weighted_gram(X: Tensor, weights: Tensor, clock: Clock = NO_CLOCK) -> Tensor:
    """X^T diag(weights) X, shape (q, q); weights of any sign.

    It is symmetric: strips of its lower triangle are computed, which is little more than half.
    """
    (n, q), out = X.shape, X.new_zeros((X.shape[1], X.shape[1]))
    length = block_sizes(X.device).gram_rows

    def fill(strip: range) -> None:
        start, stop = strip.start, strip.stop
        for first in range(0, n, length):
            clock.check()
            rows = slice(first, first + length)
            scaled = X[rows, start:stop] * weights[rows, None]
            out[start:stop, :stop].addmm_(scaled.T, X[rows, :stop])
        out[:start, start:stop] = out[start:stop, :start].T

    # The longest first: then the threads end at about the same time.
    strips = _strips(q, block_sizes(X.device).strip)[::-1]
    run_blocks(fill, strips, flops=n * q * (q + len(strips[0])), is_cpu=X.device.type == "cpu")
    return out


def _strips(q: int, least: int) -> list[range]:
    """Cut the features into at most eight strips, of the same width up to one."""
    num_strips = min(8, -(-q // least))
    edges = [k * q // num_strips for k in range(num_strips + 1)]
    return [range(start, stop) for start, stop in pairwise(edges)]


@dataclass(frozen=True)
class _Tile:
    """Pairs (a, b), a < b, of ranges of weights, and the features of a that are computed."""

    a: range
    b: range
    features: range

    def num_flops(self, n: int, q: int) -> int:
        side = len(self.a) * len(self.features)
        return 2 * n * side * len(self.b) * (q - self.features.start)


def fill_pairs(
    out: Tensor, X: Tensor, left: Tensor, right: Tensor, clock: Clock = NO_CLOCK
) -> None:
    """Set out[a, :, b, :] and out[b, :, a, :] to X^T diag(left_a right_b) X for all a < b.

    Each is one block of the product of the rows left_a x_i and right_b x_i, for many pairs at a
    time. A block is symmetric: of its features only what lies right of the diagonal strip is
    computed, and copied to the four places where it belongs.

    Parameters
    ----------
    out : Tensor of shape (m, q, m, q)
    X : Tensor of shape (n, q)
    left, right : Tensor of shape (n, m)
    """
    (n, q), m = X.shape, left.shape[1]
    tiles = list(_tiles(m, q, block_sizes(X.device).strip))

    def fill(tile: _Tile) -> None:
        _fill_tile(out, (X, left, right), tile, clock)

    flops = sum(tile.num_flops(n, q) for tile in tiles)
    run_blocks(fill, tiles, flops=flops, is_cpu=X.device.type == "cpu")


def _tiles(m: int, q: int, strip: int) -> Iterator[_Tile]:
    for features in _strips(q, strip):
        height = max(1, _TILE_ROWS // len(features))
        width = max(1, _TILE_COLUMNS // (q - features.start))
        for a in range(0, m - 1, height):
            for b in range(a + 1, m, width):
                yield _Tile(range(a, min(a + height, m)), range(b, min(b + width, m)), features)


def _fill_tile(
    out: Tensor, factors: tuple[Tensor, Tensor, Tensor], tile: _Tile, clock: Clock
) -> None:
    X, left, right = factors
    (n, q), length = X.shape, block_sizes(X.device).gram_rows
    a, b, strip = (slice(r.start, r.stop) for r in (tile.a, tile.b, tile.features))
    rest = slice(strip.start, q)
    found = X.new_zeros((len(tile.a) * len(tile.features), len(tile.b) * (q - strip.start)))
    for first in range(0, n, length):
        clock.check()
        rows = slice(first, first + length)
        of_a = left[rows, a, None] * X[rows, None, strip]
        of_b = right[rows, b, None] * X[rows, None, rest]
        found.addmm_(of_a.flatten(1).T, of_b.flatten(1))
    blocks = found.reshape(len(tile.a), len(tile.features), len(tile.b), q - strip.start)
    for k, own in enumerate(tile.a):
        # Where the ranges overlap, the formula holds above the diagonal alone.
        above = slice(max(own + 1, b.start), b.stop)
        if above.start >= above.stop:
            continue
        block = blocks[k, :, above.start - b.start :]
        out[own, strip, above, rest] = block
        out[own, rest, above, strip] = block.permute(2, 1, 0)
        out[above, strip, own, rest] = block.transpose(0, 1)
        out[above, rest, own, strip] = block.permute(1, 2, 0)


def eigenvectors(matrix: Tensor) -> Tensor:
    """Eigenvectors as columns, the largest entry of each positive.

    Their signs are the library's choice otherwise, and E-KFAC draws random signs in this basis:
    each device would search on other rows.
    """
    vectors: Tensor = torch.linalg.eigh(matrix)[1]
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    return vectors * largest.sign()
