"""What is read off the runs; every function takes plain numbers and sequences.

The form is ``"max_size"`` (Eq. 3: the size, larger is better) or ``"min_norm"`` (Eq. 4: the norm,
smaller is better). A trace is a sequence of (seconds, value) of the improvements of one run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

Trace = Sequence[tuple[float, float]]

# A norm this many decades above the reference counts as nothing found.
_NORM_DECADES = 6.0
# Stands for a norm of zero where a ratio is wanted, as a share of a random subset's norm.
_ZERO_SHARE = 0.001


def gap_to_bound(form: str, value: float, bound: float | None) -> float | None:
    """Proven relative gap.

    Eq. 3: (floor(bound) - size) / floor(bound). Eq. 4: (norm - bound) / norm. None without a
    bound, for Eq. 4 also with one of 0, which says nothing.
    """
    if bound is None:
        return None
    if form == "max_size":
        most = math.floor(bound)
        return (most - value) / most if most > 0 else 0.0
    return (value - bound) / value if bound > 0 and value > 0 else None


def gap_to_best(form: str, value: float | None, best: float | None) -> float | None:
    """Distance to the best known value.

    Eq. 3: the share of the best known size that is missing. Eq. 4: norm / best known norm - 1,
    which is inf beside a best known norm of zero. None where either is unknown.
    """
    if value is None or best is None:
        return None
    if form == "max_size":
        return (best - value) / best if best > 0 else 0.0
    if best > 0:
        return value / best - 1
    return 0.0 if value == 0 else math.inf


def primal_gap(form: str, value: float | None, reference: float) -> float:
    """Gap in [0, 1] as used by the primal integral.

    1 before anything is found. Eq. 3: |value - reference| over the larger of both. Eq. 4: how
    many decades the norm lies above the reference, out of six.
    """
    if value is None:
        return 1.0
    if form == "max_size":
        larger = max(abs(value), abs(reference))
        return abs(value - reference) / larger if larger > 0 else 0.0
    if value <= reference:
        return 0.0
    if reference <= 0:
        return 1.0
    return min(1.0, math.log10(value / reference) / _NORM_DECADES)


def primal_integral(form: str, trace: Trace, time_limit: float, reference: float) -> float:
    """Mean primal gap over the time limit; 0 is perfect, 1 is nothing found in time.

    The trace is in order of time; improvements after the limit do not count. The reference is the
    best known value.

    References
    ----------
    T. Berthold, Measuring the impact of primal heuristics, Operations Research Letters 41 (2013).
    """
    total, since, gap = 0.0, 0.0, 1.0
    for moment, value in trace:
        if moment >= time_limit:
            break
        total += gap * (moment - since)
        since, gap = moment, min(gap, primal_gap(form, value, reference))
    return (total + gap * (time_limit - since)) / time_limit


def time_to_target(form: str, trace: Trace, target: float) -> float:
    """Seconds until the target was reached.

    inf if it never was.
    """
    for moment, value in trace:
        if (value >= target) if form == "max_size" else (value <= target):
            return moment
    return math.inf


def target_value(form: str, best: float, random_norm: float) -> float:
    """Value that counts as good: near the best known one.

    Eq. 3: 99.9 % of the best known size, rounded up. Eq. 4: a quarter above the best known
    norm, or 0.1 % of a random subset's norm where the best known one is zero.
    """
    if form == "max_size":
        return math.ceil(0.999 * best)
    return 1.25 * best if best > 0 else _ZERO_SHARE * random_norm


def integral_reference(form: str, best: float, random_norm: float) -> float:
    """Value the primal integral is measured from.

    The best known one; 0.1 % of a random subset's norm where that is a norm of zero, which is
    infinitely many decades away from everything.
    """
    return best if form == "max_size" or best > 0 else _ZERO_SHARE * random_norm


def overshoot(wall_time: float, time_limit: float) -> float:
    """Share of the time limit by which a run was late; at most 0 if it was not."""
    return wall_time / time_limit - 1


def shifted_geometric_mean(values: Iterable[float], shift: float = 1.0) -> float:
    """exp(mean(log(value + shift))) - shift of values >= 0: no few runs decide it alone.

    nan without values.
    """
    logs = [math.log(value + shift) for value in values]
    return math.exp(math.fsum(logs) / len(logs)) - shift if logs else math.nan
