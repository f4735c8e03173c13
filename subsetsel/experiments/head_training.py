"""The exact refit of a head as the referee of `subsetsel.select_for_training`: seconds, no seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from subsetsel.influence import Head, fit_head
from subsetsel.scores import el2n


@dataclass(frozen=True, eq=False)
class HeadTraining:
    """Fits a head to what is kept; a call gives the accuracy on what is held out.

    Attributes
    ----------
    X : ndarray of shape (n, h)
    labels : ndarray of shape (n,), int64
        From 0 on.
    num_classes : int
    l2 : float
    device : str
    """

    X: NDArray[Any]
    labels: NDArray[np.int64]
    num_classes: int
    l2: float
    device: str = "auto"

    def fit(self, rows: Any) -> Head:
        """Fit a head to some of the examples."""
        # What is kept may lack a class, which the others then must not find unknown.
        return fit_head(
            self.X[rows],
            self.labels[rows],
            l2=self.l2,
            num_classes=self.num_classes,
            device=self.device,
        )

    def __call__(self, kept: Any, held_out: Any, seed: int) -> float:
        """Fit to ``kept``, judge on ``held_out``; the minimum does not depend on the seed."""
        head = self.fit(kept)
        return head.accuracy(head.theta, self.X[held_out], self.labels[held_out])

    def difficulty(self, head: Head) -> NDArray[np.float64]:
        """EL2N of all examples by a head that was fitted to them."""
        return self._error_lengths(head, np.arange(len(self.X)))

    def difficulty_out_of_fold(self, num_folds: int, seed: int) -> NDArray[np.float64]:
        """EL2N of each example by a head that was fitted to the other folds."""
        lengths = np.empty(len(self.X))
        order = np.random.default_rng(seed).permutation(len(self.X))
        for fold in np.array_split(order, num_folds):
            lengths[fold] = self._error_lengths(self.fit(np.setdiff1d(order, fold)), fold)
        return lengths

    def _error_lengths(self, head: Head, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        X = np.asarray(self.X[rows], dtype=np.float64)
        logits = X @ head.theta[:, :-1].T + head.theta[:, -1]
        return el2n(softmax(logits, axis=1), self.labels[rows]).values
