"""What a problem shows of itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from subsetsel.support.text import Facts


def line_of(problem: Any) -> str:
    """Say in one line what a `Problem` asks, as its repr."""
    goal = (
        f"epsilon={problem.epsilon:g}, normalization={problem.normalization!r}"
        if problem.epsilon is not None
        else f"size={problem.size}"
    )
    num = len(problem.constraints)
    extra = f", {num} linear constraints" if num else ""
    offset = "" if problem.offset is None else ", with an offset"
    approximate = ", approximate influence" if problem.approximation else ""
    return f"Problem(n={problem.n}, d={problem.d}, {goal}{offset}{extra}{approximate})"


def facts_of(problem: Any) -> Facts:
    """Say what a `Problem` asks, of what."""
    if problem.epsilon is not None:
        allowed = "||W^T S||_2" if problem.normalization == "full" else "||W^T S||_2 n / (n - m)"
        goal = f"prune as many as {allowed} <= {problem.epsilon:.6g} allows"
    else:
        smallest = "||W^T S||_2" if problem.hessian == "all" else "change of the refitted head"
        goal = f"prune {problem.size:,}, with the smallest {smallest}"
    facts = [
        ("examples", f"{problem.n:,}"),
        ("S", f"{problem.n:,} x {problem.d:,} ({type(problem.rows).__name__})"),
        ("goal", goal),
        ("normalization", problem.normalization),
    ]
    if problem.offset is not None:
        length = float(np.linalg.norm(problem.offset))
        facts.append(("offset", f"a vector of length {length:.6g} is added to W^T S"))
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
