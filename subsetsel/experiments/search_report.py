"""Table 1: what a search on each proxy finds, and how well it ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from subsetsel.disk import written_whole
from subsetsel.experiments.compare import WHOLE
from subsetsel.experiments.runs import Record
from subsetsel.experiments.search import SearchPlan
from subsetsel.experiments.statistics import rank_correlation
from subsetsel.report.plots import new_figure, save_figure

_TOP = 10


@dataclass(frozen=True)
class ProxyResult:
    """What a search on one proxy gives.

    Attributes
    ----------
    best : str
        The network with the highest validation accuracy on the proxy.
    accuracy : float
        Test accuracy of that network trained on the whole set.
    correlation, top_correlation : float
        Spearman's, between validation accuracies on the proxy and on the whole set: of all
        networks, and of the ten that are best on the proxy.
    time : float
        Seconds of training all networks.
    num_images : int
        Storage.
    """

    best: str
    accuracy: float
    correlation: float
    top_correlation: float
    time: float
    num_images: int


def results(records: Sequence[Record]) -> dict[str, ProxyResult]:
    """Evaluate every proxy over the networks that were trained on it and on the whole set.

    Returns
    -------
    dict
        Proxy -> result; empty without the whole set.
    """
    table: dict[str, dict[str, Record]] = {}
    for record in records:
        table.setdefault(record["proxy"], {})[record["network"]] = record
    whole = table.get(WHOLE, {})
    found = {}
    for proxy, rows in table.items():
        names = sorted(rows.keys() & whole.keys())
        if len(names) < 3:
            continue
        here = np.array([rows[name]["accuracy"] for name in names])
        there = np.array([whole[name]["accuracy"] for name in names])
        top = np.argsort(-here, kind="stable")[:_TOP]
        best = names[int(top[0])]
        found[proxy] = ProxyResult(
            best,
            whole[best]["test_accuracy"],
            rank_correlation(here, there),
            rank_correlation(here[top], there[top]),
            sum(rows[name]["train_time"] for name in names),
            rows[names[0]]["num_kept"],
        )
    return found


def search_markdown(records: Sequence[Record]) -> str:
    """Write Table 1.

    Returns
    -------
    str
    """
    found = results(records)
    lines = ["| | " + " | ".join(found) + " |", "|---" * (len(found) + 1) + "|"]
    rows = {
        "test accuracy of the network found %": [f"{100 * r.accuracy:.2f}" for r in found.values()],
        "rank correlation, all": [f"{r.correlation:.2f}" for r in found.values()],
        f"rank correlation, top {_TOP}": [f"{r.top_correlation:.2f}" for r in found.values()],
        "time (s)": [f"{r.time:.0f}" for r in found.values()],
        "storage (images)": [f"{r.num_images:,}" for r in found.values()],
        "network found": [f"`{r.best}`" for r in found.values()],
    }
    lines += ["| " + " | ".join([name, *values]) + " |" for name, values in rows.items()]
    return "\n".join(lines) + "\n"


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
        f"One seed ({plan.seed}). Time is of the trainings alone.\n\n"
    )
    with written_whole(folder / "table.md") as part:
        part.write_text(f"# Network search (Table 1)\n\n{notes}{search_markdown(records)}")
    draw_search(records, folder / "figure.png")


def draw_search(records: Sequence[Record], path: Path) -> None:
    """Draw accuracy on each proxy against accuracy on the whole set."""
    found = results(records)
    table = {(r["network"], r["proxy"]): 100 * r["accuracy"] for r in records}
    names = [name for name, proxy in table if proxy == WHOLE]
    figure, (axes,) = new_figure(1, "Networks ranked on 1,000 images and on all")
    for number, proxy in enumerate(name for name in found if name != WHOLE):
        here = [name for name in names if (name, proxy) in table]
        axes.plot(
            [table[name, WHOLE] for name in here],
            [table[name, proxy] for name in here],
            "os^vDP"[number % 6],
            markersize=4,
            label=f"{proxy} (rank correlation {found[proxy].correlation:.2f})",
        )
    axes.set_xlabel("validation accuracy, trained on the whole set (%)")
    axes.set_ylabel("trained on the proxy (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    save_figure(figure, path)
