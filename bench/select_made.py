"""A task in which nothing can be gained: every example is as good as any other of its class."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

import subsetsel
from subsetsel.selection.chooser import Chooser
from subsetsel.selection.composition import Composition, random_rule
from subsetsel.support.paired import paired

NUM_CLASSES, NUM_FEATURES, NUM_TRAIN, NUM_TEST = 3, 10, 3000, 20_000
NUM_PAIRS = 20


def made_task(num: int, seed: int) -> tuple[Any, Any]:
    """Draw examples of three Gaussian classes that overlap."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, NUM_CLASSES, num)
    centres = np.eye(NUM_CLASSES, NUM_FEATURES) * 1.5
    return centres[labels] + rng.normal(size=(num, NUM_FEATURES)), labels


def made_difficulty(seed: int) -> Any:
    """Draw difficulty by lot: whatever it cuts, what is left is a sample like any other."""
    return np.random.default_rng(20_000 + seed).random(NUM_TRAIN)


def made_run(num_kept: int, seed: int) -> dict[str, Any]:
    """Search, then fit what came back beside random on fresh draws, judged on fresh examples."""
    X, y = made_task(NUM_TRAIN, seed)
    X_test, y_test = made_task(NUM_TEST, 10_000 + seed)
    noise = made_difficulty(seed)

    def train(kept: Any, held_out: Any, seed: int) -> float:
        return float(LogisticRegression().fit(X[kept], y[kept]).score(X[held_out], y[held_out]))

    started = time.perf_counter()
    answer = subsetsel.select_for_training(
        train, difficulty={"noise": noise}, labels=y, num_kept=num_kept, seed=seed
    )
    elapsed = time.perf_counter() - started
    chooser = Chooser({"noise": noise}, y)
    found = Composition.of_record(answer.stats["composition"])
    values, random = (
        [
            _tested(chooser.choose(rule, num_kept, seed=fresh), X, y, X_test, y_test)
            for fresh in fresh_seeds(seed)
        ]
        for rule in (found, random_rule("noise"))
    )
    ahead = paired(values, random)
    return {
        "accuracy": float(np.mean(values)),
        "train_time": elapsed,
        "rule": answer.stats["rule"],
        "composition": answer.stats["composition"],
        "is_confirmed": answer.stats["is_confirmed"],
        "message": answer.message,
        "values": values,
        "random": random,
        "difference": ahead.mean,
        "interval": [ahead.low, ahead.high],
        "date": time.strftime("%Y-%m-%d"),
    }


def fresh_seeds(seed: int) -> range:
    """Give seeds that no search and no other run uses."""
    return range(1_000_000 + 1000 * seed, 1_000_000 + 1000 * seed + NUM_PAIRS)


def _tested(kept: Any, X: Any, y: Any, X_test: Any, y_test: Any) -> float:
    return float(LogisticRegression().fit(X[kept], y[kept]).score(X_test, y_test))
