"""The tables and the picture of a study: differences seed by seed, with Holm's correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from map_study import EVERYTHING, RANDOM, Metric, Study
from select_settings import SEARCH

from subsetsel.experiments.runs import Record
from subsetsel.experiments.tables import table_row
from subsetsel.support.figures import new_figure, save_figure
from subsetsel.support.files import written_whole
from subsetsel.support.paired import Paired, paired_with
from subsetsel.support.text import spoken_time

Values = dict[int, float]
"""Seed -> accuracy."""
_FEWEST_SEEDS = 3


def beside_random(methods: Mapping[str, Values]) -> dict[str, Paired]:
    """Compare all methods with random; p is corrected for all of this case and budget."""
    random = methods.get(RANDOM, {})
    others = {name: one for name, one in methods.items() if name not in {RANDOM, EVERYTHING}}
    # Two differences may be equal by chance, and the test then knows no doubt.
    return {
        name: one if _num_shared(others[name], random) >= _FEWEST_SEEDS else replace(one, p=np.nan)
        for name, one in paired_with(random, others).items()
    }


def _num_shared(mine: Values, random: Values) -> int:
    return len(mine.keys() & random.keys())


class Results:
    """All trainings of a study, by case and number kept.

    Parameters
    ----------
    study : Study
    records : sequence of dict
    """

    def __init__(self, study: Study, records: Sequence[Record]) -> None:
        self.study = study
        self.trainings = [one for one in records if one["method"] != SEARCH]
        self.searches = [one for one in records if one["method"] == SEARCH]
        self.cases = self._in_order("case", study.asked.cases)
        self.methods = self._in_order("method", study.asked.methods)
        kept = {one["num_kept"] for one in self.trainings if one["method"] != EVERYTHING}
        self.num_kept: list[int] = sorted(kept)

    def _in_order(self, key: str, order: Sequence[str]) -> list[str]:
        there = dict.fromkeys(one[key] for one in self.trainings)
        return [name for name in order if name in there] + [n for n in there if n not in order]

    def runs(self, case: str, num_kept: int) -> dict[str, list[Record]]:
        """Give the trainings of each method, with those on everything first."""
        found: dict[str, list[Record]] = {}
        for one in self.trainings:
            if one["case"] == case and (one["num_kept"] == num_kept or one["method"] == EVERYTHING):
                found.setdefault(one["method"], []).append(one)
        return {name: found[name] for name in self.methods if name in found}

    def values(self, case: str, num_kept: int, metric: str = "accuracy") -> dict[str, Values]:
        """Give what was measured: method -> seed -> value."""
        return {
            name: {one["seed"]: one[metric] for one in runs}
            for name, runs in self.runs(case, num_kept).items()
        }


def overview(results: Results) -> list[str]:
    """Write one table for each number kept: cases down, methods across, points from random."""
    lines: list[str] = []
    names = [name for name in results.methods if name not in {RANDOM, EVERYTHING}]
    for num_kept in results.num_kept:
        lines += ["", f"### {num_kept:,} kept: points of accuracy from random", ""]
        lines += [table_row(["case", "random, %", *names]), table_row(["---"] * (len(names) + 2))]
        for case in results.cases:
            values = results.values(case, num_kept)
            if RANDOM not in values:
                continue
            beside = beside_random(values)
            mean = 100 * float(np.mean(list(values[RANDOM].values())))
            cells = []
            for name in names:
                num = _num_shared(values.get(name, {}), values[RANDOM])
                fewer = f" ({num} seeds)" if num < len(values[RANDOM]) else ""
                cells.append(_marked(beside[name]) + fewer if name in beside else "")
            lines.append(table_row([case, f"{mean:.1f}", *cells]))
    return lines


def _marked(one: Paired) -> str:
    text = f"{100 * one.mean:+.1f}"
    return {1: f"**{text}**", 0: text, -1: f"*{text}*"}[one.sign]


def details(results: Results) -> list[str]:
    """Write a table for each case and number kept, with every metric."""
    study, lines = results.study, list[str]()
    titles = [metric.title for metric in study.metrics.values()]
    heads = ["method", "accuracy, %", "sd", "minus random (95 %), Holm's p", *titles, "seeds"]
    for case in results.cases:
        for num_kept in results.num_kept:
            runs = results.runs(case, num_kept)
            if RANDOM not in runs:
                continue
            lines += ["", f"### {case}, {num_kept:,} kept", ""]
            lines += [table_row(heads), table_row(["---"] * len(heads))]
            beside = beside_random(results.values(case, num_kept))
            for name, mine in runs.items():
                accuracy = 100 * np.array([one["accuracy"] for one in mine])
                spread = f"{accuracy.std(ddof=1):.2f}" if len(mine) > 1 else "-"
                others = [_mean(mine, key, one) for key, one in study.metrics.items()]
                ahead = str(beside[name]) if name in beside else ""
                row = [name, f"{accuracy.mean():.2f}", spread, ahead, *others, str(len(mine))]
                lines.append(table_row(row))
    return lines


def _mean(runs: Sequence[Record], key: str, metric: Metric) -> str:
    return metric.form.format(metric.factor * float(np.mean([one[key] for one in runs])))


def told_searches(results: Results) -> list[str]:
    """Say what the referee found in each case."""
    lines = []
    for one in results.searches:
        found = one["composition"]
        shares = ", ".join(
            f"{name.replace('_', ' ')} {found[name]:.2f}"
            for name in ("hard_cut", "easy_cut", "evenness", "class_balance")
        )
        lines.append(
            f"- {one['case']}, {one['num_kept']:,} kept: {one['rule']} ({shares}, "
            f"{found['choice']}); {one['num_trainings']} trainings, {one['train_time']:.0f} s"
        )
    return lines


def page(study: Study, sittings: Sequence[Mapping[str, Any]]) -> str:
    """Write the page of a study."""
    results = Results(study, study.log.records)
    lines = [f"# {study.title}", ""]
    # A command that went on where it stopped has said the same several times.
    lines += dict.fromkeys(
        f"{one['date'][:10]}, {one['cpu']}, {one['cores']} cores, {one['threads']} thread a "
        f"process; `{one['command']}`"
        for one in sittings
    )
    everything = [*results.trainings, *results.searches]
    spent = sum(one["train_time"] for one in everything)
    lines += [
        "",
        study.about,
        "",
        "Accuracy is that of the last step on test examples. A seed draws everything anew; the "
        "methods of a seed share it, so differences are taken seed by seed, over the seeds that "
        "both have; where these are fewer, their number stands there. In bold what is surely "
        "ahead of random, in italics what is surely behind: paired t-test, p < .05 after Holm's "
        "correction for all methods of its case and number kept, with three seeds at least.",
        "",
        f"{len(results.trainings)} trainings and {len(results.searches)} searches took "
        f"{spoken_time(spent)} of one thread.",
    ]
    lines += overview(results)
    searched = told_searches(results)
    if searched:
        lines += ["", "### What the referee found", "", *searched]
    lines += ["", "## Every case", *details(results)]
    return "\n".join([*lines, ""])


def write_report(study: Study, folder: Path, sittings: Sequence[Mapping[str, Any]]) -> str:
    """Write the table and the picture of what is there; give the table."""
    text = page(study, sittings)
    with written_whole(folder / "table.md") as part:
        part.write_text(text)
    results = Results(study, study.log.records)
    if results.num_kept:
        draw(results, folder / "map.png")
    return text


def draw(results: Results, path: Path) -> None:
    """Draw the differences from random: cases down, a panel for each number kept."""
    names = [name for name in results.methods if name not in {RANDOM, EVERYTHING}]
    figure, panels = new_figure(len(results.num_kept), results.study.title)
    figure.set_figheight(1.2 + 0.16 * len(names) * len(results.cases))
    figure.set_figwidth(2.5 + 4.5 * len(results.num_kept))
    for panel, num_kept in zip(panels, results.num_kept, strict=True):
        panel.axvline(0, color="#444", linewidth=1)
        for place, name in enumerate(names):
            for row, case in enumerate(results.cases):
                one = beside_random(results.values(case, num_kept)).get(name)
                if one is None:
                    continue
                y = row + 0.8 * ((place + 0.5) / len(names) - 0.5)
                panel.errorbar(
                    100 * one.mean,
                    y,
                    xerr=[[100 * (one.mean - one.low)], [100 * (one.high - one.mean)]],
                    fmt="osD^vPX*"[place % 8],
                    color=f"C{place}",
                    markerfacecolor=f"C{place}" if one.sign else "white",
                    markersize=5,
                    capsize=2,
                    label=name if not row else None,
                )
        panel.set(yticks=range(len(results.cases)), ylim=(len(results.cases) - 0.5, -0.5))
        panel.set_yticklabels(results.cases if panel is panels[0] else [])
        panel.set_xscale("symlog", linthresh=2.0)
        panel.xaxis.set_major_formatter("{x:+g}")
        panel.set_xlabel("minus random, points, 95 % intervals")
        panel.set_title(f"{num_kept:,} kept")
        panel.spines[["top", "right"]].set_visible(False)
        for line in range(1, len(results.cases)):
            panel.axhline(line - 0.5, color="#ddd", linewidth=0.8)
    # With one seed there are no intervals, and nothing is drawn.
    if panels[0].containers:
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    save_figure(figure, path)
