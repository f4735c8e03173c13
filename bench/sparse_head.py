"""Peak memory and time of pruning sparse features: 20,000 x 50,000 with 100 entries a row.

    python bench/sparse_head.py --classes 4 --time-limit 60

The entries of a row are drawn as words are, few often and most rarely, and the labels by a planted
head; then `Problem.from_features`, `solve` of a given size and `verify` are timed one by one.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from subsetsel import Problem, solve, verify


def planted(n: int, h: int, per_row: int, num_classes: int, seed: int) -> tuple[Any, Any]:
    """Rows of length 1 with ``per_row`` entries, drawn by Zipf's law, and labels."""
    from scipy import sparse

    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, h + 1)
    words = rng.choice(h, size=(n, per_row), p=share / share.sum())
    starts = np.arange(0, n * per_row + 1, per_row)
    X = sparse.csr_array((np.ones(n * per_row), words.ravel(), starts), shape=(n, h))
    X.sum_duplicates()
    # Rare words say more, as in TF-IDF.
    held = np.bincount(X.indices, minlength=h)
    X.data *= np.log(n / (1 + held[X.indices])).clip(0.1)
    X.data /= np.repeat(np.sqrt((X * X).sum(axis=1)), np.diff(X.indptr))
    logits = 4 * X @ rng.normal(size=(h, num_classes))
    return X, (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


def peak_gib() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


@contextmanager
def timed(found: dict[str, Any], name: str) -> Iterator[None]:
    """Note the seconds of a step, and the peak of memory after it."""
    started = time.perf_counter()
    yield
    found[name] = {
        "seconds": round(time.perf_counter() - started, 1),
        "peak_gib": round(peak_gib(), 2),
    }
    print(name, found[name], flush=True)


def main() -> None:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("examples", 20_000), ("features", 50_000), ("entries", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--size", type=int, default=4000)
    parser.add_argument("--l2", type=float, default=1e-4)
    parser.add_argument("--time-limit", type=float, help="of the search alone, in seconds")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    X, y = planted(
        options.examples, options.features, options.entries, options.classes, options.seed
    )
    found: dict[str, Any] = {
        **vars(options),
        "stored": int(X.nnz),
        "before_gib": round(peak_gib(), 2),
    }
    with timed(found, "from_features"):
        problem = Problem.from_features(X, y, l2=options.l2, size=options.size)
    with timed(found, "solve"):
        solution = solve(problem, seed=options.seed, time_limit=options.time_limit)
    with timed(found, "verify"):
        check = verify(problem, solution)
    found |= {"norm": solution.norm, "change": check.change, "change_error": check.change_error}
    print(json.dumps(found | {"predicted": check.predicted_kept, "curvature": check.curvature}))


if __name__ == "__main__":
    main()
