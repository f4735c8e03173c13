"""What a refit does to held-out examples, and what that says of new ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from subsetsel.errors import ProblemError
from subsetsel.rows.base import FloatArray

if TYPE_CHECKING:
    from subsetsel.influence import Head

Split = tuple[Any, Any]
Interval = tuple[float, float]

CONFIDENCE = 0.95
_SCORES = (
    *("accuracy", "full_accuracy", "loss_gap"),
    *("loss_gap_interval", "accuracy_drop_interval"),
)
# With fewer skewed differences no interval for their mean keeps its promise.
LEAST_FOR_LOSS = 100


def check_split(head: Head, name: str, split: Any) -> None:
    """Refuse held-out examples that are not a pair (X, y) or do not fit the head."""
    _check(name, split, head.encode)


def check_against(
    X: Any, y: Any, num_classes: int | None, splits: Iterable[tuple[str, Any]]
) -> None:
    """Refuse them by their names before there is a head, by the data that it will be trained on."""
    from subsetsel.influence.head.data import check_features, check_lengths
    from subsetsel.influence.head.labels import encode_labels, encode_like

    _, classes = encode_labels(y, num_classes)
    num_features = np.shape(X)[1] if np.ndim(X) == 2 else None

    def encode(features: Any, labels: Any) -> None:
        check_lengths(check_features(features, num_features), encode_like(labels, classes))

    for name, split in splits:
        _check(name, split, encode)


def _check(name: str, split: Any, encode: Callable[[Any, Any], Any]) -> None:
    """Let X and y of a split be checked, and say of which split they are."""
    if not isinstance(split, (tuple, list)) or len(split) != 2:
        raise ProblemError(f"{name} must be a pair (X, y), got {type(split).__name__}.")
    try:
        encode(*split)
    except ProblemError as error:
        raise ProblemError(f"in {name} = (X, y): {error}") from error


def scores_on(head: Head, theta: FloatArray, test: Split | None) -> dict[str, Any]:
    """Compare theta_K, shape (C, q), with theta on test examples; None for each without any."""
    if test is None:
        return dict.fromkeys(_SCORES)
    (losses, is_right), (full_losses, was_right) = (
        head.judge(one, *test) for one in (theta, head.theta)
    )
    fell, rose = int((was_right & ~is_right).sum()), int((is_right & ~was_right).sum())
    return {
        "accuracy": float(is_right.mean()),
        "full_accuracy": float(was_right.mean()),
        "loss_gap": float(losses.mean() - full_losses.mean()),
        "loss_gap_interval": mean_interval(losses - full_losses),
        "accuracy_drop_interval": drop_interval(fell, rose, len(losses)),
    }


def drop_interval(fell: int, rose: int, n: int) -> Interval:
    """Give the 95 % interval for the fall of the accuracy, by Agresti and Min.

    Parameters
    ----------
    fell, rose : int
        Examples that only the first head has right, and that only the second has.
    n : int
        How many examples both were tried on.

    Returns
    -------
    tuple of float
        Half an example is added to each of the four cells, so it is a point nowhere: where no
        example differs it still is about 2 / n wide to both sides.

    References
    ----------
    Agresti and Min, Simple improved confidence intervals for comparing matched proportions,
    Statistics in Medicine 24, 2005.
    """
    from scipy.special import ndtri

    down, up, total = fell + 0.5, rose + 0.5, n + 2
    middle = (down - up) / total
    z = float(ndtri(0.5 + CONFIDENCE / 2))
    half = z * math.sqrt(down + up - (down - up) ** 2 / total) / total
    return max(-1.0, middle - half), min(1.0, middle + half)


def mean_interval(values: FloatArray) -> Interval | None:
    """Give the 95 % interval for the mean of what skewed values (n,) were drawn from.

    Returns
    -------
    tuple of float or None
        From the lower end of Student's interval and of Hall's, which corrects it for the skewness,
        to their upper end. None for fewer than 100 values, or where all are alike.

    References
    ----------
    Hall, On the removal of skewness by transformation, J. R. Statist. Soc. B 54, 1992.
    """
    from scipy.special import stdtrit

    n = len(values)
    centred = values - values.mean()
    spread = math.sqrt(float(np.square(centred).mean()) * n / max(1, n - 1))
    if n < LEAST_FOR_LOSS or spread == 0.0:
        return None
    root, t = math.sqrt(n), float(stdtrit(n - 1, 0.5 + CONFIDENCE / 2))
    skew = float((centred**3).mean()) / spread**3 / root
    ends = [-t, t]
    # Nearly symmetric values need no correction, which would be a difference of equal numbers.
    if abs(skew) > 1e-6:
        ends += [3 / skew * (float(np.cbrt(1 + skew * (u - skew / 6))) - 1) for u in ends]
    mean, step = float(values.mean()), spread / root
    return mean - step * max(ends), mean - step * min(ends)
