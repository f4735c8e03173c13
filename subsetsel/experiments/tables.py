"""Runs as a table with spread and paired tests, and as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.experiments.plan import WHOLE
from subsetsel.experiments.runs import Record
from subsetsel.support.figures import new_figure, save_figure
from subsetsel.support.files import written_whole
from subsetsel.support.paired import paired_with

# Points of accuracy. What lies further below is left out of pictures, and said to be: scores that
# keep the hardest can fall by sixty, which would flatten everything else.
_BELOW_CHANCE = 10.0
_RIVALS = ("random", "strata", "strata_gentle")

Group = dict[int, float]
"""Seed -> accuracy, 0 to 1."""


def by_cell(records: Sequence[Record]) -> dict[tuple[str, int, str], Group]:
    """Sort runs: (network, num_kept, method) -> its group, in the order of first appearance."""
    found: dict[tuple[str, int, str], Group] = {}
    for record in records:
        cell = record["network"], record["num_kept"], record["method"]
        found.setdefault(cell, {})[record["seed"]] = record["accuracy"]
    return found


def markdown(records: Sequence[Record]) -> str:
    """Write a table per network and budget, best method first.

    Every method is compared with each of `_RIVALS`, seed by seed.

    Returns
    -------
    str
        Accuracy in percent as mean and standard deviation over seeds; differences in points with
        their 95 % interval and the p of the paired t-test, corrected by Holm for the number of
        methods that a rival is compared with.
    """
    cells = by_cell(records)
    blocks = []
    for network, num_kept in dict.fromkeys(cell[:2] for cell in cells):
        groups = {c[2]: group for c, group in cells.items() if c[:2] == (network, num_kept)}
        beside = {
            rival: paired_with(groups[rival], {m: g for m, g in groups.items() if m != rival})
            for rival in _RIVALS
            if rival in groups
        }
        heads = ["method", "seeds", "accuracy %", *(f"minus {r} (95 %), Holm's p" for r in beside)]
        lines = [f"**{network}, {num_kept:,} kept**", ""]
        lines += [table_row(heads), table_row(["---"] * len(heads))]
        for method in sorted(groups, key=lambda name: -_mean(groups[name])):
            mine = groups[method]
            row = [method, str(len(mine)), spread([100 * value for value in mine.values()])]
            row += [str(found.get(method, "-")) for found in beside.values()]
            lines.append(table_row(row))
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def table_row(entries: Sequence[str]) -> str:
    """Write one row of a markdown table."""
    return "| " + " | ".join(entries) + " |"


def spread(values: ArrayLike) -> str:
    """Write a mean with its standard deviation, without where there is one value."""
    v = np.asarray(values, dtype=np.float64)
    return f"{v.mean():.2f} ± {v.std(ddof=1):.2f}" if len(v) > 1 else f"{v.mean():.2f}"


def _mean(group: Group) -> float:
    return float(np.mean(list(group.values())))


def write_table(records: Sequence[Record], path: Path, title: str, notes: str = "") -> None:
    """Write the markdown table to a file, whole or not at all."""
    with written_whole(path) as part:
        part.write_text(f"# {title}\n\n{notes}{markdown(records)}")


def draw_budgets(records: Sequence[Record], path: Path, title: str, num_examples: int) -> None:
    """Draw mean accuracy over what is pruned, a panel per network (Figures 1 and 3).

    Parameters
    ----------
    num_examples : int
        n, of which ``num_kept`` is a share.
    """
    cells = by_cell(records)
    networks = list(dict.fromkeys(network for network, _, _ in cells))
    figure, panels = new_figure(len(networks), title)
    for axes, network in zip(panels, networks, strict=True):
        mine = {c[1:]: group for c, group in cells.items() if c[0] == network}
        chance = [_mean(group) for (_, name), group in mine.items() if name == "random"]
        floor = 100 * min(chance, default=0.0) - _BELOW_CHANCE
        for number, method in enumerate(dict.fromkeys(name for _, name in mine)):
            if method == WHOLE:
                whole = 100 * _mean(mine[num_examples, WHOLE])
                axes.axhline(whole, color="#8a8f98", lw=1, ls=":", label="nothing pruned")
                continue
            budgets = sorted((k for k, name in mine if name == method), reverse=True)
            values = [100 * np.array(list(mine[k, method].values())) for k in budgets]
            axes.errorbar(
                [100 * (1 - k / num_examples) for k in budgets],
                [v.mean() for v in values],
                yerr=[v.std(ddof=1) if len(v) > 1 else 0.0 for v in values],
                label=method if max(v.mean() for v in values) >= floor else f"{method} (below)",
                color=f"C{number % 10}",
                ls="-" if method.startswith("joint") else "--",
                marker="os^vDPX*"[number % 8],
                markersize=4,
                capsize=2,
                lw=1.2,
            )
        axes.set_ylim(bottom=max(floor, axes.get_ylim()[0]))
        axes.set_title(network)
        axes.set_xlabel("pruned (% of the training examples)")
        axes.set_ylabel("test accuracy (%)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=7)
    save_figure(figure, path)


def draw_curves(records: Sequence[Record], path: Path, title: str, *, is_cpu: bool = False) -> None:
    """Draw test accuracy over the seconds spent in training (Figure 4); one line per run.

    Parameters
    ----------
    is_cpu : bool
        Whether a processor trained: its own time is drawn, which other work does not lengthen.
    """
    figure, (axes,) = new_figure(1, title)
    names = list(dict.fromkeys((r["method"], r["num_kept"]) for r in records))
    for record in records:
        name = record["method"], record["num_kept"]
        _, seconds, cpu_seconds, accuracy = zip(*record["curve"], strict=True)
        is_first = record is next(r for r in records if (r["method"], r["num_kept"]) == name)
        label = f"{name[0]}, {name[1]:,} kept" if is_first else None
        colour = f"C{names.index(name) % 10}"
        times = cpu_seconds if is_cpu else seconds
        axes.plot(times, 100 * np.array(accuracy), color=colour, lw=1, label=label)
    axes.set_xlabel(f"{'processor' if is_cpu else 'training'} time (s)")
    axes.set_ylabel("test accuracy (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    save_figure(figure, path)
