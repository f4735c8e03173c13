"""Predicted against measured: parameter change and test-loss gap (Figure 2 of the paper).

    python bench/theory_check.py                  # all data sets that are there
    python bench/theory_check.py --data digits --rates 0.2 0.5 0.9
    python bench/theory_check.py --data sentences --l2 1e-4

At each pruning rate six selectors choose what to leave out: jointly (Eq. 4), as the solver does by
default, annealed from a random subset, and with ``hessian="kept"``; at random; and by single row
norms ||S_i|| from either end. The head is refitted exactly on what is kept. ``predicted_kept`` and
``predicted_loss_gap`` are first order: theta moves by (n / k) W^T S, with the ridge in the rows of
S. For a subset that was searched, ``predicted_searched`` is the change by the rows on which it was
last chosen; with ``hessian="kept"`` they are an expansion, exact where the search ends at the
subset it began from.

Units. Theorem 1 of the paper bounds the norm of the sum of influences, sum_i W_i I_param(z_i), and
Eq. 3 the norm of that sum divided by n. The two epsilons differ by the factor n; both are written
(``theorem1_epsilon`` = n * ``predicted_full``). What the head does is neither: it is
``predicted_full`` times n / k, to first order.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from data import SPLIT_DATA, Features, present
from heads import L2
from numpy.typing import NDArray
from recording import environment, new_parser, typed_command, write_json, write_table

import subsetsel
from subsetsel.support.figures import new_figure, save_figure

RATES = (0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95)
MARKS = {
    "joint": "o",
    "joint, from random": "d",
    "joint, by refit": "*",
    "random": "s",
    "smallest norms": "^",
    "largest norms": "v",
}


@dataclass(frozen=True)
class Choice:
    """What a selector leaves out, and the change that its search predicted, if there was one."""

    mask: NDArray[np.bool_]
    predicted: float = float("nan")

    @classmethod
    def of(cls, solution: subsetsel.Solution) -> Self:
        """Take what was searched last, where the head was refitted on the way."""
        rounds = solution.stats.get("rounds")
        if rounds is None:
            return cls(solution.mask, solution.predicted_kept)
        best = min(reversed(rounds), key=lambda one: one["change"])
        return cls(solution.mask, best["predicted_searched"])


def choices_at(problem: subsetsel.Problem, rate: float) -> dict[str, Choice]:
    """Choose by each selector what to leave out."""
    size = round(rate * problem.n)
    assert problem.head is not None
    order = np.argsort(problem.rows.squared_norms, kind="stable")
    shuffled = np.random.default_rng(0).permutation(problem.n)
    chosen = {
        "random": shuffled[:size],
        "smallest norms": order[:size],
        "largest norms": order[problem.n - size :],
    }
    question = problem.replace(size=size)
    refitted = subsetsel.Problem.from_head(problem.head, size=size, hessian="kept")
    choices = {
        "joint": Choice.of(subsetsel.solve(question, bound=False)),
        "joint, from random": Choice.of(subsetsel.solve(question, bound=False, start="random")),
        "joint, by refit": Choice.of(subsetsel.solve(refitted)),
    }
    for name, indices in chosen.items():
        mask = np.zeros(problem.n, dtype=np.bool_)
        mask[indices] = True
        choices[name] = Choice(mask)
    return choices


def shift(problem: subsetsel.Problem, mask: NDArray[np.bool_]) -> Any:
    """First-order theta_K - theta, shape (C, q): (n / k) W^T S out of the sum-zero basis."""
    head = problem.head
    assert head is not None
    basis = head.objective_function.basis.cpu().numpy()
    moved = problem.rows.sum(mask).reshape(basis.shape[1], -1)
    return problem.n / np.count_nonzero(~mask) * (basis @ moved)


def measure(name: str, features: Features, l2: float, rates: list[float]) -> list[dict[str, Any]]:
    """Refit every selector's choice at every rate."""
    test = (features.test, features.test_labels)
    problem = subsetsel.Problem.from_features(features.train, features.train_labels, l2=l2, size=1)
    rows = []
    for rate in rates:
        for selector, choice in choices_at(problem, rate).items():
            row = {"data": name, "l2": l2, "selector": selector, "rate": rate}
            row |= compare(problem, choice, test)
            rows.append(row)
            print(
                f"{name} {rate:.0%} {selector:20}: change {row['change']:.4g}, predicted "
                f"{row['predicted_kept']:.4g}, Newton {row['predicted_newton']:.4g}, searched "
                f"{row['predicted_searched']:.4g} ({row['searched_over_change']:.3f}); loss gap "
                f"{row['loss_gap']:+.4g}, predicted {row['predicted_loss_gap']:+.4g}",
                flush=True,
            )
    return rows


def compare(problem: subsetsel.Problem, choice: Choice, test: tuple[Any, Any]) -> dict[str, Any]:
    """Refit without what was chosen, and set the predictions beside it."""
    head = problem.head
    assert head is not None
    check = subsetsel.verify(problem, choice.mask, test=test)
    moved = shift(problem, choice.mask)
    return {
        "pruned": check.num_pruned,
        "predicted_full": check.predicted_full,
        "theorem1_epsilon": problem.n * check.predicted_full,
        "predicted_kept": check.predicted_kept,
        "predicted_newton": check.predicted_newton,
        "predicted_searched": choice.predicted,
        "change": check.change,
        "change_error": check.change_error,
        "searched_over_change": choice.predicted / check.change,
        "predicted_loss_gap": head.loss(head.theta + moved, *test) - head.loss(head.theta, *test),
        "loss_gap": check.loss_gap,
        "accuracy": check.accuracy,
        "full_accuracy": check.full_accuracy,
        "curvature": check.curvature,
    }


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw predicted against measured, for all data sets and selectors."""
    figure, axes = new_figure(2, "Predicted (by the rows that were searched) and measured by refit")
    sides = (("predicted", "change"), ("predicted_loss_gap", "loss_gap"))
    rows = [row | {"predicted": predicted_of(row)} for row in rows]
    titles = ("change of the parameters", "size of the test-loss gap")
    for axis, (predicted, measured), title in zip(axes, sides, titles, strict=True):
        for colour, name in enumerate(dict.fromkeys(row["data"] for row in rows)):
            for selector, mark in MARKS.items():
                points = [
                    (abs(row[predicted]), abs(row[measured]))
                    for row in rows
                    if (row["data"], row["selector"]) == (name, selector)
                ]
                axis.plot(*zip(*points, strict=True), mark, color=f"C{colour}", alpha=0.8)
        ends = [extreme(abs(row[predicted]) for row in rows) for extreme in (min, max)]
        axis.plot(ends, ends, "-", color="grey", linewidth=1)
        axis.set(xscale="log", yscale="log", xlabel="predicted", ylabel="measured", title=title)
    for colour, name in enumerate(dict.fromkeys(row["data"] for row in rows)):
        axes[1].plot([], [], "-", linewidth=5, color=f"C{colour}", label=name)
    for selector, mark in MARKS.items():
        axes[1].plot([], [], mark, color="grey", label=selector)
    axes[1].legend(fontsize=6)
    save_figure(figure, path)


def predicted_of(row: dict[str, Any]) -> float:
    """Give what the search predicted, or first order where nothing was searched."""
    searched: float = row["predicted_searched"]
    return row["predicted_kept"] if np.isnan(searched) else searched


def main() -> int:
    """Measure, draw and write; the exit status is 1 if no data set is there."""
    parser = new_parser(__doc__, "theory-check")
    parser.add_argument("--data", nargs="+", choices=sorted(SPLIT_DATA), default=list(SPLIT_DATA))
    parser.add_argument("--l2", type=float, default=L2, help=f"weight decay ({L2:g})")
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES))
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name, features in present(asked.data).items():
        rows += measure(name, features, asked.l2, asked.rates)
        write_table(asked.out / "results.csv", rows)
        draw(rows, asked.out / "theory-check.png")
    about = environment(typed_command("theory_check.py"), torch.get_num_threads())
    write_json(asked.out / "env.json", about)
    return 0 if rows else 1


if __name__ == "__main__":
    raise SystemExit(main())
