"""Scores of what a network says during training: probabilities, features, right or wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from subsetsel.errors import ProblemError
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray
from subsetsel.scores.checks import check_labels, check_table, probability_runs, runs_of
from subsetsel.scores.score import Score


def el2n(probabilities: Any, y: Any) -> Score:
    """Length of the error vector, ||softmax - onehot||_2, averaged over runs.

    Parameters
    ----------
    probabilities : array_like of shape (n, C) or (runs, n, C)
        Of the network in eval mode on the examples as they are, without augmentation. The paper
        reads them around epoch 20 of 200 and averages 10 runs.
    y : array_like of shape (n,), int
        0 to C - 1.

    Returns
    -------
    Score
        Between 0 and sqrt(2); keeps the highest.

    References
    ----------
    Paul et al., Deep Learning on a Data Diet, NeurIPS 2021, arXiv:2107.07075, Definition 2.2.
    """
    lengths = [error_lengths(run, y) for run in probability_runs(probabilities)]
    return Score("el2n", np.mean(lengths, axis=0), "highest", {"num_runs": len(lengths)})


def grand_last_layer(probabilities: Any, features: Any, y: Any, *, bias: bool = True) -> Score:
    """Length of the gradient of the cross-entropy by the last, linear layer, averaged over runs.

    It is the product of two lengths, ||softmax - onehot||_2 and ||(x, 1)||_2, and leaves out the
    layers below: see `grand` for the definition of Paul et al., which is over all parameters.

    Parameters
    ----------
    probabilities : array_like of shape (n, C) or (runs, n, C)
        In eval mode.
    features : array_like of shape (n, h) or (runs, n, h)
        What the last layer is given, of the same runs.
    y : array_like of shape (n,), int
    bias : bool
        Whether the layer has one.

    Returns
    -------
    Score
        Keeps the highest.

    Raises
    ------
    ProblemError
        If the two arrays are not of the same runs and examples.
    """
    inputs = runs_of(features, "features", "n, h")
    outputs = list(probability_runs(probabilities))
    if inputs.shape[:2] != (len(outputs), len(outputs[0])):
        raise ProblemError(
            f"features are of {inputs.shape[0]} runs x {inputs.shape[1]} examples, probabilities "
            f"of {len(outputs)} x {len(outputs[0])}; give both of the same runs, in one order."
        )
    lengths = []
    for one, other in zip(outputs, inputs, strict=True):
        x = check_table(other, "features")
        inward = np.sqrt(np.einsum("ij,ij->i", x, x) + float(bias))
        lengths.append(error_lengths(one, y) * inward)
    return Score(
        "grand_last_layer",
        np.mean(lengths, axis=0),
        "highest",
        {"num_runs": len(lengths), "bias": bool(bias)},
    )


def aum(logits: Any, y: Any) -> Score:
    """Area under the margin: logit of the own class minus the largest other one, averaged.

    Parameters
    ----------
    logits : array_like of shape (n, C) or (presentations, n, C)
        As the examples were shown in training.
    y : array_like of shape (n,), int
        0 to C - 1.

    Returns
    -------
    Score
        Low margins are hard, or wrongly labelled; as a pruning score it keeps the lowest.

    References
    ----------
    Pleiss et al., Identifying Mislabeled Data using the Area Under the Margin Ranking, NeurIPS
    2020, arXiv:2001.10528 (which removes the lowest, as mislabelled).
    """
    runs = runs_of(logits, "logits", "n, C")
    margins = [margins_of(check_table(run, "logits"), y) for run in runs]
    return Score("aum", np.mean(margins, axis=0), "lowest", {"num_presentations": len(margins)})


def forgetting(correct: Any) -> Score:
    """How often an example was learned and then forgotten; never learned counts as the maximum.

    Parameters
    ----------
    correct : array_like of shape (presentations, n) or (runs, presentations, n), bool
        Whether the network, as it was when the example was shown to it in training, got it right;
        in the order of the presentations. `TrainingRecorder` counts it in a training loop.

    Returns
    -------
    Score
        The number of steps from right to wrong, or the number of presentations for an example that
        was never right; added up over runs. Keeps the highest.

    Raises
    ------
    ProblemError
        If the values are not all 0 or 1, or the array has neither shape.

    References
    ----------
    Toneva et al., An Empirical Study of Example Forgetting during Deep Neural Network Learning,
    ICLR 2019, arXiv:1812.05159.
    """
    history = runs_of(correct, "correct", "presentations, n")
    if history.dtype != np.bool_ and not np.isin(history, (0, 1)).all():
        raise ProblemError(
            "correct must say 0 (wrong) or 1 (right) of each presentation, got other values such "
            f"as {history[~np.isin(history, (0, 1))][0]}; it is not a probability."
        )
    runs = history.astype(np.bool_)
    total = np.zeros(runs.shape[2])
    for run in runs:
        events = np.count_nonzero(run[:-1] & ~run[1:], axis=0)
        total += forgetting_counts(events.astype(np.int64), run.any(axis=0), len(run))
    return Score(
        "forgetting", total, "highest", {"num_runs": len(runs), "num_presentations": runs.shape[1]}
    )


def forgetting_counts(events: IndexArray, is_learned: BoolArray, most: int) -> FloatArray:
    """Give an example that was never learned the value ``most``: above all that were learned.

    ``most`` is the number of presentations; the steps from right to wrong are at most half of it.
    """
    return np.where(is_learned, events, most).astype(np.float64)


def margins_of(logits: FloatArray, y: Any) -> FloatArray:
    """Logit of the own class minus the largest of the others, for logits of shape (n, C)."""
    if logits.shape[1] < 2:
        raise ProblemError("a margin needs the logits of at least two classes, got one column.")
    labels = check_labels(y, *logits.shape)
    own = np.arange(len(logits)), labels
    others = logits.copy()
    others[own] = -np.inf
    margins: FloatArray = logits[own] - others.max(axis=1)
    return margins


def error_lengths(probabilities: FloatArray, y: Any) -> FloatArray:
    """||p - onehot(y)||_2 of each row of ``probabilities``, which is changed in place."""
    labels = check_labels(y, *probabilities.shape)
    probabilities[np.arange(len(labels)), labels] -= 1
    lengths: FloatArray = np.linalg.norm(probabilities, axis=1)
    return lengths
