"""Refit the head exactly on the kept examples and measure how far it moves."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from subsetsel.errors import ProblemError
from subsetsel.guarantee.held_out import Interval, Split, check_split, scores_on
from subsetsel.problem.arguments import Metric, refuse_offset
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray
from subsetsel.support.clock import NO_CLOCK, Clock
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
        epsilon, or where epsilon is in units of the objective (``metric="loss"``). False, too,
        where `subsetsel.prune` verified nothing.
    accuracy, full_accuracy : float or None
        Share of the test examples that theta_K and theta classify correctly.
    loss_gap : float or None
        Mean cross-entropy on the test examples at theta_K, minus that at theta.
    accuracy_drop_interval, loss_gap_interval : (float, float) or None
        95 % intervals for the fall of the accuracy and the rise of the loss on new examples, if
        the test examples were drawn like those and had no part in the choice. From the paired
        differences, by Agresti and Min's method and by Student's t corrected for skewness; of the
        loss None with fewer than 100 test examples.
    predicted_searched : float or None
        What the rows that were searched predict for this set; the search made this small. In the
        metric "parameter" it is a prediction of ``change``, in the metric "loss" of the root of
        twice ``objective_gap``. None where nothing was searched, as from `verify`.
    searched_metric : {"parameter", "loss"} or None
    class_sizes, class_pruned : dict
        Class -> how many examples it has, and how many of them are pruned.
    scope : str
        What the guarantee speaks of.
    broken : str or None
        Which limits the set breaks, where `subsetsel.prune` verified nothing and tried some.

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
    accuracy_drop_interval: Interval | None = None
    loss_gap_interval: Interval | None = None
    predicted_searched: float | None = None
    searched_metric: Metric | None = None
    class_sizes: dict[str, int] = field(default_factory=dict)
    class_pruned: dict[str, int] = field(default_factory=dict)
    scope: str = SCOPE
    broken: str | None = None

    def __post_init__(self) -> None:
        # JSON knows no tuples.
        for name in ("accuracy_drop_interval", "loss_gap_interval"):
            ends = getattr(self, name)
            object.__setattr__(self, name, None if ends is None else tuple(ends))

    @property
    def largest_change(self) -> float:
        """The exact change is at most this: change + change_error."""
        return self.change + self.change_error

    @property
    def accuracy_drop(self) -> float | None:
        """Accuracy of the head on all examples minus that of the refitted one; None without a test.

        Both are measured on the test examples.
        """
        if self.accuracy is None or self.full_accuracy is None:
            return None
        return self.full_accuracy - self.accuracy

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
        return as_lines(f"{self._verdict()} (scope: {self.scope})", self._facts(), width=10)

    def _repr_html_(self) -> str:
        facts = [*self._facts(), ("scope", self.scope)]
        return as_html("Verification", self._verdict(), facts, is_good=self.is_verified)

    def _verdict(self) -> str:
        """Say in one sentence what can be relied on."""
        if self.is_verified is None:
            return f"refitted exactly: the head moves by {self.change:.6g}"
        if self.is_verified:
            within = f"{self.largest_change:.6g} <= epsilon = {self.epsilon:g}"
            return f"verified: the head moves by at most {within}"
        if not self.num_pruned:
            return "NOT verified: nothing is pruned"
        if self.broken:
            return f"NOT verified: {self.broken}"
        beyond = f"{self.largest_change:.6g} > epsilon = {self.epsilon:g}"
        return f"NOT verified: the head moves by up to {beyond}"

    def _facts(self) -> Facts:
        """Say what was measured, as names and texts."""
        facts = [
            (
                "pruned",
                f"{self.num_pruned:,} of {self.n:,} ({self.num_pruned / self.n:.1%}), "
                f"kept {self.n - self.num_pruned:,}",
            ),
            ("change", f"{self.change:.6g}, certain to within {self.change_error:.2g}"),
            *self._predictions(),
            ("curvature", f"at least {self.curvature:.3g} of it is kept in every direction"),
        ]
        if self.accuracy is not None and self.full_accuracy is not None:
            facts.append((
                "test",
                f"accuracy {self.accuracy:.2%} (on all examples {self.full_accuracy:.2%}), "
                f"loss {self.loss_gap:+.3g}",
            ))
        if self.accuracy_drop_interval is not None:
            facts.append(("new data", self._on_new_data(self.accuracy_drop_interval)))
        if self.class_sizes:
            name = max(self.class_sizes, key=lambda c: self.class_pruned[c] / self.class_sizes[c])
            facts.append((
                "classes",
                f"{len(self.class_sizes)}; most pruned: {name}, "
                f"{self.class_pruned[name]:,} of {self.class_sizes[name]:,}",
            ))
        return facts

    def _predictions(self) -> Facts:
        """Tell the predictions apart, each beside what it predicts."""
        facts = [
            (
                "predicted",
                f"{self.predicted_kept:.6g} to first order (||W^T S|| = {self.predicted_full:.6g})",
            ),
            ("", f"{self.predicted_newton:.6g} by one Newton step"),
        ]
        searched = self.predicted_searched
        if searched is not None and self.searched_metric == "loss":
            facts.append((
                "",
                f"training objective {0.5 * searched**2:+.6g} by the rows searched, which the "
                f"search minimized; {self.objective_gap:+.6g} refitted",
            ))
        elif searched is not None:
            facts.append(("", f"{searched:.6g} by the rows searched, which the search minimized"))
        return facts

    def _on_new_data(self, drop: Interval) -> str:
        """Say what the test examples are worth for new ones."""
        words = f"with 95 % confidence accuracy {-drop[1]:+.2%} to {-drop[0]:+.2%}"
        if self.loss_gap_interval is None:
            return f"{words}; of the loss the test examples are too few to say"
        low, high = self.loss_gap_interval
        return f"{words}, loss {low:+.3g} to {high:+.3g}"


def verify(
    problem: Problem,
    solution: Solution | ArrayLike,
    *,
    test: Split | None = None,
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
    refuse_offset(problem, "verify")
    given: Any = solution
    mask = problem.check_mask(given, "solution")
    if mask.all():
        raise ProblemError(f"all {problem.n} examples are pruned; nothing is left to refit on.")
    if test is not None:
        check_split(head, "test", test)
    epsilon = problem.epsilon
    if epsilon is None:
        epsilon = epsilon_of(given)
    return refit_and_measure(problem, mask, epsilon=epsilon, test=test)[0]


def epsilon_of(solution: Any) -> float | None:
    """Say how far a solution lets the parameters move; None where its epsilon is of the loss."""
    if getattr(solution, "stats", {}).get("metric", "parameter") != "parameter":
        return None
    epsilon: float | None = getattr(solution, "epsilon", None)
    return epsilon


def refit_and_measure(
    problem: Problem,
    mask: BoolArray,
    *,
    epsilon: float | None,
    test: Split | None,
    clock: Clock = NO_CLOCK,
) -> tuple[Verification, FloatArray]:
    """Do what `verify` promises, for arguments that were checked before; give theta_K too.

    `TimeIsUp` is raised where the refit does not end in time.
    """
    head = problem.head
    assert head is not None
    kept = head.kept(~mask, clock=clock)
    refit = kept.refit()
    change = float(np.linalg.norm(refit.theta - head.theta))
    change_error = _change_error(head, refit, change)
    has_unit_of_epsilon = getattr(problem.rows, "metric", "parameter") == "parameter"
    norm = problem.norm(mask)
    check = Verification(
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
        if epsilon is not None and has_unit_of_epsilon
        else None,
        class_sizes=count_by_class(head.labels, head.classes),
        class_pruned=count_by_class(head.labels, head.classes, mask),
        **scores_on(head, refit.theta, test),
    )
    return check, refit.theta


def _change_error(head: Head, refit: Refit, change: float) -> float:
    """Bound the distance between the computed change and the exact one."""
    # The difference and its norm are rounded too, and so is this sum.
    rounding = (refit.theta.size + 8) * _UNIT * change
    return (refit.error + head.error + rounding) * (1 + 1e-12)


def count_by_class(
    labels: IndexArray, classes: NDArray[Any], mask: BoolArray | None = None
) -> dict[str, int]:
    """Count the examples of each class that has any; with a mask (n,) those it marks."""
    marked = labels if mask is None else labels[mask]
    counts = np.bincount(marked, minlength=len(classes))
    return {str(classes[c]): int(counts[c]) for c in np.unique(labels)}
