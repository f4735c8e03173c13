"""Columns of frames and data sets that are named as features, or whose values name examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from subsetsel.errors import ProblemError


def check_feature_names(names: Sequence[Any], label: Any) -> None:
    """Refuse no name, one that stands there twice, and the label's."""
    if not len(names):
        raise ProblemError("there is no column of features; name one with features=.")
    if label in names:
        raise ProblemError(
            f"features names the label {label!r}, which would give it away; leave it out."
        )
    for name in names:
        if list(names).count(name) > 1:
            raise ProblemError(f"features names the column {name!r} twice; name it once.")


def check_column_names(frame: Any) -> None:
    """Refuse a frame of pandas with two columns of one name."""
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise ProblemError(
            f"the frame has the column {repeated[0]!r} twice, and which is meant is not clear; "
            "rename one, or keep the first of each by frame.loc[:, ~frame.columns.duplicated()]."
        )


def check_ids(is_repeated: Any, ids: Any, what: str, cure: str) -> None:
    """Refuse ids of which one stands for two examples; ``is_repeated`` marks all but the first."""
    if not is_repeated.any():
        return
    second = int(np.flatnonzero(is_repeated)[0])
    first = next(k for k in range(second) if ids[k] == ids[second] or ids[k] is ids[second])
    raise ProblemError(
        f"{what} must name each example once, but {ids[second]!r} stands in rows {first} and "
        f"{second}; {cure}."
    )
