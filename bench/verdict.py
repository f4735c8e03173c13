"""What a comparison of two versions says: ratios, the worst and the best, and who is first.

Ratios are new over old, and below 1 is better. Eq. 4 is measured by the norm. Eq. 3 is measured by
what is missing: the whole part of the best bound that any run has proved, less the size, plus one.
Where no bound is proved, it is measured by what is kept, or by what is pruned where that is less.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, geometric_mean, median, stdev

from harness import Record

OLD, NEW = "old", "new"
# Norms are told apart down to this share of a random subset's.
_SMALLEST_SHARE = 1e-9
_WORSE = 1.1
_FEW_EXAMPLES = 2
# First or level: the rule of all tables here.
_LEVEL_NORM, _LEVEL_SIZE = 1.02, 1
_EXTREMES = 5
# Pairs of which one had so much less of the processor say little.
_UNEVEN = 1.25


@dataclass(frozen=True)
class Row:
    """One instance: both versions' means over the seeds, and the ratio.

    Attributes
    ----------
    instance, form : str
    old, new : float
        Mean norm (Eq. 4) or mean size (Eq. 3).
    bound : float or None
        Whole part of the best bound proved on the size.
    ratio : float
        Geometric mean over the seeds.
    is_worse : bool
        By more than 10 %, and under Eq. 3 by more than two examples.
    peers : dict of str to float
        Norm or size of each peer.
    is_first : bool
        No peer is better than the median of the new version by more than 2 % of the norm or one
        example.
    """

    instance: str
    form: str
    old: float
    new: float
    bound: float | None
    ratio: float
    is_worse: bool
    peers: dict[str, float]
    is_first: bool


def rows_of(records: Iterable[Record]) -> list[Row]:
    """Sum up each instance that both versions have answered."""
    found: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.value is not None:
            found[record.instance].append(record)
    rows = [_row(answered) for answered in found.values()]
    return [row for row in rows if row is not None]


def _row(records: list[Record]) -> Row | None:
    one = records[0]
    values: dict[str, dict[int, float]] = defaultdict(dict)
    for record in records:
        values[record.solver][record.seed] = float(record.value or 0.0)
    seeds = sorted(values[OLD].keys() & values[NEW].keys())
    if not seeds:
        return None
    old, new = (fmean(values[version][seed] for seed in seeds) for version in (OLD, NEW))
    proved = [math.floor(record.bound) for record in records if record.bound is not None]
    bound = float(min(proved)) if proved and one.form == "max_size" else None
    losses = {seed: _losses(one, bound, values[OLD][seed], values[NEW][seed]) for seed in seeds}
    least = 1.0 if one.form == "max_size" else _SMALLEST_SHARE * (one.random_norm or 1.0)
    mean_old, mean_new = _losses(one, bound, old, new)
    peers = {
        name: median(of.values()) for name, of in values.items() if name not in {OLD, NEW} and of
    }
    mine = median(values[NEW].values())
    return Row(
        one.instance,
        one.form,
        old,
        new,
        bound,
        ratio=geometric_mean(
            (after + least) / (before + least) for before, after in losses.values()
        ),
        is_worse=mean_new > _WORSE * mean_old
        and (one.form == "min_norm" or old - new > _FEW_EXAMPLES),
        peers=peers,
        is_first=all(_is_level(one.form, mine, value) for value in peers.values()),
    )


def _losses(one: Record, bound: float | None, old: float, new: float) -> tuple[float, float]:
    """Give two numbers, of the old version and the new, whose quotient is the ratio."""
    if one.form == "min_norm":
        return old, new
    if bound is None and max(old, new) < one.n / 2:
        # Sizes: the smaller is the worse, so they change places.
        return new, old
    most = one.n if bound is None else bound
    return most - old, most - new


def _is_level(form: str, mine: float, other: float) -> bool:
    return mine <= other * _LEVEL_NORM if form == "min_norm" else mine >= other - _LEVEL_SIZE


def summary(records: Sequence[Record]) -> str:
    """Write the verdict in lines of text."""
    rows = rows_of(records)
    versions = [record for record in records if record.solver in {OLD, NEW}]
    pairs = {(record.instance, record.seed) for record in versions}
    lines = [f"{len(rows)} instances, {len(pairs)} pairs of runs"]
    lines += _of_form("Eq. 4, norm new/old", [row for row in rows if row.form == "min_norm"])
    lines += _of_form(
        "Eq. 3, missing + 1, new/old", [row for row in rows if row.form == "max_size"]
    )
    lines += _shares([row for row in rows if row.form == "max_size"])
    unanswered = sorted({name for name, _ in pairs} - {row.instance for row in rows})
    if unanswered:
        lines.append(f"not answered by both: {', '.join(unanswered)}")
    worse = [row for row in rows if row.is_worse]
    lines.append(f"worse by more than 10 %: {len(worse)} of {len(rows)}")
    lines += _extremes(rows)
    lines += _against_peers(rows)
    lines += _costs(versions)
    return "\n".join(lines)


def _of_form(title: str, rows: Sequence[Row]) -> list[str]:
    """Give the geometric mean of the ratios, in all and for each kind of rows."""
    if not rows:
        return []
    kinds: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        kinds[row.instance.partition("/")[0].partition("-")[0]].append(row.ratio)
    ratios = [row.ratio for row in rows]
    all_of_them = f"{geometric_mean(ratios):.3f}{_error(ratios)} on {len(rows)}"
    parts = [f"{kind} {geometric_mean(of):.3f}" for kind, of in sorted(kinds.items())]
    return [f"{title}: geometric mean {all_of_them} ({', '.join(parts)})"]


def _error(ratios: Sequence[float]) -> str:
    """Give the standard error of a geometric mean, as the factor by which it may be off."""
    if len(ratios) < 2:
        return ""
    spread = stdev(math.log(ratio) for ratio in ratios)
    return f", standard error a factor of {math.exp(spread / math.sqrt(len(ratios))):.3f},"


def _shares(rows: Sequence[Row]) -> list[str]:
    """Compare the mean shares of the bound that are missing, where there is a bound."""
    pairs = [
        ((row.bound - row.old) / row.bound, (row.bound - row.new) / row.bound)
        for row in rows
        if row.bound
    ]
    if not pairs:
        return []
    old, new = fmean(pair[0] for pair in pairs), fmean(pair[1] for pair in pairs)
    ratio = f", ratio {new / old:.3f}" if old else ""
    return [f"Eq. 3, mean share of the bound missing: old {old:.4%}, new {new:.4%}{ratio}"]


def _extremes(rows: Sequence[Row]) -> list[str]:
    ordered = sorted(rows, key=lambda row: row.ratio)
    lines = ["worst (old, new, bound, ratio; * worse by more than 10 %):"]
    lines += [_line(row) for row in ordered[::-1][:_EXTREMES]]
    return [*lines, "best:", *(_line(row) for row in ordered[:_EXTREMES])]


def _line(row: Row) -> str:
    bound = "-" if row.bound is None else f"{row.bound:.0f}"
    mark = " *" if row.is_worse else ""
    return f"  {row.instance:46s} {row.old:11.6g} {row.new:11.6g} {bound:>7s} {row.ratio:.3f}{mark}"


def _against_peers(rows: Sequence[Row]) -> list[str]:
    measured = [row for row in rows if row.peers]
    if not measured:
        return []
    first = [row for row in measured if row.is_first]
    lines = [
        f"new is first or level with the peers on {len(first)} of {len(measured)}: "
        f"{len(first) / len(measured):.1%}"
    ]
    for row in measured:
        if not row.is_first:
            best = (max if row.form == "max_size" else min)(row.peers, key=row.peers.__getitem__)
            lines.append(f"  {row.instance}: new {row.new:.6g}, {best} {row.peers[best]:.6g}")
    return lines


def _costs(records: Sequence[Record]) -> list[str]:
    """Say what both had of time, and where the machine favoured one."""
    lines = []
    cpu: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    for version in (OLD, NEW):
        mine = [record for record in records if record.solver == version]
        spent = sum(record.wall_time or 0.0 for record in mine)
        used = sum(record.cpu_time or 0.0 for record in mine)
        over = max((record.overshoot or 0.0 for record in mine), default=0.0)
        lines.append(
            f"{version}: {spent:.0f} s on the clock, {used:.0f} s of processor, largest excess "
            f"over the limit {over:.1%}"
        )
    for record in records:
        if record.cpu_time and record.wall_time:
            share = record.cpu_time / (record.wall_time + (record.setup_time or 0.0))
            cpu[record.instance, record.seed][record.solver] = share
    uneven = [
        key
        for key, shares in cpu.items()
        if len(shares) == 2 and max(shares.values()) > _UNEVEN * min(shares.values())
    ]
    return [*lines, f"pairs with an uneven share of the processor: {len(uneven)}"]
