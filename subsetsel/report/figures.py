"""Which pictures a page has, and what each says; drawn from what the manifest and a curve know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from subsetsel.problem.selected import RANDOM, SHARES, Selected, Tried
from subsetsel.problem.tradeoff import Point, points_of_record
from subsetsel.report.damage import refusing_damage
from subsetsel.report.manifest import Manifest
from subsetsel.report.plots import (
    Dot,
    draw_beside,
    draw_classes,
    draw_prediction,
    draw_progress,
    draw_tradeoff,
    draw_trials,
    floor_of,
)
from subsetsel.support.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# More would make a page of megabytes and a cloud of ink.
MAX_DOTS = 200
MAX_NAMES, MAX_LETTERS = 8, 16

_LABELS = {
    "hard_cut": "hard end left out (%)",
    "easy_cut": "easy end left out (%)",
    "evenness": "evenness of strata",
    "class_balance": "class balance",
}
# Inches: a panel of trials, what stands beside them; the width and a row of the confirmation.
_PANEL, _EDGE = (2.75, 3.9), 0.7
_WIDTH, _ROW = 5.6, 1.1
# So many panels fit into a column of the page.
_NARROW = 2


@dataclass(frozen=True)
class Picture:
    """A figure and the sentence under it; a wide one takes the whole width of the page."""

    title: str
    figure: Figure
    caption: str
    is_wide: bool = False


@refusing_damage()
def pictures_of(manifest: Manifest, points: Sequence[Point] = ()) -> list[Picture]:
    """Draw everything that the record holds.

    Parameters
    ----------
    manifest : Manifest
    points : sequence of Point, optional
        The trade-off, measured for the page; otherwise what a verified search tried.

    Returns
    -------
    list of Picture

    Raises
    ------
    FileFormatError
        If the manifest holds what no run writes.
    """
    check, stats = manifest.verification, manifest.solution.get("stats") or {}
    n = len(manifest.kept) + len(manifest.pruned)
    known = list(points) or points_of_record(stats.get("curve") or [], n, check)
    selected = Selected.of_record(manifest.solution)
    pictures = [] if selected is None else _of_selection(selected)
    if len(known) > 1:
        pictures += [_tradeoff(known, manifest.solution.get("epsilon")), _prediction(known)]
    if check and check.get("class_sizes"):
        pictures.append(_classes(check["class_sizes"], check["class_pruned"]))
    found = [one for one in manifest.trace if None not in (one.get("size"), one.get("norm"))]
    # A search that found one subset has no course to show.
    if len(found) > 1:
        pictures.append(_progress(found, manifest.solution))
    return pictures


def _tradeoff(points: Sequence[Point], epsilon: float | None) -> Picture:
    figure, (axes,) = new_figure(1, "")
    chosen = next((point for point in points if point.is_chosen), None)
    place = None if chosen is None else (chosen.share, chosen.change)
    draw_tradeoff(axes, points, epsilon=epsilon, chosen=place)
    caption = "Every point was refitted exactly on what is kept."
    if chosen is not None and chosen.random:
        middle = sorted(chosen.random)[len(chosen.random) // 2]
        caption += (
            f" At the size that was chosen, random subsets move the head "
            f"{middle / chosen.change:.1f} times as far (median of {len(chosen.random)}; the band "
            "is their range)."
        )
    return Picture("How far the head moves when more is pruned", figure, caption)


def _prediction(points: Sequence[Point]) -> Picture:
    figure, (axes,) = new_figure(1, "")
    draw_prediction(axes, points)
    ratios = sorted(p.change / p.predicted for p in points if p.predicted > 0)
    caption = (
        f"Measured over predicted: {ratios[0]:.3g} to {ratios[-1]:.3g}. The search goes by the "
        "prediction; what is claimed goes by the refit."
    )
    return Picture("Predicted against actual", figure, caption)


def _classes(sizes: dict[str, int], pruned: dict[str, int]) -> Picture:
    figure, (axes,) = new_figure(1, "")
    draw_classes(axes, pruned, sizes)
    shares = {name: pruned[name] / sizes[name] for name in sizes}
    most, least = (pick(shares, key=lambda name: shares[name]) for pick in (max, min))
    caption = (
        f"Most is pruned of {most} ({shares[most]:.1%}), least of {least} ({shares[least]:.1%})."
    )
    return Picture("Kept and pruned examples of each class", figure, caption)


def _progress(trace: Sequence[dict[str, Any]], solution: dict[str, Any]) -> Picture:
    """Draw the search over time."""
    is_norm = solution.get("epsilon") is None and solution.get("target_size") is not None
    name = "norm" if is_norm else "size"
    # The last subset was found before the search was over.
    ends = max(trace[-1]["time"], solution.get("solve_time") or 0.0)
    times = [*(one["time"] for one in trace), ends]
    values = [*(one[name] for one in trace), solution[name]]
    figure, (axes,) = new_figure(1, "")
    draw_progress(axes, times, values, bound=solution.get("bound"), is_norm=is_norm)
    return Picture("The search, second by second", figure, _what_is_proved(solution))


def _what_is_proved(solution: dict[str, Any]) -> str:
    bound, gap = solution.get("bound"), solution.get("gap")
    if bound is not None and gap is not None:
        proved = "which proves it optimal" if gap == 0 else f"a gap of {gap:.3%}"
        return f"At most {int(bound):,} can be pruned, and this is proved: {proved}."
    if solution.get("normalization") == "kept" and solution.get("epsilon") is not None:
        return (
            "Each step is a subset that an exact refit verified. No bound on the size is known for "
            "this problem; a larger verified subset may exist."
        )
    return "No bound is proved for this problem."


# --- selections ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Panel:
    """One part of the composition: its name, and where each trial lies; None if it has no part."""

    label: str
    places: list[float | None]
    names: list[str] | None = None


def _of_selection(selected: Selected) -> list[Picture]:
    """Draw the trials over their composition, and the confirmation beside random."""
    dots = _thinned(selected)
    panels = _panels(dots)
    pictures = [_compositions(selected, dots, panels)] if panels else []
    if selected.confirmations:
        pictures.append(_confirmation(selected))
    return pictures


def _thinned(selected: Selected) -> list[Tried]:
    """Take as many trials as a picture shows, from the best to the worst, with what came back."""
    ranked = selected.ranked
    places = set(np.linspace(0, len(ranked) - 1, min(MAX_DOTS, len(ranked))).round().astype(int))
    return [one for i, one in enumerate(ranked) if i in places or selected.came_back(one)]


def _panels(dots: Sequence[Tried]) -> list[_Panel]:
    """Make a panel of each part of the composition that is not the same for all."""
    panels = []
    for name in SHARES:
        unit = 100.0 if name.endswith("cut") else 1.0
        places = [unit * float(getattr(one.recipe, name)) for one in dots]
        if len(set(places)) > 1:
            panels.append(_Panel(_LABELS[name], list(places)))
    scores = sorted({one.recipe.score for one in dots if one.recipe.is_by_difficulty})
    if 1 < len(scores) <= MAX_NAMES:
        # Side by side, so that dots of one name do not hide each other.
        asides = 0.4 * (np.random.default_rng(0).random(len(dots)) - 0.5)
        aside = [
            scores.index(one.recipe.score) + float(shift) if one.recipe.is_by_difficulty else None
            for one, shift in zip(dots, asides, strict=True)
        ]
        panels.append(_Panel("difficulty", aside, [_short(name) for name in scores]))
    return panels


def _compositions(selected: Selected, dots: Sequence[Tried], panels: Sequence[_Panel]) -> Picture:
    figure, axes = new_figure(len(panels), "")
    is_wide = len(panels) > _NARROW
    if len(panels) > 1:
        figure.set_size_inches(_PANEL[0] * len(panels) + _EDGE, _PANEL[1])
    random = _random(selected)
    floor = floor_of([trial.score for trial in dots], random)
    legend: dict[str, Any] = {}
    for one, panel in zip(axes, panels, strict=True):
        shown = [
            Dot(place, trial.score, trial.recipe.choice, is_chosen=selected.came_back(trial))
            for place, trial in zip(panel.places, dots, strict=True)
            if place is not None
        ]
        draw_trials(one, shown, panel.label, random=random, floor=floor)
        if panel.names is not None:
            one.set_xticks(range(len(panel.names)), panel.names)
        if one is not axes[0]:
            one.sharey(axes[0])
            one.tick_params(labelleft=False)
        handles, names = one.get_legend_handles_labels()
        legend |= dict(zip(names, handles, strict=True))
    share = selected.search_budget
    length = "" if share == 1 else f"\nafter {share:.0%} of a training"
    axes[0].set_ylabel(f"score on held-out examples{length}")
    figure.legend(
        list(legend.values()),
        list(legend),
        loc="outside lower center",
        ncols=1 + len(panels),
        frameon=False,
    )
    caption = _what_dots_are(selected, len(dots))
    return Picture("Score over composition", figure, caption, is_wide)


def _what_dots_are(selected: Selected, num_dots: int) -> str:
    count, all_trials = f"{num_dots:,} trials", len(selected.ranked)
    if num_dots < all_trials:
        count = f"{num_dots:,} of {all_trials:,} trials, from the best to the worst"
    band = "" if _fresh(selected) is None else ", the band its range on fresh seeds"
    return (
        f"{count}: each is one training, judged on {selected.num_held_out:,} examples set "
        f"aside, and one mark in a panel. The line is random{band}."
    )


def _random(selected: Selected) -> tuple[float, float, float] | None:
    """Give low end, middle and high end of random; None where it was not trained."""
    fresh = _fresh(selected)
    if fresh is not None:
        return min(fresh), fmean(fresh), max(fresh)
    tried = [one.score for one in selected.ranked if one.rule == RANDOM]
    return (tried[0],) * 3 if tried else None


def _fresh(selected: Selected) -> tuple[float, ...] | None:
    """Give the scores of random on fresh seeds, where trials were as long as these."""
    if selected.search_budget < 1 or not selected.confirmations:
        return None
    return max((one.random for one in selected.confirmations), key=len)


def _confirmation(selected: Selected) -> Picture:
    figure, (axes,) = new_figure(1, "")
    figure.set_size_inches(_WIDTH, _ROW * (1 + len(selected.confirmations)))
    unit = 100.0 if selected.is_share else 1.0
    rows = [
        (
            _short(one.rule) + selected.trial_of(one, "\n"),
            [unit * difference for difference in one.differences],
            (unit * one.interval[0], unit * one.difference, unit * one.interval[1]),
        )
        for one in selected.confirmations
    ]
    draw_beside(axes, rows, " (points)" if selected.is_share else "")
    caption = (
        "A dot is one pair of trainings with the same seed, judged on the same examples; the "
        "diamond is their mean, the bar its 95 % interval."
    )
    if selected.is_confirmed:
        caption += f" {selected.rule}{selected.trial_of(selected.winner, ', ')} came back."
    elif selected.is_settled:
        caption += " Random came back, since no bar lies on its right side alone."
    return Picture("Beside random, on fresh seeds", figure, caption)


def _short(text: str) -> str:
    return text if len(text) <= MAX_LETTERS else text[: MAX_LETTERS - 1] + "…"
