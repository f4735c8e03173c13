"""Pictures. matplotlib is imported where it is drawn with; nothing is shown, only returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Distinguishable with every common colour-vision deficiency, and in grey.
_OURS, _OTHER, _MUTED = "#0b5394", "#c1440e", "#8a8f98"


def draw_tradeoff(
    axes: Axes,
    shares: Sequence[float],
    changes: Sequence[float],
    rivals: Mapping[str, tuple[Sequence[float], ArrayLike]],
    *,
    epsilon: float | None = None,
    chosen: tuple[float, float] | None = None,
) -> None:
    """Draw how far the refitted head moves against the share that was pruned.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    shares : sequence of length p
        Pruned shares, 0 to 1.
    changes : sequence of length p
        ||theta_kept - theta||_2 of the subsets found.
    rivals : mapping
        Name -> (shares, changes of shape (p, repeats)); the range over repeats is shaded.
    epsilon : float, optional
        A horizontal line: the change that is allowed.
    chosen : (share, change), optional
        The subset that was chosen; marked.
    """
    percent = 100 * np.asarray(shares)
    is_long = len(percent) > 12
    for name, (where, values) in rivals.items():
        table, x = np.asarray(values, dtype=np.float64), 100 * np.asarray(where)
        axes.fill_between(x, table.min(1), table.max(1), color=_OTHER, alpha=0.18, lw=0)
        axes.plot(x, np.median(table, axis=1), "s--", color=_OTHER, markersize=4, label=name)
    axes.plot(
        percent,
        changes,
        "o-",
        color=_OURS,
        markersize=3 if is_long else 5,
        label="chosen together (subsetsel)",
    )
    if epsilon is not None:
        axes.axhline(epsilon, color=_MUTED, lw=1)
        axes.annotate(
            f"epsilon = {epsilon:.3g}",
            (percent[-1], epsilon),
            xytext=(0, -4),
            textcoords="offset points",
            ha="right",
            va="top",
            color=_MUTED,
            fontsize=9,
        )
    if chosen is not None:
        share, change = chosen
        axes.plot(
            [100 * share], [change], "o", markersize=13, mfc="none", mec=_OURS, mew=2, zorder=5
        )
        axes.annotate(
            f"chosen: {share:.1%}",
            (100 * share, change),
            xytext=(-10, 9),
            textcoords="offset points",
            ha="right",
            color=_OURS,
            fontsize=9,
        )
    _plain_log_scale(axes)
    axes.set_xlabel("pruned (% of the training examples)")
    axes.set_ylabel("change of the head after exact refit")
    axes.legend(frameon=False, loc="best")
    _clean(axes)


def draw_classes(axes: Axes, names: Sequence[str], pruned: ArrayLike, sizes: ArrayLike) -> None:
    """Draw how many examples of each class are kept and pruned.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    names : sequence of str, of length C
    pruned, sizes : array_like of shape (C,)
        How many are pruned, of how many.
    """
    left_out = np.asarray(pruned)
    kept = np.asarray(sizes) - left_out
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
    axes.set_xlabel("class")
    axes.set_ylabel("examples")
    axes.margins(y=0.16)
    axes.legend(frameon=False, ncols=2, loc="upper right")
    _clean(axes)


def draw_prediction(
    axes: Axes, predicted: ArrayLike, changes: ArrayLike, *, chosen: int | None = None
) -> None:
    """Draw what was predicted to first order against what an exact refit measured.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    predicted, changes : array_like of shape (p,)
        Of the same subsets.
    chosen : int, optional
        Which of them was chosen; marked.
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (predicted, changes))
    ends = np.array([min(x.min(), y.min()) / 1.3, max(x.max(), y.max()) * 1.3])
    axes.plot(ends, ends, color=_MUTED, lw=1)
    axes.annotate(
        "as predicted",
        (ends[0], ends[0]),
        xytext=(34, 12),
        textcoords="offset points",
        color=_MUTED,
        fontsize=9,
    )
    axes.plot(x, y, "o", color=_OURS, markersize=5, alpha=0.8)
    if chosen is not None:
        axes.plot(x[chosen], y[chosen], "o", markersize=13, mfc="none", mec=_OURS, mew=2)
    axes.set_xscale("log")
    _plain_log_scale(axes)
    _plain_ticks(axes.xaxis)
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    axes.set_xlabel("predicted change (first order)")
    axes.set_ylabel("change after exact refit")
    _clean(axes)


def draw_progress(
    axes: Axes,
    times: ArrayLike,
    values: ArrayLike,
    *,
    bound: float | None = None,
    is_norm: bool = False,
) -> None:
    """Draw the best subset so far as the search went on, and how good one can be at most.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    times : array_like of shape (p,)
        Seconds.
    values : array_like of shape (p,)
        Sizes, or norms with ``is_norm``.
    bound : float, optional
        What is proved: no size above it, no norm below it.
    is_norm : bool
    """
    x, y = (np.asarray(part, dtype=np.float64) for part in (times, values))
    axes.step(x, y, where="post", color=_OURS, lw=1.8, label="best so far")
    axes.plot(x[-1], y[-1], "o", color=_OURS, markersize=5)
    if bound is not None and (bound > 0 or not is_norm):
        axes.axhline(bound, color=_OTHER, lw=1.4, ls="--", label="proven bound")
        axes.legend(frameon=False, loc="best")
    axes.set_xlabel("seconds")
    if is_norm:
        _plain_log_scale(axes)
        axes.set_ylabel("joint influence of the subset")
    else:
        axes.set_ylabel("examples pruned")
    axes.margins(y=0.12)
    axes.set_xlim(left=0)
    _clean(axes)


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


def _clean(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e6ea", lw=0.8)
    axes.set_axisbelow(True)
