"""The head that one seed asks: fitted on pre-trained features of its own part of the examples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from data import leading
from numpy.typing import NDArray
from pretrained_body import Indices
from scipy.special import log_softmax
from select_networks import keep

import subsetsel
from subsetsel import scores
from subsetsel.influence import Head, fit_head
from subsetsel.selection.chooser import Chooser
from subsetsel.selection.composition import Composition

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Task:
    """What is told apart.

    Attributes
    ----------
    open : ndarray of int
        Examples that seeds draw from to train on.
    reserved : ndarray of int
        Examples that seeds draw from to test on, and that nothing else sees.
    labels : ndarray of int
        Of every example of the body; of those that are neither open nor reserved they say nothing.
    num_classes : int
    """

    open: Indices
    reserved: Indices
    labels: Indices
    num_classes: int


@dataclass(frozen=True)
class HeadSettings:
    """How the head is made.

    Attributes
    ----------
    l2 : float
        Weight decay.
    num_columns : int, optional
        Principal components of the features that are taken; all features as they are without it.
    num_ranked : int
        Most that herding is asked for.
    time_limit : float
        Seconds for the joint choice that is linearised anew.
    """

    l2: float
    num_columns: int | None
    num_ranked: int
    time_limit: float


class AskedHead:
    """Theta-hat, what it says of the examples of a pool, and what is kept of them.

    Parameters
    ----------
    features : ndarray of shape (n, h)
        Of every example of the body.
    labels : ndarray of shape (n,)
    pool : ndarray of int
        Numbers of the examples that are chosen from.
    others : ndarray of int
        Numbers of those that are judged on.
    num_classes : int
    settings : HeadSettings
    """

    def __init__(
        self,
        features: NDArray[Any],
        labels: Indices,
        pool: Indices,
        others: Indices,
        num_classes: int,
        *,
        settings: HeadSettings,
    ) -> None:
        self.pool, self.others, self.num_classes = pool, others, num_classes
        self.labels, self.other_labels = labels[pool], labels[others]
        self.X, self.other_X = (features[part].astype(np.float64) for part in (pool, others))
        if settings.num_columns is not None:
            few = leading(
                self.X, self.labels, self.other_X, self.other_labels, settings.num_columns
            )
            self.X, self.other_X = few.train, few.test
        self._settings = settings
        self._kept: dict[tuple[Any, int, int], Indices] = {}

    def fit(self, kept: Indices) -> Head:
        """Refit the head exactly on some of the pool."""
        return fit_head(
            self.X[kept], self.labels[kept], l2=self._settings.l2, num_classes=self.num_classes
        )

    def judge(self, head: Head) -> Floats:
        """Give the log-probabilities of the other examples."""
        logs: Floats = log_softmax(_logits(self.other_X, head), axis=1)
        return logs

    @cached_property
    def head(self) -> Head:
        """Theta-hat: the head on all of the pool."""
        return self.fit(np.arange(len(self.pool)))

    @cached_property
    def el2n(self) -> Floats:
        """How far theta-hat is from the label of each example of the pool, which it has seen."""
        shares = np.exp(log_softmax(_logits(self.X, self.head), axis=1))
        lengths: Floats = scores.el2n(shares, self.labels).values
        return lengths

    def _chooser(self, hessian: Any, **options: Any) -> Chooser:
        rows = subsetsel.Problem.from_features(
            self.X,
            self.labels,
            l2=self._settings.l2,
            num_classes=self.num_classes,
            size=1,
            hessian=hessian,
        )
        return Chooser({"el2n": self.el2n}, self.labels, rows, solve_options=options)

    @cached_property
    def chooser(self) -> Chooser:
        """First order around theta-hat."""
        return self._chooser("all")

    @cached_property
    def kept_chooser(self) -> Chooser:
        """The same, on rows that say what refitting does."""
        return self._chooser("kept", time_limit=self._settings.time_limit)

    @cached_property
    def herding(self) -> scores.Score:
        """The order of herding within each class, as far as it is asked for."""
        return scores.herding(self.X, self.labels, num_ranked=self._settings.num_ranked)

    def keep(self, method: str, composition: Composition | None, num_kept: int, seed: int) -> Any:
        """Keep what a method or a composition keeps; the same once for all cases."""
        key = composition or method, num_kept, seed
        if key not in self._kept:
            self._kept[key] = keep(self, method, composition, num_kept, seed)
        return self._kept[key]


def _logits(X: Floats, head: Head) -> Floats:
    logits: Floats = X @ head.theta[:, :-1].T + head.theta[:, -1]
    return logits
