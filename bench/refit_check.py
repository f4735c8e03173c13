"""Fashion-MNIST, 40 % pruned: what is predicted, what an exact refit says, and what random does.

Usage: python bench/refit_check.py [--data-dir DIR] [--fraction 0.4] [--num-workers 2]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from data import load_fashion_mnist, pca_features

import subsetsel


def main() -> None:
    """Prune, verify, compare with one random subset of the same size, and print it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--fraction", type=float, default=0.4)
    parser.add_argument("--num-workers", type=int, default=2)
    given = parser.parse_args()
    data = pca_features(load_fashion_mnist(given.data_dir), num_components=128)
    started = time.perf_counter()
    problem = subsetsel.Problem.from_features(
        data.train, data.train_labels, l2=1e-3, fraction=given.fraction
    )
    print(f"head, Hessian and S: {time.perf_counter() - started:.1f} s")
    sol = subsetsel.solve(problem, num_workers=given.num_workers)
    print(sol)
    check = subsetsel.verify(problem, sol, test=(data.test, data.test_labels))
    print(check)
    pruned = np.random.default_rng(0).permutation(problem.n)[: sol.size]
    kept = np.ones(problem.n, dtype=np.bool_)
    kept[pruned] = False
    head = problem.head
    assert head is not None
    moved = float(np.linalg.norm(head.refit(kept).theta - head.theta))
    print(f"random subset of that size: {moved:.6g}, {moved / check.change:.1f} times as far")


if __name__ == "__main__":
    main()
