"""Gram matrices of the features under weights, which Hessians are made of."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor

from subsetsel.influence.device import block_sizes
from subsetsel.support.clock import NO_CLOCK, Clock


def weighted_gram(X: Tensor, weights: Tensor, clock: Clock = NO_CLOCK) -> Tensor:
    """X^T diag(weights) X, shape (q, q); weights of any sign.

    It is symmetric: strips of its lower triangle are computed, which is little more than half.
    """
    (n, q), sizes = X.shape, block_sizes(X.device)
    out, num_strips = X.new_zeros((q, q)), min(8, -(-q // sizes.strip))
    edges = [k * q // num_strips for k in range(num_strips + 1)]
    for first in range(0, n, sizes.gram_rows):
        clock.check()
        part = X[first : first + sizes.gram_rows]
        scaled = part * weights[first : first + sizes.gram_rows, None]
        for start, stop in pairwise(edges):
            out[start:stop, :stop].addmm_(part[:, start:stop].T, scaled[:, :stop])
    for start, stop in pairwise(edges):
        out[:start, start:stop] = out[start:stop, :start].T
    return out
