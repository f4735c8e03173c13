"""Predicted against measured: parameter change and test-loss gap (Figure 2 of the paper).

    python bench/theory_check.py                  # digits, and Fashion-MNIST where present
    python bench/theory_check.py --data digits --rates 0.2 0.5 0.9

At each pruning rate five selectors choose what to leave out: jointly (Eq. 4), as the solver does by
default and annealed from a random subset; at random; and by single row norms ||S_i|| from either
end. The head is refitted exactly on what is kept. The prediction is first-order: theta moves by
(n / k) W^T S, with the ridge in the rows of S.

Units. Theorem 1 of the paper bounds the norm of the sum of influences, sum_i W_i I_param(z_i), and
Eq. 3 the norm of that sum divided by n. The two epsilons differ by the factor n; both are written
(``theorem1_epsilon`` = n * ``predicted_full``). What the head does is neither: it is
``predicted_full`` times n / k, to first order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from data import SPLIT_DATA, Features, present
from heads import L2
from recording import environment, new_parser, typed_command, write_json, write_table

import subsetsel
from subsetsel.support.figures import new_figure, save_figure

RATES = (0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95)
MARKS = {
    "joint": "o",
    "joint, from random": "d",
    "random": "s",
    "smallest norms": "^",
    "largest norms": "v",
}


def masks_at(problem: subsetsel.Problem, rate: float) -> dict[str, Any]:
    """Choose by each selector what to leave out: its name -> mask of shape (n,)."""
    size = round(rate * problem.n)
    order = np.argsort(problem.rows.squared_norms, kind="stable")
    shuffled = np.random.default_rng(0).permutation(problem.n)
    chosen = {
        "random": shuffled[:size],
        "smallest norms": order[:size],
        "largest norms": order[problem.n - size :],
    }
    question = problem.replace(size=size)
    masks = {
        "joint": subsetsel.solve(question, bound=False).mask,
        "joint, from random": subsetsel.solve(question, bound=False, start="random").mask,
    }
    for name, indices in chosen.items():
        masks[name] = np.zeros(problem.n, dtype=np.bool_)
        masks[name][indices] = True
    return masks


def shift(problem: subsetsel.Problem, mask: Any) -> Any:
    """Predicted theta_K - theta, shape (C, q): (n / k) W^T S out of the sum-zero basis."""
    head = problem.head
    assert head is not None
    basis = head.objective_function.basis.cpu().numpy()
    moved = problem.rows.sum(mask).reshape(basis.shape[1], -1)
    return problem.n / np.count_nonzero(~mask) * (basis @ moved)


def measure(name: str, features: Features, rates: list[float]) -> list[dict[str, Any]]:
    """Refit every selector's choice at every rate."""
    test = (features.test, features.test_labels)
    problem = subsetsel.Problem.from_features(features.train, features.train_labels, l2=L2, size=1)
    head = problem.head
    assert head is not None
    before = head.loss(head.theta, *test)
    rows = []
    for rate in rates:
        for selector, mask in masks_at(problem, rate).items():
            check = subsetsel.verify(problem, mask, test=test)
            predicted_gap = head.loss(head.theta + shift(problem, mask), *test) - before
            rows.append({
                "data": name,
                "selector": selector,
                "rate": rate,
                "pruned": check.num_pruned,
                "predicted_full": check.predicted_full,
                "theorem1_epsilon": problem.n * check.predicted_full,
                "predicted_kept": check.predicted_kept,
                "predicted_newton": check.predicted_newton,
                "change": check.change,
                "change_error": check.change_error,
                "predicted_loss_gap": predicted_gap,
                "loss_gap": check.loss_gap,
                "accuracy": check.accuracy,
                "full_accuracy": check.full_accuracy,
                "curvature": check.curvature,
            })
            print(
                f"{name} {rate:.0%} {selector:14}: change {check.change:.4g}, predicted "
                f"{check.predicted_kept:.4g}, Newton {check.predicted_newton:.4g}; loss gap "
                f"{check.loss_gap:+.4g}, predicted {predicted_gap:+.4g}",
                flush=True,
            )
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw predicted against measured, for all data sets and selectors."""
    figure, axes = new_figure(2, "Predicted to first order, measured by exact refit")
    sides = (("predicted_kept", "change"), ("predicted_loss_gap", "loss_gap"))
    titles = ("change of the parameters", "size of the test-loss gap")
    for axis, (predicted, measured), title in zip(axes, sides, titles, strict=True):
        for colour, name in enumerate(dict.fromkeys(row["data"] for row in rows)):
            for selector, mark in MARKS.items():
                points = [
                    (abs(row[predicted]), abs(row[measured]))
                    for row in rows
                    if (row["data"], row["selector"]) == (name, selector)
                ]
                axis.plot(
                    *zip(*points, strict=True),
                    mark,
                    color=f"C{colour}",
                    label=f"{name}, {selector}",
                    alpha=0.8,
                )
        ends = [extreme(abs(row[predicted]) for row in rows) for extreme in (min, max)]
        axis.plot(ends, ends, "-", color="grey", linewidth=1)
        axis.set(xscale="log", yscale="log", xlabel="predicted", ylabel="measured", title=title)
    axes[1].legend(fontsize=6)
    save_figure(figure, path)


def main() -> int:
    """Measure, draw and write."""
    parser = new_parser(__doc__, "theory-check")
    parser.add_argument(
        "--data", nargs="+", choices=sorted(SPLIT_DATA), default=["digits", "fmnist-pca128"]
    )
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES))
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name, features in present(asked.data).items():
        rows += measure(name, features, asked.rates)
        write_table(asked.out / "results.csv", rows)
        draw(rows, asked.out / "theory-check.png")
    about = environment(typed_command("theory_check.py"), torch.get_num_threads())
    write_json(asked.out / "env.json", about)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
