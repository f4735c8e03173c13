"""What the guarantee is worth: the largest verified subset, and random ones of its size.

    python bench/guarantee.py                      # all four data sets, two epsilons
    python bench/guarantee.py --data digits cancer --rel-epsilon 0.02

For each data set `subsetsel.prune` finds the largest subset whose exact refit provably moves the
head by at most epsilon; random subsets of the same size are refitted beside it, in the same run.
The time is that of everything: training the head, S, the search and all refits; compiling apart.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data import DataMissingError, Features
from heads import L2, digits_features, fashion_features

import subsetsel
from subsetsel.report.environment import environment
from subsetsel.support.records import write_json

NUM_TEST_SHARE = 0.2


def split(X: Any, y: Any) -> Features:
    """Hold a fifth out, by class; standardized by the training part where columns differ in unit.

    Returns
    -------
    Features
    """
    from sklearn.model_selection import train_test_split

    train, test, y_train, y_test = train_test_split(
        X, y, test_size=NUM_TEST_SHARE, stratify=y, random_state=0
    )
    return Features(train, y_train, test, y_test)


def digits() -> Features:
    """scikit-learn's digits, pixels / 16."""
    whole = digits_features()
    return split(whole.train, whole.train_labels)


def tabular26() -> Features:
    """Twenty thousand rows of 16 columns in 26 classes, the shape of the letter data."""
    from sklearn.datasets import make_classification

    X, y = make_classification(
        n_samples=20_000,
        n_features=16,
        n_informative=12,
        n_redundant=2,
        n_classes=26,
        n_clusters_per_class=1,
        class_sep=1.5,
        random_state=0,
    )
    return standardized(split(X, y))


def cancer() -> Features:
    """scikit-learn's breast cancer data, standardized; two classes."""
    from sklearn.datasets import load_breast_cancer

    return standardized(split(*load_breast_cancer(return_X_y=True)))


def standardized(given: Features) -> Features:
    """Centre and scale the columns by the training part.

    Returns
    -------
    Features
    """
    mean, scale = given.train.mean(axis=0), given.train.std(axis=0)
    return Features(
        (given.train - mean) / scale,
        given.train_labels,
        (given.test - mean) / scale,
        given.test_labels,
    )


DATA: dict[str, Callable[[], Features]] = {
    "digits": digits,
    "tabular26": tabular26,
    "cancer": cancer,
    "fmnist-pca128": fashion_features,
}


def measure(name: str, features: Features, rel_epsilon: float, num_random: int) -> dict[str, Any]:
    """Prune one data set, and refit random subsets of the same size.

    Returns
    -------
    dict
        One row of the table.
    """
    test = (features.test, features.test_labels)
    started = time.perf_counter()
    problem = subsetsel.Problem.from_features(
        features.train, features.train_labels, l2=L2, rel_epsilon=rel_epsilon
    )
    solution, check = subsetsel.prune(problem, test=test)
    seconds = time.perf_counter() - started - solution.compile_time
    rng = np.random.default_rng(0)
    changes, accuracies = [], []
    for _ in range(num_random if solution.size else 0):
        mask = np.zeros(problem.n, dtype=np.bool_)
        mask[rng.choice(problem.n, size=solution.size, replace=False)] = True
        rival = subsetsel.verify(problem, mask, test=test)
        changes.append(rival.change)
        accuracies.append(rival.accuracy or 0.0)
    at_random = float(np.median(changes)) if changes else float("nan")
    return {
        "data": name,
        "n": problem.n,
        "d": problem.d,
        "rel_epsilon": rel_epsilon,
        "epsilon": solution.epsilon,
        "pruned": solution.size,
        "share": solution.size / problem.n,
        "is_verified": check.is_verified,
        "change": check.change,
        "change_error": check.change_error,
        "predicted_kept": check.predicted_kept,
        "predicted_newton": check.predicted_newton,
        "curvature": check.curvature,
        "random_change": at_random,
        "random_over_change": at_random / check.change,
        "accuracy_all": check.full_accuracy,
        "accuracy_kept": check.accuracy,
        "accuracy_random": float(np.median(accuracies)) if accuracies else float("nan"),
        "num_refits": len(solution.stats["curve"]),
        "seconds": seconds,
        "compile_seconds": solution.compile_time,
        "num_threads": torch.get_num_threads(),
        "date": time.strftime("%Y-%m-%d"),
        "curve": solution.stats["curve"],
    }


def main() -> int:
    """Measure, print and write.

    Returns
    -------
    int
        Exit status: 1 if a set was not verified.
    """
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", nargs="+", choices=sorted(DATA), default=list(DATA))
    parser.add_argument("--rel-epsilon", type=float, nargs="+", default=[0.01, 0.05])
    parser.add_argument("--num-random", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("bench/results/guarantee"))
    asked = parser.parse_args()
    rows = []
    for name in asked.data:
        try:
            features = DATA[name]()
        except DataMissingError as error:
            print(f"{name}: left out, {error}")
            continue
        for rel_epsilon in asked.rel_epsilon:
            row = measure(name, features, rel_epsilon, asked.num_random)
            rows.append(row)
            write(rows, asked)
            print(
                f"{name} {rel_epsilon:.1%}: {row['pruned']:,} of {row['n']:,} pruned "
                f"({row['share']:.1%}), change {row['change']:.4g} <= {row['epsilon']:.4g}, random "
                f"{row['random_change']:.4g} ({row['random_over_change']:.1f} times), accuracy "
                f"{row['accuracy_kept']:.2%} (all {row['accuracy_all']:.2%}), "
                f"{row['seconds']:.0f} s",
                flush=True,
            )
    return 0 if rows and all(row["is_verified"] for row in rows) else 1


def write(rows: list[dict[str, Any]], asked: argparse.Namespace) -> None:
    """Bring the table up to date, and beside it the curves and what they were measured on."""
    asked.out.mkdir(parents=True, exist_ok=True)
    names = [key for key in rows[0] if key != "curve"]
    table, curve_file = asked.out / "results.csv", asked.out / "curves.json"
    new = {f"{row['data']} {row['rel_epsilon']}": row for row in rows}
    old: list[dict[str, Any]] = []
    curves = json.loads(curve_file.read_text()) if curve_file.exists() else {}
    if table.exists():
        with table.open(newline="") as stream:
            old = [
                r for r in csv.DictReader(stream) if f"{r['data']} {r['rel_epsilon']}" not in new
            ]
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows([*old, *rows])
    write_json(curve_file, curves | {name: row["curve"] for name, row in new.items()})
    about = {"command": "python bench/guarantee.py", "arguments": vars(asked), **environment()}
    write_json(asked.out / "env.json", about)


if __name__ == "__main__":
    raise SystemExit(main())
