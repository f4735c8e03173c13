"""Tables on screen and the plot of quality over time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness import Record
from metrics import (
    gap_to_best,
    integral_reference,
    primal_gap,
    primal_integral,
    shifted_geometric_mean,
    target_value,
    time_to_target,
)
from rich.console import Console
from rich.table import Table

# Norms up to this factor apart count as level.
_LEVEL_NORM = 1.02
_MAX_REASON = 80


@dataclass(frozen=True)
class Reference:
    """What an instance's runs are measured against.

    Attributes
    ----------
    best : float
        Best known objective.
    random_norm : float
    """

    best: float
    random_norm: float


@dataclass(frozen=True)
class Row:
    """One solver on one instance with one time limit, over its seeds."""

    records: list[Record]
    reference: Reference

    @property
    def task(self) -> tuple[str, float]:
        """Instance and time limit."""
        return self.records[0].instance, self.records[0].time_limit

    @property
    def values(self) -> list[float]:
        """Objectives of the seeds that found something."""
        return [float(record.value) for record in self.records if record.value is not None]

    @property
    def median(self) -> float | None:
        """Median objective; None unless every seed found something."""
        return statistics.median(self.values) if len(self.values) == len(self.records) else None

    @property
    def gap_to_best(self) -> float | None:
        """Distance of the median to the best known value."""
        return gap_to_best(self.records[0].form, self.median, self.reference.best)

    @property
    def integral(self) -> float:
        """Mean primal integral."""
        first = self.records[0]
        best, random_norm = self.reference.best, self.reference.random_norm
        reference = integral_reference(first.form, best, random_norm)
        return statistics.fmean(
            primal_integral(record.form, record.trace, record.time_limit, reference)
            for record in self.records
        )

    @property
    def times_to_target(self) -> list[float]:
        """One for each seed, inf where the target was missed."""
        first = self.records[0]
        target = target_value(first.form, self.reference.best, self.reference.random_norm)
        return [time_to_target(record.form, record.trace, target) for record in self.records]

    def is_level_with(self, others: Sequence[Row]) -> bool:
        """Whether no other solver's median is better, but for one example or 2 % of the norm."""
        if self.median is None:
            return False
        medians = [row.median for row in others if row.median is not None]
        if self.records[0].form == "max_size":
            return self.median >= max(medians) - 1
        return self.median <= min(medians) * _LEVEL_NORM


def show_instances(
    console: Console, records: Sequence[Record], references: Mapping[str, Reference]
) -> None:
    """Print one table per instance and time limit."""
    for instance in dict.fromkeys(record.instance for record in records):
        mine = [record for record in records if record.instance == instance]
        for limit in sorted({record.time_limit for record in mine}):
            group = [record for record in mine if record.time_limit == limit]
            console.print(_instance_table(instance, limit, group, references.get(instance)))


def _instance_table(
    instance: str, limit: float, records: list[Record], reference: Reference | None
) -> Table:
    first = records[0]
    best = "none known" if reference is None else f"{reference.best:.6g}"
    is_max = first.form == "max_size"
    table = Table(
        title=f"{instance}  (n = {first.n:,}, d = {first.d:,}, {limit:g} s, best known {best})",
        title_justify="left",
    )
    value = "size" if is_max else "norm"
    proof = "gap to bound" if is_max else "norm / random"
    names = ["solver", value, proof, "off best", "s to target", "integral", "wall s", "over"]
    for name in [*names, "check"]:
        table.add_column(name, justify="left" if name in {"solver", "check"} else "right")
    for solver in dict.fromkeys(record.solver for record in records):
        mine = [record for record in records if record.solver == solver]
        run = [record for record in mine if record.outcome in {"ok", "failed"}]
        if not run or reference is None:
            table.add_row(solver, *["-"] * 7, _verdict(mine))
            continue
        table.add_row(solver, *_cells(Row(run, reference), is_max), _verdict(mine))
    return table


def _cells(row: Row, is_max: bool) -> list[str]:
    proofs = [record.gap if is_max else record.norm_over_random for record in row.records]
    known = [proof for proof in proofs if proof is not None]
    walls = [record.wall_time or 0.0 for record in row.records]
    overs = [record.overshoot or 0.0 for record in row.records]
    return [
        _number(row.median, "{:,.0f}" if is_max else "{:.5g}"),
        _number(statistics.median(known) if known else None, "{:.4%}"),
        _off_best(row, is_max),
        _number(statistics.median(row.times_to_target), "{:.2f}", "never"),
        f"{row.integral:.4f}",
        f"{statistics.median(walls):.2f}",
        f"{max(0.0, *overs):.1%}",
    ]


def _off_best(row: Row, is_max: bool) -> str:
    """Share of the size that is missing, or the factor of the norm."""
    gap = row.gap_to_best
    if is_max or gap is None:
        return _number(gap, "{:.3%}")
    return _number(1 + gap, "x {:.4g}")


def _number(value: float | None, pattern: str, infinite: str = "inf") -> str:
    if value is None:
        return "-"
    return pattern.format(value) if math.isfinite(value) else infinite


def _verdict(records: list[Record]) -> str:
    bad = [record for record in records if record.outcome != "ok"]
    if not bad:
        return f"ok ({len(records)})" if len(records) > 1 else "ok"
    reason = bad[0].reason
    short = reason if len(reason) <= _MAX_REASON else reason[: _MAX_REASON - 3] + "..."
    return f"{bad[0].outcome}: {short}"


def show_summary(
    console: Console, records: Sequence[Record], references: Mapping[str, Reference]
) -> None:
    """Print one line per solver over all instances it took part in."""
    table = Table(title="over all instances and time limits", title_justify="left")
    names = ["solver", "taken part", "first or level", "mean off best, Eq. 3", "norm / best, Eq. 4"]
    for name in [*names, "s to target", "integral", "not ok"]:
        table.add_column(name, justify="left" if name == "solver" else "right")
    rows = rows_of(records, references)
    for solver in dict.fromkeys(row.records[0].solver for row in rows):
        mine = [row for row in rows if row.records[0].solver == solver]
        table.add_row(solver, *_summary_cells(mine, rows))
    console.print(table)
    console.print(
        "off best: against the best value known. norm / best and s to target are shifted geometric "
        "means (shift 1);\na missed target counts as the time limit, nothing found as 100 % off.",
        style="dim",
    )


def rows_of(records: Sequence[Record], references: Mapping[str, Reference]) -> list[Row]:
    """Group what was run by instance, solver and time limit."""
    groups: dict[tuple[str, str, float], list[Record]] = {}
    for record in records:
        if record.outcome in {"ok", "failed"} and record.instance in references:
            key = record.instance, record.solver, record.time_limit
            groups.setdefault(key, []).append(record)
    return [Row(group, references[key[0]]) for key, group in groups.items()]


def _summary_cells(rows: list[Row], everybody: list[Row]) -> list[str]:
    sizes = [row.gap_to_best for row in rows if row.records[0].form == "max_size"]
    norms = [row.gap_to_best for row in rows if row.records[0].form == "min_norm"]
    missing = [1.0 if gap is None else gap for gap in sizes]
    ratios = [gap for gap in norms if gap is not None and math.isfinite(gap)]
    times = [
        min(moment, row.records[0].time_limit) for row in rows for moment in row.times_to_target
    ]
    return [
        str(len(rows)),
        str(sum(row.is_level_with([r for r in everybody if r.task == row.task]) for row in rows)),
        f"{statistics.fmean(missing):.3%}" if missing else "-",
        f"{1 + shifted_geometric_mean(ratios):.3f}" if ratios else "-",
        f"{shifted_geometric_mean(times):.2f}",
        f"{statistics.fmean(row.integral for row in rows):.4f}",
        str(sum(record.outcome == "failed" for row in rows for record in row.records)),
    ]


def plot_quality(
    records: Sequence[Record], references: Mapping[str, Reference], path: Path
) -> bool:
    """Draw the distance to the best known value over time, one panel per instance.

    False says that matplotlib is not installed or that there is nothing to draw.
    """
    names = [name for name in dict.fromkeys(r.instance for r in records) if name in references]
    if not names or find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import NullFormatter

    num_columns = min(3, len(names))
    num_rows = math.ceil(len(names) / num_columns)
    figure = Figure(figsize=(4.6 * num_columns, 3.2 * num_rows))
    axes = figure.subplots(num_rows, num_columns, squeeze=False)
    solvers = list(dict.fromkeys(record.solver for record in records))
    colors = {solver: f"C{number % 10}" for number, solver in enumerate(solvers)}
    for axis, name in zip(axes.flat, names, strict=False):
        mine = [record for record in records if record.instance == name and record.trace]
        _draw_panel(axis, name, mine, references[name], colors)
        for line in (axis.xaxis, axis.yaxis):
            line.set_minor_formatter(NullFormatter())
    for axis in list(axes.flat)[len(names) :]:
        axis.set_axis_off()
    handles = [Line2D([], [], color=colors[solver], label=solver) for solver in solvers]
    figure.legend(handles=handles, loc="upper center", ncols=min(6, len(solvers)))
    figure.subplots_adjust(
        left=0.7 / 4.6 / num_columns,
        right=1 - 0.1 / 4.6 / num_columns,
        bottom=0.5 / 3.2 / num_rows,
        top=1 - 0.9 / 3.2 / num_rows,
        wspace=0.25,
        hspace=0.35,
    )
    figure.savefig(path, dpi=110)
    return True


def _draw_panel(
    axis: Any, name: str, records: list[Record], reference: Reference, colors: dict[str, str]
) -> None:
    """One line per run. The lowest decade stands for "at the best known value"."""
    floor = 1e-6 if records and records[0].form == "max_size" else 1e-4
    for record in records:
        moments = [max(1e-3, moment) for moment, _ in record.trace]
        gaps = [
            max(floor, _plotted_gap(record.form, value, reference)) for _, value in record.trace
        ]
        axis.step(
            [*moments, record.time_limit],
            [*gaps, gaps[-1]],
            where="post",
            color=colors[record.solver],
            linewidth=1,
            marker=".",
            markevery=[0],
        )
    is_max = bool(records) and records[0].form == "max_size"
    axis.set(xscale="log", yscale="log", title=name, xlabel="seconds")
    axis.set_ylabel("missing from best known size" if is_max else "norm / random norm")


def _plotted_gap(form: str, value: float, reference: Reference) -> float:
    if form == "max_size":
        return primal_gap(form, value, reference.best)
    return value / reference.random_norm
