"""What a subset breaks apart from the norm, in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from subsetsel.rows.base import BoolArray


def linear_violations(problem: Any, mask: BoolArray) -> list[str]:
    """Say what a subset (n,) of a `Problem` breaks apart from the norm."""
    num_pruned = int(np.count_nonzero(mask))
    found: list[str] = []
    if problem.size is not None and num_pruned != problem.size:
        found.append(f"{num_pruned} are pruned, not {problem.size}")
    if num_pruned > problem.max_size:
        found.append(f"{num_pruned} are pruned, more than max_size = {problem.max_size}")
    for name, broken in (
        ("must_prune", problem.must_prune & ~mask),
        ("must_keep", problem.must_keep & mask),
    ):
        if broken.any():
            found.append(f"{np.count_nonzero(broken)} examples of {name} are on the wrong side")
    found += problem.constraints.violations(mask)
    return found
