"""What people read of a result: the same facts as lines of text and as HTML for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from subsetsel.support.text import Facts

if TYPE_CHECKING:
    from subsetsel.problem.problem import Problem
    from subsetsel.problem.solution import Solution


LIMIT_WORDS = {
    "time": "time limit",
    "iterations": "iteration limit",
    "gap": "gap reached",
    "target": "target reached",
    "interrupted": "interrupted",
}


# --- problems -----------------------------------------------------------------------------------


def problem_facts(problem: Problem) -> Facts:
    """Say what is asked, of what.

    Returns
    -------
    sequence of (name, text)
    """
    if problem.epsilon is not None:
        allowed = "||W^T S||_2" if problem.normalization == "full" else "||W^T S||_2 n / (n - m)"
        goal = f"prune as many as {allowed} <= {problem.epsilon:.6g} allows"
    else:
        goal = f"prune {problem.size:,}, with the smallest ||W^T S||_2"
    facts = [
        ("examples", f"{problem.n:,}"),
        ("S", f"{problem.n:,} x {problem.d:,} ({type(problem.rows).__name__})"),
        ("goal", goal),
        ("normalization", problem.normalization),
    ]
    head = problem.head
    if head is not None:
        facts.append((
            "head",
            f"{head.num_classes} classes, l2 = {head.l2:g}, ||theta||_2 = {head.theta_norm:.6g}",
        ))
    if len(problem.constraints):
        facts.append(("constraints", f"{len(problem.constraints)} linear"))
    for name in ("must_prune", "must_keep"):
        count = int(np.count_nonzero(getattr(problem, name)))
        if count:
            facts.append((name, f"{count:,} examples"))
    return facts


# --- solutions ----------------------------------------------------------------------------------


def solution_verdict(solution: Solution) -> str:
    """Say what the subset is and why the search stopped.

    Returns
    -------
    str
    """
    if solution.limit is None:
        return str(solution.status)
    return f"{solution.status} (stopped: {LIMIT_WORDS[solution.limit]})"


def solution_facts(solution: Solution) -> Facts:
    """Say what was found and how good it is.

    Returns
    -------
    sequence of (name, text)
    """
    facts: list[tuple[str, str]] = []
    if solution.is_feasible:
        facts.append((
            "pruned",
            f"{solution.size:,} of {solution.n:,} ({solution.size / solution.n:.1%}), "
            f"kept {solution.n - solution.size:,}",
        ))
        if np.isnan(solution.norm):
            facts.append(("norm", "unknown: chosen without influence rows S"))
        else:
            facts.append(("norm", f"{solution.norm:.6g}{_allowed(solution)}"))
            facts.append(("bound", _bound(solution)))
    facts.append((
        "solver",
        f"{solution.solver}, seed {solution.seed}, {solution.solve_time:.2f} s "
        f"(+ {solution.compile_time:.2f} s to load or compile), "
        f"{solution.num_iterations:,} iterations",
    ))
    if solution.message:
        facts.append(("note", solution.message))
    return facts


def _allowed(solution: Solution) -> str:
    epsilon = solution.epsilon
    predicted = f"{solution.predicted_kept:.6g}"
    if epsilon is None:
        return f", predicted change after retraining on what is kept {predicted}"
    if solution.normalization == "full":
        return f" <= epsilon = {epsilon:.6g}"
    share = (solution.n - solution.size) / solution.n
    if solution.norm > epsilon * share * (1 + 1e-9):
        # A verified set may be better than its first-order prediction.
        return f", predicted change {predicted}, epsilon = {epsilon:.6g}"
    return (
        f" <= epsilon * kept share = {epsilon * share:.6g} "
        f"(predicted change {predicted} <= epsilon = {epsilon:.6g})"
    )


def _bound(solution: Solution) -> str:
    if solution.bound is None:
        return "none was computed" if solution.status == "optimal" else "none is proved"
    if solution.epsilon is None:
        least = f"the norm cannot be below {solution.bound:.6g} (proved)"
        above = solution.norm / solution.bound - 1.0 if solution.bound > 0 else np.inf
        return f"{least}: at most {above:.3%} above the least" if above < 1.0 else least
    gap = "optimal" if solution.gap == 0 else f"gap {solution.gap:.3%}"
    return f"at most {int(np.floor(solution.bound)):,} can be pruned (proved): {gap}"


# --- checks -------------------------------------------------------------------------------------
