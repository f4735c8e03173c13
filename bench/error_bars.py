"""Does the true change ever leave the printed error bar? Hundreds of awkward random problems.

    python bench/error_bars.py                     # 600 problems
    python bench/error_bars.py --num-problems 50 --seed 7

Each problem draws its shape (fewer examples than features among them), its kind (noise, separable,
duplicated rows, one class nearly gone, features 1000 times too large or too small), l2 from 1e-6 to
1 and a subset. `subsetsel.verify` prints change and change_error; both heads are then minimized
again in extended precision by `exact_head.py`, which shares no code with the package.
"""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import numpy as np
import torch
from exact_head import exact_minimizer
from recording import environment, new_parser, typed_command, write_json, write_table

import subsetsel

SHAPES = ((30, 3), (6, 12), (20, 1), (60, 5), (15, 30))
KINDS = ("noise", "separable", "duplicates", "rare class", "large", "small")
L2S = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)


def draw(rng: np.random.Generator, kind: str) -> tuple[Any, Any, Any]:
    """Features of shape (n, h), labels of shape (n,), and a subset to prune as a mask."""
    n, num_features = SHAPES[rng.integers(len(SHAPES))]
    labels = np.arange(n) % int(rng.integers(2, 5))
    features = rng.normal(size=(n, num_features))
    mask = rng.random(n) < rng.choice([0.1, 0.4, 0.7, 0.9])
    if kind == "separable":
        features[:, 0] += 20.0 * labels
    elif kind == "duplicates":
        features = features[np.arange(n) // 3]
    elif kind == "rare class":
        mask |= labels == 0
        mask[0] = False
    elif kind in {"large", "small"}:
        features *= 1e3 if kind == "large" else 1e-3
    mask[n - 1] = False
    return features, labels, mask


def measure(number: int, seed: int) -> dict[str, Any]:
    """Verify one subset and refit it independently: one row of the table."""
    rng = np.random.default_rng([seed, number])
    kind = KINDS[number % len(KINDS)]
    l2 = L2S[(number // len(KINDS)) % len(L2S)]
    X, y, mask = draw(rng, kind)
    problem = subsetsel.Problem.from_features(X, y, l2=l2, size=1)
    check = subsetsel.verify(problem, mask)
    head = problem.head
    assert head is not None
    C = head.num_classes
    full, full_error = exact_minimizer(X, y, l2, C, head.theta)
    start = head.refit(~mask).theta
    part, part_error = exact_minimizer(X[~mask], y[~mask], l2, C, start)
    change = float(np.linalg.norm((part - full).astype(np.float64)))
    return {
        "number": number,
        "kind": kind,
        "n": len(X),
        "num_features": X.shape[1],
        "num_classes": C,
        "l2": l2,
        "pruned": int(mask.sum()),
        "true_change": change,
        "reference_error": full_error + part_error,
        "change": check.change,
        "change_error": check.change_error,
        "off_by": abs(change - check.change),
        "is_inside": abs(change - check.change) <= check.change_error + full_error + part_error,
    }


def main() -> int:
    """Measure, print and write; the exit status is 1 if a change left its bar."""
    parser = new_parser(__doc__, "error-bars")
    parser.add_argument("--num-problems", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with warnings.catch_warnings():
        # A head that cannot be trained to the usual tolerance has a wider bar, which is the point.
        warnings.simplefilter("ignore", RuntimeWarning)
        rows = [measure(number, asked.seed) for number in range(asked.num_problems)]
    outside = [row for row in rows if not row["is_inside"]]
    shares = [row["off_by"] / row["change_error"] for row in rows]
    summary = {
        "num_problems": len(rows),
        "num_outside": len(outside),
        "num_of_each_kind": dict(Counter(row["kind"] for row in rows)),
        "largest_change_error": max(row["change_error"] for row in rows),
        "median_change_error": float(np.median([row["change_error"] for row in rows])),
        "largest_share_of_the_bar_used": max(shares),
        "median_share_of_the_bar_used": float(np.median(shares)),
        "largest_reference_error": max(row["reference_error"] for row in rows),
    }
    for name, value in summary.items():
        print(f"{name:32} {value}")
    write_table(asked.out / "results.csv", rows)
    about = environment(typed_command("error_bars.py"), torch.get_num_threads())
    write_json(asked.out / "env.json", about | {"summary": summary})
    return 1 if outside else 0


if __name__ == "__main__":
    raise SystemExit(main())
