"""The jobs of slowdown.py, and the training that runs beside them, each in a process of its own.

Only what every version of the package knows is used here, since jobs also run in old checkouts.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any


def command(role: str) -> list[str]:
    """Start this file in a role: "jobs", followed by their names, or "train"."""
    return [sys.executable, str(Path(__file__).resolve()), role]


def _blobs(n: int, num_features: int, num_classes: int) -> tuple[Any, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    y = np.arange(n) % num_classes
    centres = 0.7 * rng.standard_normal((num_classes, num_features))
    return centres[y] + rng.standard_normal((n, num_features)), y


def _head_and_rows(n: int, num_features: int, num_classes: int) -> None:
    from subsetsel.influence import fit_head, influence_rows

    X, y = _blobs(n, num_features, num_classes)
    influence_rows(fit_head(X, y, l2=1e-3))


def _solve(n: int, num_iterations: int, **goal: Any) -> None:
    import numpy as np

    import subsetsel

    rng = np.random.default_rng(0)
    S = rng.standard_normal((n, 256)) * np.exp(0.8 * rng.standard_normal((n, 1)))
    S = (S * np.arange(1, 257) ** -0.5 + 0.02).astype(np.float32)
    if "share" in goal:
        goal = {"epsilon": goal["share"] * float(np.linalg.norm(S.sum(axis=0)))}
    subsetsel.solve(S, seed=0, max_iterations=num_iterations, **goal)


def _prune(n: int) -> None:
    import subsetsel

    X, y = _blobs(n, 16, 4)
    subsetsel.prune(X, y, l2=1e-2, rel_epsilon=0.02, max_iterations=300_000)


JOBS: dict[str, Callable[[], None]] = {
    "head and S, 20,000 x 16, 26 classes": lambda: _head_and_rows(20_000, 16, 26),
    "head and S, 5,000 x 256, 10 classes": lambda: _head_and_rows(5_000, 256, 10),
    "Eq. 3, 20,000 x 256": lambda: _solve(20_000, 20_000_000, share=0.2),
    "Eq. 4, 20,000 x 256": lambda: _solve(20_000, 20_000_000, size=8_000),
    "prune, 20,000 x 16, 4 classes": lambda: _prune(20_000),
}


def _load() -> None:
    """Import and compile what the jobs need."""
    _head_and_rows(200, 4, 3)
    _solve(500, 1_000, share=0.2)
    _solve(500, 1_000, size=100)
    _prune(100)


def _train() -> None:
    import torch

    torch.set_num_threads(1)
    network = torch.nn.Sequential(
        torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    X, y = torch.randn(256, 64), torch.randint(10, (256,))
    print("training", flush=True)
    while True:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(X), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def main(arguments: list[str]) -> None:
    """Run the named jobs and print the seconds of each, or train until killed."""
    role, *names = arguments
    warnings.simplefilter("ignore")
    if role == "train":
        _train()
    _load()
    print("ready", flush=True)
    for name in names:
        start = time.perf_counter()
        JOBS[name]()
        print(round(time.perf_counter() - start, 3), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
