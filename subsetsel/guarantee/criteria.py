"""What a pruned set must satisfy once the head has been refitted on the kept examples."""

from __future__ import annotations

from collections.abc import Iterator
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
        If a limit other than epsilon, which `Problem` checks, is out of its range.
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
        """Whether a refit, tested on the validation examples, stays within every limit."""
        return not self.broken(check)

    def broken(self, check: Verification) -> dict[str, str]:
        """Name every limit that a refit breaks, and say how."""
        found = {
            name: f"{what.format(value)} > {name} = {limit:g}"
            for name, what, value, limit in self._terms(check)
            if not value <= limit
        }
        floor = self.min_curvature
        if floor is not None and not check.curvature >= floor:
            found["min_curvature"] = f"curvature {check.curvature:.6g} < min_curvature = {floor:g}"
        return found

    def usage(self, check: Verification) -> float:
        """Largest value / limit of a refit, the curvature apart; above 1 where one is broken."""
        ratios = [
            0.0 if value <= 0 else float("inf") if limit == 0 else value / limit
            for _, _, value, limit in self._terms(check)
        ]
        return max(ratios, default=0.0)

    def _terms(self, check: Verification) -> Iterator[tuple[str, str, float, float]]:
        """Every value that has an upper limit: name of the limit, words for the value, both."""
        for name, what, value in (
            ("epsilon", "the head moves by up to {:.6g}", check.largest_change),
            ("max_loss_gap", "the validation loss rises by {:.6g}", check.loss_gap),
            ("max_accuracy_drop", "the accuracy falls by {:.6g}", check.accuracy_drop),
        ):
            limit = getattr(self, name)
            if limit is not None:
                assert value is not None
                yield name, what, value, limit


def _is_finite(value: Any) -> bool:
    return (
        isinstance(value, (int, float, np.integer, np.floating))
        and not isinstance(value, bool)
        and bool(np.isfinite(value))
    )
