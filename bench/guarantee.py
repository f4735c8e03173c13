"""What the guarantee is worth: the largest verified subset, and random ones of its size.

    python bench/guarantee.py                      # all four data sets, two epsilons
    python bench/guarantee.py --data digits cancer --rel-epsilon 0.02

For each data set `subsetsel.prune` finds the largest subset whose exact refit provably moves the
head by at most epsilon; random subsets of the same size are refitted beside it, in the same run.
The time is that of everything: training the head, S, the search and all refits; compiling apart.
"""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data import SPLIT_DATA, Features, present
from heads import L2
from recording import environment, new_parser, typed_command, write_json, write_table

import subsetsel


def measure(name: str, features: Features, rel_epsilon: float, num_random: int) -> dict[str, Any]:
    """Prune one data set, and refit random subsets of the same size: one row of the table."""
    test = (features.test, features.test_labels)
    started = time.perf_counter()
    problem = subsetsel.Problem.from_features(
        features.train, features.train_labels, l2=L2, rel_epsilon=rel_epsilon
    )
    solution, check = subsetsel.prune(problem, test=test)
    seconds = time.perf_counter() - started - solution.compile_time
    change, accuracy = refit_random(problem, solution.size, num_random, test)
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
        "random_change": change,
        "random_over_change": change / check.change,
        "accuracy_all": check.full_accuracy,
        "accuracy_kept": check.accuracy,
        "accuracy_random": accuracy,
        "num_refits": len(solution.stats["curve"]),
        "seconds": seconds,
        "compile_seconds": solution.compile_time,
        "num_threads": torch.get_num_threads(),
        "date": time.strftime("%Y-%m-%d"),
    }


def refit_random(
    problem: subsetsel.Problem, size: int, num_random: int, test: tuple[Any, Any]
) -> tuple[float, float]:
    """Refit after random subsets are pruned: the median change and the median test accuracy."""
    if not size:
        return float("nan"), float("nan")
    rng = np.random.default_rng(0)
    changes, accuracies = [], []
    for _ in range(num_random):
        mask = np.zeros(problem.n, dtype=np.bool_)
        mask[rng.choice(problem.n, size=size, replace=False)] = True
        check = subsetsel.verify(problem, mask, test=test)
        changes.append(check.change)
        accuracies.append(check.accuracy or 0.0)
    return float(np.median(changes)), float(np.median(accuracies))


def main() -> int:
    """Measure, print and write; the exit status is 1 if a set was not verified."""
    parser = new_parser(__doc__, "guarantee")
    parser.add_argument("--data", nargs="+", choices=sorted(SPLIT_DATA), default=list(SPLIT_DATA))
    parser.add_argument("--rel-epsilon", type=float, nargs="+", default=[0.01, 0.05])
    parser.add_argument("--num-random", type=int, default=5)
    asked = parser.parse_args()
    rows = []
    for name, features in present(asked.data).items():
        for rel_epsilon in asked.rel_epsilon:
            row = measure(name, features, rel_epsilon, asked.num_random)
            rows.append(row)
            write(rows, asked.out)
            print(
                f"{name} {rel_epsilon:.1%}: {row['pruned']:,} of {row['n']:,} pruned "
                f"({row['share']:.1%}), change {row['change']:.4g} <= {row['epsilon']:.4g}, random "
                f"{row['random_change']:.4g} ({row['random_over_change']:.1f} times), accuracy "
                f"{row['accuracy_kept']:.2%} (all {row['accuracy_all']:.2%}), "
                f"{row['seconds']:.0f} s",
                flush=True,
            )
    return 0 if rows and all(row["is_verified"] for row in rows) else 1


def write(rows: list[dict[str, Any]], folder: Path) -> None:
    """Replace the rows of the table that were measured again, and keep its other rows."""
    table = folder / "results.csv"
    new = {f"{row['data']} {row['rel_epsilon']}" for row in rows}
    old: list[dict[str, Any]] = []
    if table.exists():
        with table.open(newline="") as stream:
            old = list(csv.DictReader(stream))
    old = [row for row in old if f"{row['data']} {row['rel_epsilon']}" not in new]
    write_table(table, [*old, *rows])
    about = environment(typed_command("guarantee.py"), torch.get_num_threads())
    write_json(folder / "env.json", about)


if __name__ == "__main__":
    raise SystemExit(main())
