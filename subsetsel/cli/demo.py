"""The demo: a real data set pruned, checked by exact refit, and compared with random subsets."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from subsetsel.cli import options as given
from subsetsel.cli.console import print_result, working
from subsetsel.cli.interrupt import quits_at_once
from subsetsel.cli.output import check_out, exit_code, save
from subsetsel.cli.report import write_page
from subsetsel.errors import SubsetselError
from subsetsel.report.manifest import Manifest

if TYPE_CHECKING:
    from subsetsel.guarantee.verification import Verification
    from subsetsel.problem.problem import Problem
    from subsetsel.problem.solution import Solution
    from subsetsel.problem.tradeoff import Point

L2 = 1e-3
SHARE = 0.4
REL_EPSILON = 0.05
PAPER_EPSILON = 1.0
NUM_TEST = 360
NUM_RANDOM = 3
SHARES = (0.2, SHARE, 0.6, 0.8)


@dataclass(frozen=True)
class Digits:
    """scikit-learn's 8 x 8 handwritten digits, pixels scaled to [0, 1], a fifth held out."""

    X: Any
    y: Any
    X_test: Any
    y_test: Any


@dataclass(frozen=True)
class Results:
    """Everything the demo found."""

    problem: Problem
    solution: Solution
    check: Verification
    random_checks: list[Verification]
    largest: tuple[Solution, Verification]
    paper: Solution


def demo(
    folder: given.Folder = Path("demo-output"),
    seed: given.Seed = 0,
    as_json: given.Json = False,
) -> None:
    """Prune handwritten digits, check the result, write a page about it.

    The data are those that scikit-learn ships. 40 % are chosen together and checked by exact refit
    of the head; random subsets of the same size are shown beside them.

    \b
    Example:
      subsetsel demo
    """
    from subsetsel.report.gallery import Looks, render_gallery

    start_time = time.perf_counter()
    out = folder / "pruned.npz"
    check_out(out)
    digits = _load_digits()
    results = _run(digits, seed)
    solution, check = results.solution, results.check
    largest, largest_check = results.largest
    manifest = Manifest.of(
        solution,
        command="demo",
        settings={"data": "scikit-learn digits / 16", "l2": L2, "fraction": SHARE, "seed": seed},
        inputs=vars(digits),
        verification=check,
    )
    with working("refitting along the curve, drawing the picture"):
        points = _measure(results, seed)
        picture = _draw(results, points, folder / "demo.png")
    page = folder / "report.html"
    looks = Looks(pictures=digits.X.reshape(-1, 8, 8))
    gallery = render_gallery(looks, digits.y, manifest.mask(), range(looks.n))
    write_page(page, manifest, points, gallery)
    files = [*save(solution, manifest, out), picture, page]
    run_time = time.perf_counter() - start_time
    record = {
        "solution": manifest.solution,
        "verification": check,
        "random_changes": [one.change for one in results.random_checks],
        "largest": {"size": largest.size, "verification": largest_check},
        "paper": {"size": results.paper.size, "bound": results.paper.bound},
        "files": [str(name) for name in files],
        "run_time": run_time,
    }
    print_result(record, _tell(results, digits, files, run_time), as_json=as_json)
    raise typer.Exit(exit_code(solution))


def _load_digits() -> Digits:
    try:
        with quits_at_once():
            from sklearn.datasets import load_digits
            from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise SubsetselError(
            "the demo needs scikit-learn, which ships the digits; "
            'pip install "subsetsel[demo]", or run `make demo` in a checkout.'
        ) from error
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X / 16, y, test_size=NUM_TEST, stratify=y, random_state=0
    )
    return Digits(X_train, y_train, X_test, y_test)


def _run(digits: Digits, seed: int) -> Results:
    """Do the work: two prunings, their checks, random subsets, the bound."""
    with quits_at_once():
        from subsetsel.engine.solve import solve
        from subsetsel.guarantee.curve import random_masks
        from subsetsel.guarantee.prune import prune
        from subsetsel.guarantee.verification import verify
        from subsetsel.influence import fit_head
        from subsetsel.problem.problem import Problem

    test = (digits.X_test, digits.y_test)
    with working("training the head, computing S"):
        head = fit_head(digits.X, digits.y, l2=L2)
        problem = Problem.from_head(head, fraction=SHARE)
    with working(f"choosing the {SHARE:.0%} to leave out"):
        solution = solve(problem, seed=seed, trace=True)
    with working("refitting the head on what is kept"):
        check = verify(problem, solution, test=test)
        random_checks = [
            verify(problem, mask, test=test)
            for mask in random_masks(problem.n, solution.size, NUM_RANDOM, seed)
        ]
    with working(f"finding the largest subset that moves the head by at most {REL_EPSILON:.0%}"):
        bounded = Problem.from_head(head, rel_epsilon=REL_EPSILON)
        largest = prune(bounded, test=test, seed=seed, initial_guess=solution)
    with working("solving the paper's own problem, with a proven bound"):
        of_paper = Problem.from_head(head, formulation="paper", epsilon=PAPER_EPSILON)
        paper = solve(of_paper, seed=seed, bound="tight")
    return Results(problem, solution, check, random_checks, largest, paper)


def _measure(results: Results, seed: int) -> list[Point]:
    from subsetsel.guarantee.curve import measure_points

    return measure_points(
        results.problem,
        results.solution,
        results.check,
        shares=SHARES,
        num_random=NUM_RANDOM,
        seed=seed,
        random_checks=results.random_checks,
    )


def _draw(results: Results, points: Sequence[Point], path: Path) -> Path:
    """Draw the trade-off beside the classes."""
    from subsetsel.report.plots import draw_classes, draw_tradeoff
    from subsetsel.support.figures import new_figure, save_figure

    figure, (left, right) = new_figure(2, "Handwritten digits: what can be left out")
    largest, check = results.largest
    place = (largest.size / largest.n, check.change)
    draw_tradeoff(left, points, epsilon=largest.epsilon, chosen=place)
    draw_classes(right, results.check.class_pruned, results.check.class_sizes)
    save_figure(figure, path)
    return path


def _tell(results: Results, digits: Digits, files: list[Path], run_time: float) -> str:
    """Say in ten lines what happened."""
    problem, solution, check = results.problem, results.solution, results.check
    (largest, largest_check), paper = results.largest, results.paper
    reach = largest_check.change + largest_check.change_error
    assert problem.head is not None
    at_random = float(np.median([one.change for one in results.random_checks]))
    lines = {
        "data": f"{problem.n:,} handwritten digits to train on, {len(digits.y_test)} held out",
        "S": f"{problem.n:,} x {problem.d:,}: row i is how far the softmax head moves without i",
        "chosen": f"{solution.size:,} ({SHARE:.0%}) to leave out, together, in "
        f"{solution.solve_time:.1f} s (+ {solution.compile_time:.1f} s to compile)",
        "refit": f"trained exactly on the other {problem.n - solution.size:,}, the head moves by "
        f"{check.change:.4f} ({check.change / problem.head.theta_norm:.2%}); "
        f"{check.predicted_kept:.4f} was predicted",
        "random": f"subsets of that size move it by {at_random:.4f}, "
        f"{at_random / check.change:.1f} times as far",
        "test": f"{check.accuracy:.1%} of the held-out digits are right; with all examples "
        f"{check.full_accuracy:.1%}",
        "largest": f"{largest.size:,} ({largest.size / largest.n:.0%}) can go for a change of at "
        f"most {REL_EPSILON:.0%}; verified: {reach:.4f} <= {largest.epsilon:.4f}",
        "proof": f"of the paper's own problem (Eq. 3, epsilon {PAPER_EPSILON:g}): {paper.size:,} "
        f"pruned, and no more than {np.floor(paper.bound or paper.n):,.0f} can be",
        "wrote": ", ".join(map(str, files)),
        "time": f"{run_time:.0f} s",
    }
    return "\n".join(f"{name:<9}{text}" for name, text in lines.items())
