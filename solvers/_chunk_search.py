"""Eq. 4 on rows that do not fit in memory: annealed swaps, chunk by chunk.

The Gram matrix of a random chunk of rows makes a swap within it cheap, whatever d is. Each chunk is
read from the rows when it is needed, so that one chunk is in memory at a time. The sum over all
other rows enters through its products with the chunk.
"""

from __future__ import annotations

import numpy as np

from subsetsel.engine.run import Run
from subsetsel.problem.problem import Problem
from subsetsel.rows import Rows
from subsetsel.rows.base import BoolArray, IndexArray

from ._chains import columns_of
from ._gram_kernels import gram_swaps

# Memory of one chunk of rows in float32.
_CHUNK_BYTES = 256 * 2**20
_MAX_CHUNK = 1024
_NUM_PASSES = 6
# Passes between two looks at the true norm, which costs an iterative solve of its own.
_PASSES_PER_LOOK = 3
# Proposals per row of a chunk: each costs a few operations, a chunk costs its Gram matrix.
_PROPOSALS = 400


def is_too_large(rows: Rows) -> bool:
    """Whether the rows to search on are more than memory is planned for."""
    return rows.proxy.search_width < rows.proxy.d


def chunk_chain(
    problem: Problem,
    run: Run,
    mask: BoolArray,
    free: IndexArray,
    temperatures: tuple[float, float],
    rng: np.random.Generator,
) -> BoolArray:
    """Pass through all free rows a few times, cooling down, and swap within random chunks.

    Searched is the proxy of the rows; ``mask`` (n,) is the start and is modified in place, ``free``
    lists the examples that may change sides.
    """
    rows = problem.rows.proxy
    size = int(np.clip(_CHUNK_BYTES // (4 * rows.d), 64, _MAX_CHUNK))
    num_chunks = -(-free.size // size)
    total = rows.sum(mask)
    num_proposals = _PROPOSALS * size
    all_proposals = float(_NUM_PASSES * num_chunks * num_proposals)
    done = 0.0
    for number in range(1, _NUM_PASSES + 1):
        for chunk in np.array_split(rng.permutation(free), num_chunks):
            if run.should_stop():
                return mask
            part = rows.take(chunk)
            chosen = mask[chunk]
            pruned, kept = np.flatnonzero(chosen), np.flatnonzero(~chosen)
            if pruned.size and kept.size:
                gram = (part @ part.T).astype(np.float64)
                gram_swaps(
                    gram,
                    pruned,
                    kept,
                    (part @ total.astype(part.dtype)).astype(np.float64),
                    np.array([float(total @ total)]),
                    columns_of(problem, mask, chunk),
                    rng,
                    (*temperatures, done, all_proposals),
                    num_proposals,
                )
                new = np.zeros(chunk.size, dtype=np.bool_)
                new[pruned] = True
                total += (new.astype(part.dtype) - chosen.astype(part.dtype)) @ part
                mask[chunk] = new
            done += num_proposals
            run.add_iterations(num_proposals)
        total = rows.sum(mask)
        if number % _PASSES_PER_LOOK == 0:
            run.submit(mask)
    return mask
