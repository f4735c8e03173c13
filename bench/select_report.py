"""The tables and the picture of `select_training`: paired differences, wins and losses alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from select_settings import REFEREE, RULES, SEARCH, Setting

from subsetsel.support.figures import new_figure, save_figure
from subsetsel.support.files import written_whole
from subsetsel.support.paired import paired

Record = dict[str, Any]
ByMethod = dict[str, dict[int, float]]
"""Method -> seed -> accuracy."""

_HEAD = (
    "| method | accuracy, % | sd | minus random | minus the best fixed rule | seeds |\n"
    "|---|---|---|---|---|---|"
)


def read_runs(folder: Path) -> list[Record]:
    """Read what is finished; the last line may be of a run that was killed."""
    path = folder / "runs.jsonl"
    found: dict[str, Record] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        found[record["key"]] = record
    return list(found.values())


def by_size(runs: list[Record]) -> dict[int, ByMethod]:
    """Sort trainings: number kept -> method -> seed -> accuracy; of whole seeds alone.

    A seed of which some methods are still to be trained would shift the means of the others.
    """
    found: dict[int, ByMethod] = {}
    for run in runs:
        if run["method"] != SEARCH:
            methods = found.setdefault(run["num_kept"], {})
            methods.setdefault(run["method"], {})[run["seed"]] = run["accuracy"]
    return {k: _whole(methods) for k, methods in sorted(found.items())}


def _whole(methods: ByMethod) -> ByMethod:
    seeds = sorted(set.intersection(*(set(runs) for runs in methods.values())))
    return (
        {name: {s: runs[s] for s in seeds} for name, runs in methods.items()} if seeds else methods
    )


def is_fixed(method: str) -> bool:
    """Whether a method is a rule that looks at no referee and chooses nothing jointly."""
    return method != REFEREE and not method.startswith("joint")


def best_fixed(methods: ByMethod) -> str:
    """Name the fixed rule of the highest mean: chosen afterwards, which is in its favour."""
    fixed = {name: list(runs.values()) for name, runs in methods.items() if is_fixed(name)}
    return max(fixed, key=lambda name: float(np.mean(fixed[name])))


def _difference(mine: dict[int, float], others: dict[int, float]) -> str:
    common = sorted(mine.keys() & others.keys())
    if not common:
        return "-"
    found = paired([mine[s] for s in common], [others[s] for s in common])
    return str(found).partition(",")[0] if len(common) > 1 else f"{100 * found.mean:+.2f}"


def rows_of(methods: ByMethod) -> list[str]:
    """Give a line of the table for each method."""
    best, lines = best_fixed(methods), []
    for name, runs in methods.items():
        values = 100 * np.array(list(runs.values()))
        spread = f"{values.std(ddof=1):.2f}" if len(values) > 1 else "-"
        random = "" if name == "random" else _difference(runs, methods.get("random", {}))
        ahead = "" if name == best else _difference(runs, methods[best])
        shown = f"**{name}**" if name == best else name
        lines.append(
            f"| {shown} | {values.mean():.2f} | {spread} | {random} | {ahead} | {len(values)} |"
        )
    return lines


def told_searches(runs: list[Record]) -> list[str]:
    """Say what each search found."""
    lines = []
    for run in runs:
        if run["method"] != SEARCH:
            continue
        found, one = run["stats"], run["stats"]["composition"]
        shares = ", ".join(
            f"{name.replace('_', ' ')} {one[name]:.2f}"
            for name in ("hard_cut", "easy_cut", "evenness", "class_balance")
        )
        lines.append(
            f"- {run['num_kept']:,} kept, search {run['seed']}: {found['rule']} ({shares}, "
            f"{one['choice']}); {found['num_trainings']} trainings, {run['train_time']:.0f} s. "
            f"{run['message']}"
        )
    return lines


def told_made(runs: list[Record]) -> list[str]:
    """Say how often random came back, and what else is worth."""
    others = [run for run in runs if run["rule"] != "random"]
    signs = [np.sign(run["interval"]).sum() for run in runs]
    found = paired(
        [run["accuracy"] for run in runs], [float(np.mean(run["random"])) for run in runs]
    )
    lines = [
        f"- random came back in {len(runs) - len(others)} of {len(runs)} runs",
        f"- what came back was significantly worse than random in {signs.count(-2)} runs, "
        f"significantly better in {signs.count(2)} (paired, 95 %)",
        f"- mean difference to random over all runs: {100 * found.mean:+.3f} points "
        f"({100 * found.low:+.3f} to {100 * found.high:+.3f})",
    ]
    for run in others:
        low, high = run["interval"]
        lines.append(
            f"- run {run['seed']}, {run['num_kept']} kept: {run['rule']}, on fresh draws "
            f"{100 * run['difference']:+.2f} points ({100 * low:+.2f} to {100 * high:+.2f})"
        )
    return lines


def told_losses(methods: ByMethod, num_kept: int) -> list[str]:
    """Name every fixed rule that is ahead of the referee by its mean, and whether surely."""
    lines = []
    for name, runs in methods.items():
        common = sorted(runs.keys() & methods.get(REFEREE, {}).keys())
        if not common or not is_fixed(name):
            continue
        found = paired([runs[s] for s in common], [methods[REFEREE][s] for s in common])
        if found.mean > 0:
            surely = "surely" if found.low > 0 else "not surely"
            lines.append(
                f"- {num_kept:,} kept: {name} is ahead of the referee by "
                f"{100 * found.mean:.2f} points, {surely}"
            )
    return lines


def told(setting: Setting, runs: list[Record], sittings: list[Record]) -> str:
    """Write the page of one setting."""
    lines = [f"## {setting.name}: {setting.network} on {setting.data or 'a made task'}", ""]
    # A run that went on where it stopped has said the same several times.
    lines += dict.fromkeys(
        f"{one['date'][:10]}, {one['cpu']}, {one['cores']} cores, {one['threads']} thread a "
        f"process; `{one['command']}`"
        for one in sittings
    )
    recipe = setting.recipe
    if setting.data:
        lines += [
            "",
            f"{recipe.iterations} steps of {recipe.batch_size}, lr {recipe.lr}, padding "
            f"{recipe.padding}; test accuracy of the last step. sd is that of seeds; brackets are "
            "95 % intervals of differences seed by seed. In bold the best fixed rule, by its mean.",
        ]
        if setting.searched_network:
            first = f"A search with {setting.searched_network} came first"
            lines.append(f"{first}: what it found was tried with the network itself.")
    if not setting.data:
        return "\n".join([*lines, "", *told_made(runs), ""]) if runs else ""
    before = {run["seed"]: run["accuracy_before"] for run in runs if "accuracy_before" in run}
    if before:
        mean = 100 * np.mean(list(before.values()))
        lines.append(
            f"Accuracy before, trained on everything: {mean:.2f} % (mean of {len(before)})."
        )
    losses: list[str] = []
    for num_kept, methods in by_size(runs).items():
        lines += ["", f"### {num_kept:,} kept", "", _HEAD, *rows_of(methods)]
        losses += told_losses(methods, num_kept)
    searches = told_searches(runs)
    if searches:
        lines += ["", "Seeds are those of scorers and trainings, given what these searches found:"]
        lines += ["", "### What the searches found", "", *searches]
        lines += ["", "### Where a fixed rule is ahead of the referee", ""]
        lines += losses or ["Nowhere."]
    return "\n".join([*lines, ""])


def write_report(setting: Setting, folder: Path) -> str:
    """Write table and picture of a setting, and the summary of all settings; give the table."""
    runs = read_runs(folder)
    path = folder / "env.json"
    sittings = json.loads(path.read_text())["sittings"] if path.exists() else []
    text = told(setting, runs, sittings)
    with written_whole(folder / "table.md") as part:
        part.write_text(text)
    if len(by_size(runs)) > 1:
        draw(setting, by_size(runs), folder / "accuracy.png")
    tables = sorted(folder.parent.glob("*/table.md"))
    with written_whole(folder.parent / "summary.txt") as part:
        part.write_text("\n".join(table.read_text() for table in tables))
    return text


def draw(setting: Setting, sizes: dict[int, ByMethod], path: Path) -> None:
    """Draw accuracy over what is kept, and the difference to random beside it."""
    figure, (left, right) = new_figure(2, f"{setting.network} on {setting.data}")
    names = [name for name in setting.methods if any(name in methods for methods in sizes.values())]
    markers = dict(zip(names, "osD^vPX*", strict=False))
    for place, name in enumerate(names):
        mine = {k: methods[name] for k, methods in sizes.items() if name in methods}
        look: dict[str, Any] = {
            "marker": markers[name],
            "color": f"C{place}",
            "capsize": 3,
            "markersize": 5,
            "linewidth": 1.2 if name in RULES else 2.2,
            "label": name,
        }
        means = [100 * float(np.mean(list(runs.values()))) for runs in mine.values()]
        left.errorbar(list(mine), means, **look)
        if name == "random":
            right.axhline(0, color=f"C{place}", label=name)
            continue
        points = [_beside(runs, sizes[k].get("random", {})) for k, runs in mine.items()]
        # Moved a little aside, so that intervals do not lie on each other.
        moved = [k * 1.03 ** (place - len(names) / 2) for k in mine]
        right.errorbar(moved, [mean for mean, _ in points], [half for _, half in points], **look)
    for axis in (left, right):
        axis.set(xscale="log", xlabel="examples kept", xticks=list(sizes))
        axis.set_xticklabels([f"{k:,}" for k in sizes])
        axis.minorticks_off()
    left.set_ylabel("test accuracy, %")
    right.set_ylabel("minus random, points, with 95 % intervals")
    left.legend(fontsize=8)
    save_figure(figure, path)


def _beside(mine: dict[int, float], random: dict[int, float]) -> tuple[float, float]:
    """Give the mean difference in points, and half of its interval."""
    common = sorted(mine.keys() & random.keys())
    if not common:
        return float("nan"), float("nan")
    found = paired([mine[s] for s in common], [random[s] for s in common])
    return 100 * found.mean, 100 * (found.high - found.mean)
