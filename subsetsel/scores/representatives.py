"""Scores of features: how well an example speaks for its class."""

from __future__ import annotations

from typing import Any

import numpy as np

from subsetsel.rows.base import FloatArray, IndexArray
from subsetsel.scores.checks import check_count, check_labels, check_table
from subsetsel.scores.score import Score

# Up to this many bytes all inner products of a class are computed at once; above it each step
# computes its own, which is slower.
_GRAM_BYTES = 2**29


def class_mean(X: Any, y: Any) -> Score:
    """Distance to the mean of the own class.

    What the paper calls herding in section 6.3 (b): "closest to the cluster center of each class".
    For the greedy rule of that name see `herding`.

    Parameters
    ----------
    X : array_like of shape (n, h)
        Features, taken as they are.
    y : array_like of shape (n,), int

    Returns
    -------
    Score
        Euclidean distance, in the unit of the features; keeps the lowest.
    """
    features = check_table(X, "X")
    labels = check_labels(y, len(features))
    values = np.empty(len(features))
    for members in _classes(labels):
        offsets = features[members] - features[members].mean(axis=0)
        values[members] = np.linalg.norm(offsets, axis=1)
    return Score("class_mean", values, "lowest")


def herding(X: Any, y: Any, *, num_ranked: int | None = None) -> Score:
    """Place in the order in which herding picks the examples of each class.

    With features of length 1 and their class mean mu: w starts at mu; each step picks the example
    with the largest inner product with w and sets w <- w + mu - x. The picks so far then have a
    mean near mu. Each example is picked once.

    Parameters
    ----------
    X : array_like of shape (n, h)
        Features; they are normalized here.
    y : array_like of shape (n,), int
    num_ranked : int, optional
        Stop after so many picks of a class; the rest share the place after them. All by default.

    Returns
    -------
    Score
        0 for the first pick of each class, 1 for the second, ...; keeps the lowest. Choosing by it
        keeps the same number of each class, as far as the classes reach.

    Raises
    ------
    ProblemError
        If num_ranked is not a positive integer.

    References
    ----------
    Welling, Herding dynamical weights to learn, ICML 2009. Rebuffi et al., iCaRL, CVPR 2017,
    arXiv:1611.07725, Algorithm 4.
    """
    if num_ranked is not None:
        check_count(num_ranked, "num_ranked")
    features = check_table(X, "X")
    labels = check_labels(y, len(features))
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    features /= np.where(lengths > 0, lengths, 1.0)
    values = np.empty(len(features))
    for members in _classes(labels):
        num_picks = min(len(members), num_ranked or len(members))
        values[members] = num_picks
        values[members[_herd(features[members], num_picks)]] = np.arange(num_picks)
    return Score("herding", values, "lowest", {"num_ranked": num_ranked})


def _herd(D: FloatArray, num_picks: int) -> IndexArray:
    """Pick rows greedily. Of w only the products <w, x_i> are needed, so w is never formed."""
    gram = D @ D.T if 8 * len(D) ** 2 <= _GRAM_BYTES else None
    toward_mean = D @ D.mean(axis=0)
    products = toward_mean.copy()
    picks = np.empty(num_picks, dtype=np.int64)
    for step in range(num_picks):
        pick = int(np.argmax(products))
        picks[step] = pick
        products += toward_mean - (D @ D[pick] if gram is None else gram[pick])
        # A row that was picked is not picked again, whatever is added to its product later.
        products[pick] = -np.inf
    return picks


def _classes(labels: IndexArray) -> list[IndexArray]:
    """Split the examples by class."""
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order])) + 1
    return np.split(order, starts)
