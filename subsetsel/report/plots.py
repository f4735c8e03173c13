"""How each picture is drawn, onto axes of matplotlib that the caller has made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from subsetsel.problem.tradeoff import Point

# Distinguishable with every common colour-vision deficiency, and in grey.
_OURS, _OTHER, _MUTED = "#0b5394", "#c1440e", "#8a8f98"
# How the examples of a trial were taken: by shape, since colour alone tells not everybody.
_SHAPES = {
    "draw": ("o", _OURS, "drawn by lot"),
    "joint": ("^", _OTHER, "jointly"),
    "joint in classes": ("D", _OTHER, "jointly in classes"),
    "joint in cells": ("s", _OTHER, "jointly in strata of classes"),
}
# A panel of trials is so many times as high as the upper half of their scores, or a little more.
_DEPTH, _LITTLE = 4.0, 1.5


def draw_tradeoff(
    axes: Axes,
    points: Sequence[Point],
    *,
    epsilon: float | None = None,
    chosen: tuple[float, float] | None = None,
) -> None:
    """Draw how far the refitted head moves against the share that was pruned.

    Where random subsets were measured too, their median is drawn and their range shaded. A line
    shows ``epsilon``, the change that is allowed, and a ring ``chosen``, a share and its change.
    """
    at_random = [point for point in points if point.random]
    if at_random:
        table = np.array([point.random for point in at_random])
        x = [100 * point.share for point in at_random]
        axes.fill_between(x, table.min(1), table.max(1), color=_OTHER, alpha=0.18, lw=0)
        axes.plot(x, np.median(table, axis=1), "s--", color=_OTHER, markersize=4, label="random")
    axes.plot(
        [100 * point.share for point in points],
        [point.change for point in points],
        "o-",
        color=_OURS,
        markersize=3 if len(points) > 12 else 5,
        label="chosen together (subsetsel)",
    )
    if epsilon is not None:
        axes.axhline(epsilon, color=_MUTED, lw=1)
        end = (100 * points[-1].share, epsilon)
        _write(axes, f"epsilon = {epsilon:.3g}", end, (0, -4), _MUTED, ha="right", va="top")
    if chosen is not None:
        share, change = 100 * chosen[0], chosen[1]
        _mark(axes, share, change)
        _write(axes, f"chosen: {share:.1f}%", (share, change), (-10, 9), _OURS, ha="right")
    _plain_log_scale(axes)
    axes.legend(frameon=False, loc="best")
    _finish(axes, "pruned (% of the training examples)", "change of the head after exact refit")


def draw_classes(axes: Axes, pruned: Mapping[str, int], sizes: Mapping[str, int]) -> None:
    """Draw how many examples of each class are kept and pruned, from the counts by class name."""
    names = list(sizes)
    left_out = np.array([pruned[name] for name in names])
    kept = np.array([sizes[name] for name in names]) - left_out
    places = np.arange(len(names))
    axes.bar(places, kept, color=_OURS, label="kept", width=0.75)
    axes.bar(places, left_out, bottom=kept, color=_MUTED, alpha=0.45, label="pruned", width=0.75)
    is_crowded = len(names) > 12 or max(map(len, names)) * len(names) > 60
    if len(names) <= 40:
        axes.set_xticks(
            places,
            [name if len(name) <= 18 else name[:17] + "…" for name in names],
            rotation=60 if is_crowded else 0,
            ha="right" if is_crowded else "center",
            rotation_mode="anchor",
        )
    axes.margins(y=0.16)
    axes.legend(frameon=False, ncols=2, loc="upper right")
    _finish(axes, "class", "examples")


def draw_prediction(axes: Axes, points: Sequence[Point]) -> None:
    """Draw what was predicted to first order against what an exact refit measured."""
    x, y = np.array([(point.predicted, point.change) for point in points]).T
    ends = np.array([min(x.min(), y.min()) / 1.3, max(x.max(), y.max()) * 1.3])
    axes.plot(ends, ends, color=_MUTED, lw=1)
    _write(axes, "as predicted", (ends[0], ends[0]), (34, 12), _MUTED)
    axes.plot(x, y, "o", color=_OURS, markersize=5, alpha=0.8)
    for point in points:
        if point.is_chosen:
            _mark(axes, point.predicted, point.change)
    axes.set_xscale("log")
    _plain_log_scale(axes)
    _plain_ticks(axes.xaxis)
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    _finish(axes, "predicted change (first order)", "change after exact refit")


def draw_progress(
    axes: Axes,
    times: Sequence[float],
    values: Sequence[float],
    *,
    bound: float | None = None,
    is_norm: bool = False,
) -> None:
    """Draw the best subset so far over seconds: its size, or with ``is_norm`` its norm.

    A line shows the bound that is proved: no size lies above it, no norm below it.
    """
    axes.step(times, values, where="post", color=_OURS, lw=1.8, label="best so far")
    axes.plot(times[-1], values[-1], "o", color=_OURS, markersize=5)
    if bound is not None and (bound > 0 or not is_norm):
        axes.axhline(bound, color=_OTHER, lw=1.4, ls="--", label="proven bound")
        axes.legend(frameon=False, loc="best")
    if is_norm:
        _plain_log_scale(axes)
    axes.margins(y=0.12)
    axes.set_xlim(left=0)
    _finish(axes, "seconds", "joint influence of the subset" if is_norm else "examples pruned")


@dataclass(frozen=True)
class Dot:
    """A trial as a panel shows it: its place, its score, how its examples were taken."""

    x: float
    value: float
    choice: str
    is_chosen: bool


def draw_trials(
    axes: Axes,
    dots: Sequence[Dot],
    label: str,
    *,
    random: tuple[float, float, float] | None,
    floor: float,
) -> None:
    """Draw the scores of trials over one part of their composition.

    A line shows random, from the middle of three numbers, and a band the range that the other two
    span. Scores below ``floor`` lie at it, as triangles.
    """
    if random is not None:
        low, middle, high = random
        axes.axhspan(low, high, color=_MUTED, alpha=0.22, lw=0)
        axes.axhline(middle, color=_MUTED, lw=1.4, ls="--", label="random")
    for shape, (marker, color, name) in _SHAPES.items():
        mine = [dot for dot in dots if dot.choice == shape]
        if not mine:
            continue
        above = [dot for dot in mine if dot.value >= floor]
        axes.plot(
            [dot.x for dot in above],
            [dot.value for dot in above],
            marker,
            color=color,
            alpha=0.7,
            markersize=5,
            mew=0,
            label=name,
        )
    below = [dot for dot in dots if dot.value < floor]
    if below:
        edge = [floor] * len(below)
        axes.plot([dot.x for dot in below], edge, "v", color=_MUTED, markersize=5, label="below")
    for dot in dots:
        if dot.is_chosen:
            axes.plot(
                [dot.x],
                [max(dot.value, floor)],
                "o",
                markersize=12,
                mfc="none",
                mec="black",
                mew=1.6,
                zorder=5,
                label="came back",
            )
    _finish(axes, label, "")
    axes.margins(x=0.08, y=0.08)


def floor_of(values: Sequence[float], random: tuple[float, float, float] | None) -> float:
    """Give the score from which on trials are told apart by height."""
    middle, best, lowest = float(np.median(values)), max(values), min(values)
    floor = best - _DEPTH * (best - middle)
    if random is not None:
        floor = min(floor, random[0])
    return lowest if best - lowest <= _LITTLE * (best - floor) else floor


def draw_beside(
    axes: Axes,
    rows: Sequence[tuple[str, Sequence[float], tuple[float, float, float]]],
    unit: str,
) -> None:
    """Draw differences from random, a row each: every pair, and the mean with its interval.

    A row is its name, the differences pair by pair, and low end, mean and high end.
    """
    axes.axvline(0.0, color=_MUTED, lw=1.4, ls="--")
    _write(axes, "random", (0.0, len(rows) - 0.5), (4, 0), _MUTED, va="top")
    for place, (_, differences, (low, mean, high)) in enumerate(reversed(rows)):
        axes.plot([low, high], [place, place], color=_OURS, lw=2.5, solid_capstyle="butt")
        axes.plot([mean], [place], "D", color=_OURS, markersize=7)
        axes.plot(
            differences,
            [place - 0.2] * len(differences),
            "o",
            color=_OURS,
            markersize=5,
            mew=0,
            alpha=0.55,
        )
    names = [name for name, _, _ in reversed(rows)]
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.margins(x=0.1)
    _finish(axes, f"ahead of random{unit}", "", grid="x")


def _mark(axes: Axes, x: float, y: float) -> None:
    """Put a ring around the subset that was chosen."""
    axes.plot([x], [y], "o", markersize=13, mfc="none", mec=_OURS, mew=2, zorder=5)


def _write(
    axes: Axes,
    text: str,
    place: tuple[float, float],
    offset: tuple[float, float],
    color: str,
    **more: Any,
) -> None:
    """Write beside a place; the offset is in points."""
    axes.annotate(
        text, place, xytext=offset, textcoords="offset points", color=color, fontsize=9, **more
    )


def _plain_log_scale(axes: Axes) -> None:
    """Logarithmic, with 0.2, 0.5, 1 on the ticks instead of powers of ten."""
    axes.set_yscale("log")
    _plain_ticks(axes.yaxis)


def _plain_ticks(axis: Any) -> None:
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    low, high = axis.get_data_interval()
    is_wide = high > 300 * max(low, 1e-300)
    axis.set_major_locator(LogLocator(subs=(1.0,) if is_wide else (1.0, 2.0, 5.0)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _finish(axes: Any, x_label: str, y_label: str, grid: str = "y") -> None:
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#e4e6ea", lw=0.8)
    axes.set_axisbelow(True)
