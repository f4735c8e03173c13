"""Where no size is feasible yet: which one to try next."""

from __future__ import annotations

import math
from itertools import pairwise


class Misses:
    """How far the norms found at some sizes are from what is allowed there."""

    def __init__(self) -> None:
        self.num_probes = 0
        self._ratios: dict[int, float] = {}

    def learn(self, m: int, norm: float, target: float) -> None:
        """Note the norm of a probe."""
        self.num_probes += 1
        self._ratios[m] = min(norm / max(target, 1e-300), self._ratios.get(m, math.inf))

    def next_size(self) -> int | None:
        """Give the middle of the wider gap beside the size that came closest; None without one."""
        sizes = sorted(self._ratios)
        nearest = sizes.index(min(sizes, key=self._ratios.__getitem__))
        around = sizes[max(0, nearest - 1) : nearest + 2]
        gaps = [(high - low, low) for low, high in pairwise(around)]
        width, low = max(gaps, default=(0, 0))
        return low + width // 2 if width > 1 else None
