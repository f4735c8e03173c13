"""A made task for selections: labels that are wrong at the hard end, learned in microseconds."""

from __future__ import annotations

from typing import Any

import numpy as np

import subsetsel

N = 600


class Task:
    """Two classes on a line in 4 dimensions, the nearest neighbour as the model, and a difficulty.

    ``calls`` holds what `train` was called with.
    """

    def __init__(self, share_wrong: float = 0.25, n: int = N, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.labels = np.arange(n) % 2
        self.X = rng.normal(size=(n, 4))
        self.X[:, 0] += 5 * self.labels
        order = rng.permutation(n)
        self.is_wrong = np.zeros(n, dtype=bool)
        self.is_wrong[order[: int(share_wrong * n)]] = True
        self.seen = np.where(self.is_wrong, 1 - self.labels, self.labels)
        # What is wrong is the hardest, without a gap.
        self.difficulty = rng.random(n) + 1.0 * self.is_wrong
        self.calls: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int]] = []

    def train(self, kept: Any, held_out: Any, seed: int) -> float:
        """Judge what is seen by the right labels, with a little noise of the seed on top."""
        self.calls.append((kept, held_out, seed))
        away = ((self.X[held_out, None] - self.X[None, kept]) ** 2).sum(-1)
        guess = self.seen[kept][away.argmin(1)]
        right = float((guess == self.labels[held_out]).mean())
        return right + 0.002 * float(np.random.default_rng(seed).normal())

    def select(self, train: Any = ..., **options: Any) -> subsetsel.Solution:
        """Select with short defaults."""
        given = {"difficulty": self.difficulty, "labels": self.labels, "num_kept": 40}
        short = {"num_trials": 9, "num_confirmations": 3}
        return subsetsel.select_for_training(
            self.train if train is ... else train, **{**given, **short, **options}
        )


def answer(solution: subsetsel.Solution) -> dict[str, Any]:
    """Everything in a solution that is no time."""
    stats = {k: v for k, v in solution.stats.items() if k not in {"training_time", "study"}}
    stats["trials"] = [{k: v for k, v in t.items() if k != "seconds"} for t in stats["trials"]]
    return {
        "kept": solution.kept.tolist(),
        "message": solution.message,
        "status": solution.status,
        "limit": solution.limit,
        **stats,
    }
