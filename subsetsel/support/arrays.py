"""Arrays from whatever users hold their numbers in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from subsetsel.errors import ProblemError


def to_numpy(given: Any, name: str) -> NDArray[Any]:
    """Turn nested lists, an array, or a torch tensor of any device and type into an array.

    A tensor is recognised by its methods, so that torch need not be imported to ask. Floating
    tensors become float64, since NumPy has no bfloat16.

    Raises
    ------
    ProblemError
        If nested lists differ in length.
    """
    if hasattr(given, "detach") and hasattr(given, "cpu"):
        given = given.detach().cpu()
        given = (given.double() if given.is_floating_point() else given).numpy()
    try:
        return np.asarray(given)
    except ValueError as error:
        raise ProblemError(f"{name} is not a rectangular array: {error}.") from error
