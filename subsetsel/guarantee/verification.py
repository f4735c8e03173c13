"""The guarantee: refit the head exactly on what is kept and measure how far it moves."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.errors import ProblemError
from subsetsel.rows.base import BoolArray
from subsetsel.support.text import Facts, as_html, as_lines

if TYPE_CHECKING:
    from subsetsel.influence import Head, Refit
    from subsetsel.problem.problem import Problem
    from subsetsel.problem.solution import Solution

SCOPE = "the head; not the retrained network"

_UNIT = float(np.finfo(np.float64).eps) / 2


@dataclass(frozen=True)
class Verification:
    """What leaving a subset out does to the head, by exact refit.

    Attributes
    ----------
    n, num_pruned : int
    change : float
        ||theta_K - theta||_2: how far the head moves when it is trained on the kept examples.
    change_error : float
        The exact change differs from ``change`` by no more than this.
    predicted_full : float
        ||W^T S||_2, the unit of Eq. 3.
    predicted_kept : float
        ``predicted_full`` times n / (n - m), or the same ratio of weights: first-order prediction
        of ``change``.
    predicted_newton : float
        Length of one Newton step on the kept examples: second-order prediction of ``change``.
    objective_gap : float
        How much higher the training objective on all examples is at theta_K than at theta.
    curvature : float
        Smallest eigenvalue of L^-1 H_K L^-T, where H = L L^T: the share of the curvature that the
        kept examples hold in the direction that loses most. Small values say that predictions
        made with H are not to be trusted.
    epsilon : float or None
        The change that was allowed.
    is_verified : bool or None
        Whether ``change + change_error <= epsilon``: Definition 1 of the paper. None without an
        epsilon, or where epsilon is in units of the objective (``metric="loss"``).
    accuracy, full_accuracy : float or None
        Share of the test examples that theta_K and theta classify correctly.
    loss_gap : float or None
        Mean cross-entropy on the test examples at theta_K, minus that at theta.
    class_sizes, class_pruned : dict
        Class -> how many examples it has, and how many of them are pruned.
    scope : str
        What the guarantee speaks of.

    References
    ----------
    Yang et al., ICLR 2023, arXiv:2205.09329, Definition 1.
    """

    n: int
    num_pruned: int
    change: float
    change_error: float
    predicted_full: float
    predicted_kept: float
    predicted_newton: float
    objective_gap: float
    curvature: float
    epsilon: float | None = None
    is_verified: bool | None = None
    accuracy: float | None = None
    full_accuracy: float | None = None
    loss_gap: float | None = None
    class_sizes: dict[str, int] = field(default_factory=dict)
    class_pruned: dict[str, int] = field(default_factory=dict)
    scope: str = SCOPE

    def to_dict(self) -> dict[str, Any]:
        """Everything as types that JSON knows.

        Returns
        -------
        dict
        """
        return asdict(self)

    def __str__(self) -> str:
        return self.summary()

    def summary(self) -> str:
        """Say in a few lines what was measured.

        Returns
        -------
        str
        """
        verdict = f"{check_verdict(self)} (scope: {self.scope})"
        return as_lines(verdict, check_facts(self), width=10)

    def _repr_html_(self) -> str:
        facts = [*check_facts(self), ("scope", self.scope)]
        return as_html("Verification", check_verdict(self), facts, is_good=self.is_verified)


def verify(
    problem: Problem,
    solution: Solution | ArrayLike,
    *,
    test: tuple[Any, Any] | None = None,
) -> Verification:
    """Refit the head on what is kept, to float64 rounding, and measure how far it moved.

    The objective on the kept examples is l2-strongly convex, so a gradient of norm g at the
    refitted parameters leaves at most g / l2 between them and the exact minimizer; the same holds
    for the head itself, and the rounding of both gradients is bounded. Those four terms make up
    ``change_error``.

    Parameters
    ----------
    problem : Problem
        From `Problem.from_features`, `Problem.from_head` or `Problem.from_model`.
    solution : Solution or array_like of shape (n,), bool
        The subset; True means pruned.
    test : (X, y), optional
        Held-out examples, for accuracy and loss.

    Returns
    -------
    Verification

    Raises
    ------
    ProblemError
        If the problem knows no head, everything is pruned, or the test examples do not fit.
    """
    head = problem.head
    if head is None and problem.approximation is not None:
        raise ProblemError(
            f"verify has no head to refit: S is approximate, {problem.approximation}. Train the "
            "network on what is kept to see what became of it."
        )
    if head is None:
        raise ProblemError(
            "verify needs a problem that knows its head and data: make it with "
            "Problem.from_features(X, y, l2=...); Problem(S) knows only S."
        )
    given: Any = solution
    mask = problem.check_mask(given)
    if mask.all():
        raise ProblemError(f"all {problem.n} examples are pruned; nothing is left to refit on.")
    held_out = None if test is None else _check_test(head, test)
    kept = head.kept(~mask)
    refit = kept.refit()
    change = float(np.linalg.norm(refit.theta - head.theta))
    change_error = _change_error(head, refit, change)
    epsilon = problem.epsilon
    if epsilon is None:
        epsilon = getattr(given, "epsilon", None)
    is_parameter = getattr(problem.rows, "metric", "parameter") == "parameter"
    norm = problem.norm(mask)
    accuracy, full_accuracy, loss_gap = _on_test(head, refit, held_out)
    return Verification(
        n=problem.n,
        num_pruned=int(mask.sum()),
        change=change,
        change_error=change_error,
        predicted_full=norm,
        predicted_kept=norm * head.objective_function.total / kept.objective_function.total,
        predicted_newton=float(np.linalg.norm(kept.newton_step())),
        objective_gap=head.objective(refit.theta) - head.objective(head.theta),
        curvature=kept.curvature(),
        epsilon=epsilon,
        is_verified=change + change_error <= epsilon
        if epsilon is not None and is_parameter
        else None,
        accuracy=accuracy,
        full_accuracy=full_accuracy,
        loss_gap=loss_gap,
        class_sizes=_count(head, np.ones_like(mask)),
        class_pruned=_count(head, mask),
    )


def _change_error(head: Head, refit: Refit, change: float) -> float:
    """Bound the distance between the computed change and the exact one."""
    # The difference and its norm are rounded too, and so is this sum.
    rounding = (refit.theta.size + 8) * _UNIT * change
    return (refit.error + head.error + rounding) * (1 + 1e-12)


def _check_test(head: Head, test: Any) -> tuple[Any, Any]:
    if not isinstance(test, (tuple, list)) or len(test) != 2:
        raise ProblemError(f"test must be a pair (X, y), got {type(test).__name__}.")
    head.encode(*test)
    return test[0], test[1]


def _on_test(
    head: Head, refit: Refit, test: tuple[Any, Any] | None
) -> tuple[float | None, float | None, float | None]:
    if test is None:
        return None, None, None
    return (
        head.accuracy(refit.theta, *test),
        head.accuracy(head.theta, *test),
        head.loss(refit.theta, *test) - head.loss(head.theta, *test),
    )


def _count(head: Head, mask: BoolArray) -> dict[str, int]:
    """Chosen examples of each class that occurs."""
    counts = np.bincount(head.labels[mask], minlength=head.num_classes)
    return {str(head.classes[c]): int(counts[c]) for c in np.unique(head.labels)}


def check_verdict(check: Verification) -> str:
    """Say in one sentence what can be relied on.

    Returns
    -------
    str
    """
    reach = check.change + check.change_error
    if check.is_verified is None:
        return f"refitted exactly: the head moves by {check.change:.6g}"
    if check.is_verified:
        return f"verified: the head moves by at most {reach:.6g} <= epsilon = {check.epsilon:g}"
    return f"NOT verified: the head moves by up to {reach:.6g} > epsilon = {check.epsilon:g}"


def check_facts(check: Verification) -> Facts:
    """Say what was measured.

    Returns
    -------
    sequence of (name, text)
    """
    facts = [
        (
            "pruned",
            f"{check.num_pruned:,} of {check.n:,} ({check.num_pruned / check.n:.1%}), "
            f"kept {check.n - check.num_pruned:,}",
        ),
        ("change", f"{check.change:.6g}, certain to within {check.change_error:.2g}"),
        (
            "predicted",
            f"{check.predicted_kept:.6g} to first order, {check.predicted_newton:.6g} "
            f"by one Newton step (||W^T S|| = {check.predicted_full:.6g})",
        ),
        ("curvature", f"{check.curvature:.3g} of it is kept where least is"),
    ]
    if check.accuracy is not None and check.full_accuracy is not None:
        facts.append((
            "test",
            f"accuracy {check.accuracy:.2%} (on all examples {check.full_accuracy:.2%}), "
            f"loss {check.loss_gap:+.3g}",
        ))
    if check.class_sizes:
        name = max(check.class_sizes, key=lambda c: check.class_pruned[c] / check.class_sizes[c])
        facts.append((
            "classes",
            f"{len(check.class_sizes)}; most pruned: {name}, "
            f"{check.class_pruned[name]:,} of {check.class_sizes[name]:,}",
        ))
    return facts
