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

from ._walk import Cooling
from ._walk_kernels import Ground, walk

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


def walk_chunks(
    problem: Problem,
    run: Run,
    mask: BoolArray,
    free: IndexArray,
    cooling: Cooling,
    rng: np.random.Generator,
    *,
    num_asked: int | None = None,
) -> BoolArray:
    """Pass through all free rows a few times, cooling down, and swap within random chunks.

    Searched is the proxy of the rows; ``mask`` (n,) is the start and is modified in place, ``free``
    lists the examples that may change sides. ``num_asked`` are the proposals that a user allows.
    """
    rows = problem.rows.proxy
    size = int(np.clip(_CHUNK_BYTES // (4 * rows.d), 64, _MAX_CHUNK))
    num_chunks = -(-free.size // size)
    # Beside an offset the proxy is the rows themselves.
    offset = 0.0 if problem.offset is None else problem.offset
    total, done = rows.sum(mask) + offset, 0
    all_proposals = _NUM_PASSES * _PROPOSALS * free.size
    if num_asked is not None:
        all_proposals = min(all_proposals, num_asked)
    num_proposals = max(1, all_proposals // (_NUM_PASSES * num_chunks))
    for number in range(1, _NUM_PASSES + 1):
        for chunk in np.array_split(rng.permutation(free), num_chunks):
            if run.should_stop():
                return mask
            part, before = rows.take(chunk).astype(np.float64), mask[chunk]
            norms = (part**2).sum(axis=1)
            by_norm = np.argsort(norms, kind="stable")
            columns = problem.constraints.columns(mask, chunk, slack=0.5)
            ground = Ground(
                part @ part.T, part @ total, True, before.copy(), by_norm, norms[by_norm], columns
            )
            schedule = (cooling.hot, cooling.cold, float(done), float(all_proposals))
            state = np.array([float(total @ total), float(mask.sum()), 0.0, np.inf, -1.0, 0.0])
            order, best = np.empty(chunk.size, dtype=np.int64), before.copy()
            walk(ground, order, state, best, rng, schedule, 0.0, np.inf, num_proposals)
            total += (ground.chosen.astype(np.float64) - before) @ part
            mask[chunk] = ground.chosen
            done += num_proposals
            run.add_iterations(num_proposals)
        total = rows.sum(mask) + offset
        if number % _PASSES_PER_LOOK == 0:
            run.submit(mask)
    return mask
