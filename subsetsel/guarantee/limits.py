"""What a pruned set must satisfy once the head has been refitted on what is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from subsetsel.errors import ProblemError
from subsetsel.guarantee.verification import Verification


@dataclass(frozen=True)
class Criteria:
    """Limits that are checked after the refit; those that are None do not apply.

    Parameters
    ----------
    epsilon : float, optional
        Largest change of the head, error bar included: Definition 1 of the paper.
    max_loss_gap : float, optional
        Largest rise of the mean loss on the validation examples.
    max_accuracy_drop : float, optional
        Largest fall of the accuracy on the validation examples, a share.
    min_curvature : float, optional
        Smallest share of the curvature that is kept in any direction.

    Raises
    ------
    ProblemError
        If a limit is out of its range.
    """

    epsilon: float | None = None
    max_loss_gap: float | None = None
    max_accuracy_drop: float | None = None
    min_curvature: float | None = None

    def __post_init__(self) -> None:
        for name, most, rule in (
            ("max_loss_gap", np.inf, "a finite number >= 0"),
            ("max_accuracy_drop", 1.0, "a share between 0 and 1"),
            ("min_curvature", 1.0, "a share between 0 and 1"),
        ):
            value = getattr(self, name)
            if value is not None and not (_is_finite(value) and 0 <= value <= most):
                raise ProblemError(f"{name} must be {rule}, got {value!r}.")

    @property
    def needs_validation(self) -> bool:
        """Whether a limit speaks of validation examples."""
        return self.max_loss_gap is not None or self.max_accuracy_drop is not None

    def is_met(self, check: Verification) -> bool:
        """Whether a refit stays within every limit.

        Parameters
        ----------
        check : Verification
            With the validation examples as its test where a limit speaks of them.

        Returns
        -------
        bool
        """
        return all(value <= limit for value, limit in self._terms(check)) and (
            self.min_curvature is None or check.curvature >= self.min_curvature
        )

    def load(self, check: Verification) -> float:
        """How much of the limits a refit uses up: the largest value / limit.

        Returns
        -------
        float
            Above 1 where a limit on the change or on the validation examples is broken; 0 where
            nothing is used up.
        """
        ratios = [
            0.0 if value <= 0 else float("inf") if limit == 0 else value / limit
            for value, limit in self._terms(check)
        ]
        return max(ratios, default=0.0)

    def _terms(self, check: Verification) -> list[tuple[float, float]]:
        terms = []
        if self.epsilon is not None:
            terms.append((check.change + check.change_error, self.epsilon))
        if self.max_loss_gap is not None:
            assert check.loss_gap is not None
            terms.append((check.loss_gap, self.max_loss_gap))
        if self.max_accuracy_drop is not None:
            terms.append((accuracy_drop(check), self.max_accuracy_drop))
        return terms


def accuracy_drop(check: Verification) -> float:
    """Accuracy of the full head minus that of the refitted one.

    Returns
    -------
    float
    """
    assert check.accuracy is not None
    assert check.full_accuracy is not None
    return check.full_accuracy - check.accuracy


def _is_finite(value: Any) -> bool:
    return (
        isinstance(value, (int, float, np.integer, np.floating))
        and not isinstance(value, bool)
        and bool(np.isfinite(value))
    )
