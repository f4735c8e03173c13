"""The table of `probe`: its runs in a file, means with errors, and a picture."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from subsetsel.support.figures import new_figure, save_figure
from subsetsel.support.files import written_whole

DATA = ("sentences", "fmnist-pca128", "cifar10-pca128")
EVERYTHING, FIRST_ORDER, OURS = "everything", "joint, first order", "joint, re-linearised"
# A change of the package may change what these choose, and leaves the others as they are.
OF_THE_PACKAGE = (FIRST_ORDER, OURS)
OTHERS = ("random", "random, class-balanced", "herding per class", "facility location")
METHODS = (*OTHERS, *OF_THE_PACKAGE)


@dataclass(frozen=True)
class Run:
    """One method, at one share, on the examples of one seed."""

    data: str
    seed: int
    share: float
    method: str
    l2: float
    n: int
    num_kept: int
    accuracy: float
    change: float
    theta_norm: float
    seconds: float
    code: str
    date: str

    @property
    def key(self) -> tuple[Any, ...]:
        """What is not measured twice."""
        return self.data, self.seed, self.share, self.method


def read_runs(path: Path, code: str) -> list[Run]:
    """Read what is there and still holds, and leave nothing else in the file.

    Runs of other code are dropped where a change of the package may change the choice, and so is a
    line that a killed run left half written.
    """
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        lines = [line for line in csv.DictReader(stream) if None not in line.values()]
    kinds: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "str": str}
    runs = [
        Run(**{f.name: kinds[str(f.type)](line[f.name]) for f in fields(Run)}) for line in lines
    ]
    valid = [run for run in runs if run.code == code or run.method not in OF_THE_PACKAGE]
    if len(valid) < len(runs):
        print(f"{len(runs) - len(valid)} runs are of other code and will be done again")
    with written_whole(path) as part:
        append(part, valid)
    return valid


def append(path: Path, runs: list[Run]) -> None:
    """Add runs to the table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, [f.name for f in fields(Run)])
        if not stream.tell():
            writer.writeheader()
        writer.writerows(asdict(run) for run in runs)


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """Mean and its standard error, NaN for a single value."""
    spread = np.std(values, ddof=1) if len(values) > 1 else float("nan")
    return float(np.mean(values)), float(spread / np.sqrt(len(values)))


def paired(ours: list[Run], others: list[Run]) -> tuple[float, float]:
    """Mean difference of accuracy over the common seeds, and half its 95 % interval (Student's)."""
    theirs = {run.seed: run.accuracy for run in others}
    differences = [run.accuracy - theirs[run.seed] for run in ours if run.seed in theirs]
    mean, error = mean_and_error(differences)
    return mean, float(error * student.ppf(0.975, len(differences) - 1))


def cells(runs: list[Run]) -> dict[tuple[str, float], dict[str, list[Run]]]:
    """Sort runs: (data, share) -> method -> its runs, in the order of the seeds."""
    found: dict[tuple[str, float], dict[str, list[Run]]] = {}
    for run in sorted(runs, key=lambda run: (DATA.index(run.data), run.share, run.seed)):
        found.setdefault((run.data, run.share), {}).setdefault(run.method, []).append(run)
    return found


def table(runs: list[Run]) -> str:
    """Tell accuracy, change and seconds of every method, and how far ours is from others.

    A number after +- is a standard error in the lines of methods, and half of a 95 % interval in
    those of differences; it is nan where there is one seed only.
    """
    lines = []
    for (name, share), methods in cells(runs).items():
        lines.append(f"{name}, {share:.1%} kept" if share < 1 else f"{name}, everything")
        for method in (EVERYTHING, *METHODS):
            if method not in methods:
                continue
            mine = methods[method]
            accuracy, error = mean_and_error([100 * run.accuracy for run in mine])
            change, _ = mean_and_error([run.change / run.theta_norm for run in mine])
            seconds, _ = mean_and_error([run.seconds for run in mine])
            lines.append(
                f"  {method:22} {accuracy:6.2f} +- {error:4.2f} %   moved by {change:6.2%} of the "
                f"norm   {seconds:6.1f} s   {len(mine)} seeds"
            )
        lines += differences(methods)
    return "\n".join(lines)


def differences(methods: dict[str, list[Run]]) -> list[str]:
    """Tell how far ours is from the best of the others, and from first order, seed by seed."""
    rivals = {method: runs for method, runs in methods.items() if method in OTHERS}
    if OURS not in methods or not rivals:
        return []
    # The best by its mean: chosen afterwards, which is in its favour.
    best = max(rivals, key=lambda method: mean_and_error([r.accuracy for r in rivals[method]])[0])
    lines = []
    for other in (best, FIRST_ORDER):
        if other in methods:
            mean, half = paired(methods[OURS], methods[other])
            lines.append(f"  {OURS} minus {other}: {100 * mean:+.2f} +- {100 * half:.2f} points")
    return lines


def draw(runs: list[Run], path: Path) -> None:
    """Draw accuracy over what is kept, a panel for each data set, with standard errors."""
    names = [name for name in DATA if any(run.data == name for run in runs)]
    figure, axes = new_figure(len(names), "Softmax probe refitted exactly on what is kept")
    found = cells(runs)
    for name, axis in zip(names, axes, strict=True):
        for colour, method in enumerate(METHODS):
            mine = {s: by[method] for (d, s), by in found.items() if d == name and method in by}
            if not mine:
                continue
            points = [mean_and_error([100 * r.accuracy for r in each]) for each in mine.values()]
            axis.errorbar(
                [100 * share for share in mine],
                [mean for mean, _ in points],
                [error for _, error in points],
                marker="o",
                markersize=4,
                capsize=3,
                color=f"C{colour}",
                linewidth=2.0 if method == OURS else 1.2,
                label=method,
            )
        whole = [100 * r.accuracy for r in found.get((name, 1.0), {}).get(EVERYTHING, [])]
        if whole:
            axis.axhline(float(np.mean(whole)), color="grey", linestyle="--", label=EVERYTHING)
        ticks = sorted({100 * share for d, share in found if d == name and share < 1})
        axis.set(xscale="log", title=name, xlabel="% of the examples kept", xticks=ticks)
        axis.set_xticklabels([f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
    axes[0].set_ylabel("test accuracy, %")
    axes[-1].legend(fontsize=7, loc="lower right")
    save_figure(figure, path)
