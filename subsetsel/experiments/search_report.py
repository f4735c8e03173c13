"""Table 1: what a search on each proxy finds, and how well it ranks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from subsetsel.experiments.compare import WHOLE
from subsetsel.experiments.runs import Record
from subsetsel.experiments.search import SearchPlan
from subsetsel.experiments.statistics import rank_correlation
from subsetsel.support.figures import new_figure, save_figure
from subsetsel.support.files import written_whole

_TOP = 10


@dataclass(frozen=True)
class ProxyResult:
    """What a search on one proxy gives, one number per seed.

    Attributes
    ----------
    found : tuple of str
        The network with the highest validation accuracy on the proxy.
    accuracy : tuple of float
        Test accuracy of that network trained on the whole set.
    correlation, top_correlation : tuple of float
        Spearman's, between validation accuracies on the proxy and on the whole set: of all
        networks, and of the ten that are best on the proxy.
    cpu_time, train_time : tuple of float
        Seconds of training all networks: of the processor, and by the clock on the wall.
    num_images : int
        Storage.
    """

    found: tuple[str, ...]
    accuracy: tuple[float, ...]
    correlation: tuple[float, ...]
    top_correlation: tuple[float, ...]
    cpu_time: tuple[float, ...]
    train_time: tuple[float, ...]
    num_images: int


Table = dict[tuple[str, int], dict[str, Record]]


def _by_proxy(records: Sequence[Record]) -> Table:
    table: Table = {}
    for record in records:
        table.setdefault((record["proxy"], record["seed"]), {})[record["network"]] = record
    return table


def results(records: Sequence[Record]) -> dict[str, ProxyResult]:
    """Evaluate every proxy over the networks that were trained on it and on the whole set.

    Returns
    -------
    dict
        Proxy -> result; empty without the whole set.
    """
    table = _by_proxy(records)
    lines: dict[str, dict[str, list[Any]]] = {}
    num_images: dict[str, int] = {}
    for (proxy, seed), rows in table.items():
        whole = table.get((WHOLE, seed), {})
        names = sorted(rows.keys() & whole.keys())
        if len(names) < 3:
            continue
        here = np.array([rows[name]["accuracy"] for name in names])
        there = np.array([whole[name]["accuracy"] for name in names])
        top = np.argsort(-here, kind="stable")[:_TOP]
        best = names[int(top[0])]
        columns: dict[str, Any] = {
            "found": best,
            "accuracy": whole[best]["test_accuracy"],
            "correlation": rank_correlation(here, there),
            "top_correlation": rank_correlation(here[top], there[top]),
            "cpu_time": sum(rows[name]["cpu_time"] for name in names),
            "train_time": sum(rows[name]["train_time"] for name in names),
        }
        num_images[proxy] = rows[names[0]]["num_kept"]
        for name, value in columns.items():
            lines.setdefault(proxy, {}).setdefault(name, []).append(value)
    return {
        proxy: ProxyResult(num_images=num_images[proxy], **{k: tuple(v) for k, v in of.items()})
        for proxy, of in lines.items()
    }


def ceiling(records: Sequence[Record]) -> tuple[float, ...]:
    """How well the whole set ranks the networks as it does itself with another seed.

    No proxy can be expected to do better.

    Returns
    -------
    tuple of float
        Spearman's correlation of every pair of seeds; empty with one.
    """
    table = _by_proxy(records)
    whole = [rows for (proxy, _), rows in table.items() if proxy == WHOLE]
    found = []
    for first, second in itertools.combinations(whole, 2):
        names = sorted(first.keys() & second.keys())
        if len(names) > 2:
            values = [[rows[name]["accuracy"] for name in names] for rows in (first, second)]
            found.append(rank_correlation(*values))
    return tuple(found)


def search_markdown(records: Sequence[Record]) -> str:
    """Write Table 1: means over seeds, with their standard deviation.

    Returns
    -------
    str
    """
    found = results(records)
    lines = ["| | " + " | ".join(found) + " |", "|---" * (len(found) + 1) + "|"]
    every = list(found.values())
    rows = {
        "test accuracy of the network found %": [_spread(r.accuracy, 100) for r in every],
        "rank correlation, all": [_spread(r.correlation) for r in every],
        f"rank correlation, top {_TOP}": [_spread(r.top_correlation) for r in every],
        "processor time a seed (s)": [f"{np.mean(r.cpu_time):.0f}" for r in every],
        "time a seed (s)": [f"{np.mean(r.train_time):.0f}" for r in every],
        "storage (images)": [f"{r.num_images:,}" for r in every],
        "network found": [", ".join(f"`{n}`" for n in dict.fromkeys(r.found)) for r in every],
    }
    lines += ["| " + " | ".join([name, *values]) + " |" for name, values in rows.items()]
    between = ceiling(records)
    if between:
        lines += ["", f"Whole set against itself with another seed, all: {_spread(between)}."]
    return "\n".join(lines) + "\n"


def _spread(values: Sequence[float], scale: float = 1.0) -> str:
    scaled = scale * np.array(values)
    spread = f" ± {scaled.std(ddof=1):.2f}" if len(scaled) > 1 else ""
    return f"{scaled.mean():.2f}{spread}"


def write_search_report(plan: SearchPlan, records: Sequence[Record], folder: Path) -> None:
    """Write ``table.md`` and ``figure.png`` into the folder."""
    num = len({record["network"] for record in records})
    notes = (
        f"{num} of the 720 networks on {plan.data}"
        f"{', pictures shrunk to half their sides' * plan.is_halved}. Networks are ranked on "
        f"{plan.validation_share:.0%} of the training half, held out of everything; the accuracy "
        "is that of the test half, of the network found, trained on the whole set. Proxies of "
        f"{plan.num_kept:,} images, class balanced, chosen from {plan.scorer} "
        f"({plan.scorer_recipe}). Whole set: {plan.recipe}. Proxies: {plan.proxy_recipe}. "
        f"Seeds {', '.join(map(str, plan.seeds))}: mean ± standard deviation. Times are of the "
        "trainings alone; the processor's is free of what else the machine did.\n\n"
    )
    with written_whole(folder / "table.md") as part:
        part.write_text(f"# Network search (Table 1)\n\n{notes}{search_markdown(records)}")
    draw_search(records, folder / "figure.png")


def draw_search(records: Sequence[Record], path: Path) -> None:
    """Draw accuracy on each proxy against accuracy on the whole set, all seeds."""
    found, table = results(records), _by_proxy(records)
    figure, (axes,) = new_figure(1, "Networks ranked on proxies and on the whole set")
    for number, proxy in enumerate(name for name in found if name != WHOLE):
        pairs = [
            (100 * table[WHOLE, seed][name]["accuracy"], 100 * record["accuracy"])
            for (other, seed), rows in table.items()
            if other == proxy and (WHOLE, seed) in table
            for name, record in rows.items()
            if name in table[WHOLE, seed]
        ]
        axes.plot(
            *zip(*pairs, strict=True),
            "os^vDP"[number % 6],
            markersize=4,
            label=f"{proxy} (rank correlation {np.mean(found[proxy].correlation):.2f})",
        )
    axes.set_xlabel("validation accuracy, trained on the whole set (%)")
    axes.set_ylabel("trained on the proxy (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    save_figure(figure, path)
