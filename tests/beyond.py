"""Small problems whose rows and examples lie in shards, on workers of any engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from subsetsel import Problem, Solution, prune, solve
from subsetsel.bounds import point
from subsetsel.engine import core, sharded
from subsetsel.rows.sharded import open_rows
from subsetsel.shards.sources import open_table

N, ROWS_PER_SHARD = 1200, 400


def let_few_rows_be_enough(patch: pytest.MonkeyPatch) -> None:
    """Let steps, cores and levels be of about a hundred rows, so that shards are really asked."""
    patch.setattr(core, "_FEWEST_ROWS", 40)
    patch.setattr(point, "most_rows", lambda _: 120)
    patch.setattr(sharded, "_num_rows", lambda _: 120)


def write(folder: Path) -> Path:
    """Write rows that share a direction, features and labels, in files of uneven lengths."""
    rng = np.random.default_rng(3)
    lengths = rng.lognormal(0.0, 0.7, size=(N, 1))
    S = (rng.normal(size=(N, 3)) + 0.2) * lengths
    X = rng.normal(size=(N, 3)) * [1.0, 10.0, 0.1]
    y = (X[:, 0] + 0.1 * X[:, 1] + rng.normal(size=N) > 0).astype(np.int64)
    for k, (start, stop) in enumerate(((0, 1), (1, 500), (500, N))):
        np.save(folder / f"S-{k}.npy", S[start:stop])
        np.save(folder / f"X-{k}.npy", X[start:stop])
    np.save(folder / "y.npy", y)
    return folder


def rows(folder: Path, engine: Any = None) -> Any:
    """S in shards."""
    return open_rows(folder / "S-*.npy", engine=engine, rows_per_shard=ROWS_PER_SHARD)


def largest(folder: Path, engine: Any = None, **options: Any) -> Solution:
    """Solve Eq. 3."""
    return solve(Problem(rows(folder, engine), epsilon=30.0), **options)


def smallest_norm(folder: Path, engine: Any = None, **options: Any) -> Solution:
    """Solve Eq. 4."""
    return solve(Problem(rows(folder, engine), size=500), max_iterations=60_000, **options)


def verified(folder: Path, engine: Any = None, **options: Any) -> Solution:
    """Train a head, choose, and check by refit."""
    X = open_table(folder / "X-*.npy", engine=engine, rows_per_shard=ROWS_PER_SHARD)
    y: NDArray[np.int64] = np.load(folder / "y.npy")
    options = {"max_size": 700, "max_iterations": 60_000, **options}
    return prune(X, y, l2=1e-1, rel_epsilon=0.005, **options)[0]


QUESTIONS = {"largest": largest, "smallest_norm": smallest_norm, "verified": verified}


def same(one: Solution, other: Solution) -> bool:
    """Whether two answers agree in every bit."""
    return (
        np.array_equal(one.mask, other.mask) and one.norm == other.norm and one.bound == other.bound
    )
