"""Table 1: what a search on each proxy finds, and how well it ranks."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import ConstantInputWarning, spearmanr

from subsetsel.experiments.plan import WHOLE, Plan
from subsetsel.experiments.runs import Record
from subsetsel.experiments.tables import spread, table_row
from subsetsel.support.figures import new_figure, save_figure
from subsetsel.support.files import written_whole

_TOP = 10

Runs = dict[str, Record]
"""Network -> its training on one proxy at one seed."""


@dataclass(frozen=True)
class SearchResult:
    """What a search on one proxy gives at one seed.

    Attributes
    ----------
    found : str
        The network with the highest validation accuracy on the proxy.
    accuracy : float
        Test accuracy of that network trained on the whole set.
    correlation, top_correlation : float
        Spearman's, between validation accuracies on the proxy and on the whole set: of all
        networks, and of the ten that are best on the proxy.
    cpu_time, train_time : float
        Seconds of training all networks: of the processor, and by the clock on the wall.
    num_images : int
        Size of the proxy.
    """

    found: str
    accuracy: float
    correlation: float
    top_correlation: float
    cpu_time: float
    train_time: float
    num_images: int


def _by_proxy(records: Sequence[Record]) -> dict[tuple[str, int], Runs]:
    table: dict[tuple[str, int], Runs] = {}
    for record in records:
        table.setdefault((record["method"], record["seed"]), {})[record["network"]] = record
    return table


def _accuracies(first: Runs, second: Runs) -> tuple[list[str], list[NDArray[np.float64]]]:
    """Name the networks that both have, and list the accuracies of each."""
    names = sorted(first.keys() & second.keys())
    return names, [np.array([runs[name]["accuracy"] for name in names]) for runs in (first, second)]


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Compute Spearman's correlation; NaN where one of them is constant."""
    with warnings.catch_warnings(action="ignore", category=ConstantInputWarning):
        return float(spearmanr(first, second).statistic)


def results(records: Sequence[Record]) -> dict[str, list[SearchResult]]:
    """Evaluate every proxy, seed by seed, over the networks trained on it and on the whole set."""
    table = _by_proxy(records)
    found: dict[str, list[SearchResult]] = {}
    for (proxy, seed), runs in table.items():
        whole = table.get((WHOLE, seed), {})
        names, (here, there) = _accuracies(runs, whole)
        if len(names) < 3:
            continue
        top = np.argsort(-here, kind="stable")[:_TOP]
        best = names[int(top[0])]
        result = SearchResult(
            found=best,
            accuracy=whole[best]["test_accuracy"],
            correlation=rank_correlation(here, there),
            top_correlation=rank_correlation(here[top], there[top]),
            cpu_time=sum(runs[name]["cpu_time"] for name in names),
            train_time=sum(runs[name]["train_time"] for name in names),
            num_images=runs[best]["num_kept"],
        )
        found.setdefault(proxy, []).append(result)
    return found


def ceiling(records: Sequence[Record]) -> list[float]:
    """Correlate the whole set with itself at another seed; no proxy can be expected to do better.

    Gives one number for each pair of seeds, none where there is one seed.
    """
    whole = [runs for (proxy, _), runs in _by_proxy(records).items() if proxy == WHOLE]
    pairs = [_accuracies(*pair)[1] for pair in itertools.combinations(whole, 2)]
    return [rank_correlation(*pair) for pair in pairs if len(pair[0]) > 2]


def search_markdown(records: Sequence[Record]) -> str:
    """Write Table 1: means over seeds, with their standard deviation."""
    found = results(records)

    def row(head: str, write: Callable[[list[SearchResult]], str]) -> str:
        return table_row([head, *map(write, found.values())])

    lines = [
        table_row(["", *found]),
        table_row(["---"] * (len(found) + 1)),
        row(
            "test accuracy of the network found %",
            lambda of: spread([100 * r.accuracy for r in of]),
        ),
        row("rank correlation, all", lambda of: spread([r.correlation for r in of])),
        row(f"rank correlation, top {_TOP}", lambda of: spread([r.top_correlation for r in of])),
        row("processor time a seed (s)", lambda of: f"{np.mean([r.cpu_time for r in of]):.0f}"),
        row("time a seed (s)", lambda of: f"{np.mean([r.train_time for r in of]):.0f}"),
        row("storage (images)", lambda of: f"{of[0].num_images:,}"),
        row("network found", lambda of: ", ".join(dict.fromkeys(f"`{r.found}`" for r in of))),
    ]
    between = ceiling(records)
    if between:
        lines += ["", f"Whole set against itself with another seed, all: {spread(between)}."]
    return "\n".join(lines) + "\n"


def write_search_report(plan: Plan, records: Sequence[Record], folder: Path) -> None:
    """Write ``table.md`` and ``figure.png`` into the folder."""
    num = len({record["network"] for record in records})
    notes = (
        f"{num} of the 720 networks on {plan.data}"
        f"{', pictures shrunk to half their sides' * plan.is_halved}. Networks are ranked on "
        f"{plan.validation_share:.0%} of the training half, held out of everything; the accuracy "
        "is that of the test half, of the network found, trained on the whole set. Proxies of "
        f"{plan.num_kept[0]:,} images, class balanced, chosen from {plan.scorer} "
        f"({plan.scorer_recipe}). Whole set: {plan.recipe_of(WHOLE)}. Proxies: {plan.recipe}. "
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
            _accuracies(table.get((WHOLE, seed), {}), runs)[1]
            for (other, seed), runs in table.items()
            if other == proxy
        ]
        mean = np.mean([result.correlation for result in found[proxy]])
        axes.plot(
            *(100 * np.concatenate(pairs, axis=1)),
            "os^vDP"[number % 6],
            markersize=4,
            label=f"{proxy} (rank correlation {mean:.2f})",
        )
    axes.set_xlabel("validation accuracy, trained on the whole set (%)")
    axes.set_ylabel("trained on the proxy (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    save_figure(figure, path)
