"""One example left out at a time: what S predicts, and what an exact refit says.

    python bench/leave_one_out.py                       # digits, and Fashion-MNIST where present
    python bench/leave_one_out.py --data digits --num-examples 200

For examples drawn at random the head is refitted without each of them, to float64 rounding. The
slope is that of the measured change over the predicted one, through the origin, so that 1.14 says
that the change is on average 14 % larger than predicted. ``first order`` is n / (n - 1) ||S_i||;
``newton`` is one Newton step with the Hessian of the kept examples, which knows the example's own
leverage; it is left out where a Hessian per example would take minutes.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import numpy as np
from data import DataMissingError
from heads import L2, digits_features, fashion_features
from numpy.typing import NDArray

from subsetsel.influence import Head, fit_head, influence_rows
from subsetsel.influence.head.newton import minimize
from subsetsel.report.environment import environment
from subsetsel.support.records import write_json

MAX_NEWTON = 10_000
DATA = {"digits": digits_features, "fmnist-pca128": fashion_features}


def leave_out(head: Head, norms: NDArray[np.float64], index: int) -> dict[str, Any]:
    """Refit without one example.

    Returns
    -------
    dict
        One row of the table.
    """
    mask = np.ones(head.n, dtype=np.bool_)
    mask[index] = False
    kept = head.kept(mask)
    on = kept.objective_function
    # The Hessian on all examples differs by one of them: it serves for the steps, not for the end.
    start = on.project(head.to_scaled(head.theta))
    found = minimize(on, start, tolerance=np.inf, inverse=head.inverse)
    gradient = found.evaluation.gradient_norm + found.evaluation.gradient_error
    row = {
        "example": index,
        "first order": float(norms[index]) * head.n / (head.n - 1),
        "change": float(np.linalg.norm(head.to_user(found.theta) - head.theta)),
        "change_error": gradient / head.l2 + head.error,
    }
    if head.n <= MAX_NEWTON:
        row["newton"] = float(np.linalg.norm(kept.newton_step()))
    return row


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Correlation and slope of either prediction.

    Returns
    -------
    dict
    """
    measured = np.array([row["change"] for row in rows])
    summary: dict[str, Any] = {
        "num_examples": len(rows),
        "largest_relative_error_bar": max(row["change_error"] / row["change"] for row in rows),
    }
    for name in [name for name in ("first order", "newton") if name in rows[0]]:
        predicted = np.array([row[name] for row in rows])
        summary[name] = {
            "correlation": float(np.corrcoef(predicted, measured)[0, 1]),
            "slope": float(predicted @ measured / (predicted @ predicted)),
        }
    return summary


def main() -> int:
    """Measure, print and write.

    Returns
    -------
    int
        Exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", nargs="+", choices=sorted(DATA), default=list(DATA))
    parser.add_argument("--num-examples", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path("bench/results/influence"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in asked.data:
        try:
            features = DATA[name]()
        except DataMissingError as error:
            print(f"{name}: left out, {error}")
            continue
        head = fit_head(features.train, features.train_labels, l2=L2)
        norms = np.sqrt(influence_rows(head, ridge="included", dtype=np.float64).squared_norms)
        chosen = np.random.default_rng(0).choice(head.n, size=asked.num_examples, replace=False)
        rows = [leave_out(head, norms, int(index)) for index in chosen]
        summary = summarize(rows)
        print(name, summary, flush=True)
        with (asked.out / f"leave-one-out-{name}.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        about = {"command": "python bench/leave_one_out.py", "arguments": vars(asked)}
        write_json(
            asked.out / f"leave-one-out-{name}.json",
            about | environment() | {"date": time.strftime("%Y-%m-%d"), "summary": summary},
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
