"""What one shard does for Eq. 4: swap some of its examples, and so take a part of the sum away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from subsetsel.engine.options import Limits
from subsetsel.engine.registry import get_spec
from subsetsel.engine.run import Run
from subsetsel.problem.constraints import Constraints
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray, Rows

# The search in a shard need not end as cold as one whose norm is the answer.
_COLD = 1.0

Bits = NDArray[np.uint8]


@dataclass(frozen=True)
class Work:
    """How much a shard does, the same for all of them.

    Attributes
    ----------
    num_movers : int
        Most rows that are read, and may move.
    num_proposals : int
        Swaps proposed for each of them.
    seconds : float
        After so many the search ends where it is; inf without a clock.
    seed : int
    """

    num_movers: int
    num_proposals: int
    seconds: float
    seed: int


@dataclass(frozen=True)
class Slack:
    """Linear constraints of the examples of a shard: coefficients (c, n), and how far they may go.

    Attributes
    ----------
    matrix : scipy.sparse.csc_array of shape (c, n)
    down, up : ndarray of shape (c,)
        By how much the left-hand sides may fall and grow.
    """

    matrix: sparse.csc_array
    down: FloatArray
    up: FloatArray

    @property
    def nbytes(self) -> int:
        """Bytes that travel."""
        arrays = (self.matrix.data, self.matrix.indices, self.matrix.indptr, self.down, self.up)
        return sum(array.nbytes for array in arrays)


@dataclass(frozen=True)
class Asked:
    """What one shard is asked.

    Attributes
    ----------
    part : ndarray of shape (d,)
        The shard's part of what is too much.
    number : int
        Of the shard and the pass: what it draws depends on this and the seed alone.
    chosen, may_move : ndarray of uint8
        Who is pruned, and who may change; packed bits.
    slack : Slack or None
        None without linear constraints.
    """

    part: FloatArray
    number: int
    chosen: Bits
    may_move: Bits
    slack: Slack | None

    @property
    def nbytes(self) -> int:
        """Bytes that travel."""
        own = self.part.nbytes + self.chosen.nbytes + self.may_move.nbytes
        return own if self.slack is None else own + self.slack.nbytes


@dataclass(frozen=True)
class Share:
    """What a shard found: who is pruned (bits), S^T of the change, and the proposals it made."""

    chosen: Bits
    change: FloatArray
    num_iterations: int

    @property
    def nbytes(self) -> int:
        """Bytes that travel."""
        return self.chosen.nbytes + self.change.nbytes


def take_share(rows: Rows | None, work: Work, asked: Asked) -> Share:
    """Swap examples of a shard so that the change of S^T W cancels a part as far as it can.

    As many are pruned as before, linear constraints go no further than is allowed, and the norm of
    the part plus the change is never larger than that of the part.
    """
    part, slack = asked.part, asked.slack
    unmoved = Share(asked.chosen, np.zeros(part.size), 0)
    if rows is None:
        return unmoved
    mask, items = _read(asked.chosen, rows.n), np.flatnonzero(_read(asked.may_move, rows.n))
    rng = np.random.default_rng([work.seed, asked.number])
    if items.size > work.num_movers:
        items = np.sort(rng.choice(items, work.num_movers, replace=False))
    before = mask[items]
    size = int(np.count_nonzero(before))
    if not 0 < size < items.size:
        return unmoved
    moving = rows.take(items)
    of_movers = before.astype(np.float64) @ moving.astype(np.float64)
    problem = Problem(moving, size=size, offset=part - of_movers)
    if slack is not None:
        matrix = slack.matrix[:, items]
        activity = matrix @ before.astype(np.float64)
        names = tuple(f"constraint {k}" for k in range(len(slack.up)))
        problem.constraints = Constraints(matrix, activity - slack.down, activity + slack.up, names)
    after, num_iterations = _swap(problem, before, work, int(rng.integers(2**31)))
    mask[items] = after
    change = (after.astype(np.float64) - before) @ moving.astype(np.float64)
    return Share(np.packbits(mask), change, num_iterations)


def _swap(problem: Problem, start: BoolArray, work: Work, seed: int) -> tuple[BoolArray, int]:
    """Walk from a subset with the annealer, whatever solver the core has."""
    spec = get_spec("anneal")
    solver = spec.load()
    options = spec.options(
        solver,
        {
            "num_proposals": work.num_proposals * problem.n,
            "num_chains": 1,
            "cold": _COLD,
            "patience": 1,
        },
    )
    seconds = None if work.seconds == np.inf else work.seconds
    clock = Run(problem, Limits(time_limit=seconds, bound=False))
    run = Run(problem, Limits(seed=seed, initial_guess=start, bound=False), parent=clock)
    solver.solve(problem, options, run)
    return (start if run.mask is None else run.mask), run.num_iterations


def _read(bits: Bits, n: int) -> BoolArray:
    return np.unpackbits(bits, count=n).astype(np.bool_)
