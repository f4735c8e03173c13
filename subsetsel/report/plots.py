"""Pictures. matplotlib is imported where it is drawn with; nothing is shown, only returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.errors import SubsetselError
from subsetsel.report.files import written_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Distinguishable with every common colour-vision deficiency, and in grey.
_OURS, _OTHER, _MUTED = "#0b5394", "#c1440e", "#8a8f98"


def draw_tradeoff(
    axes: Axes,
    shares: Sequence[float],
    changes: Sequence[float],
    rivals: Mapping[str, ArrayLike],
    *,
    epsilon: float | None = None,
    chosen: float | None = None,
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
        Name -> changes of shape (p,) or (p, repeats); the range over repeats is shaded.
    epsilon : float, optional
        A horizontal line: the change that is allowed.
    chosen : float, optional
        The share that was chosen; marked.
    """
    percent = 100 * np.asarray(shares)
    for name, values in rivals.items():
        table = np.asarray(values, dtype=np.float64)
        table = table[:, None] if table.ndim == 1 else table
        middle = np.median(table, axis=1)
        axes.fill_between(percent, table.min(1), table.max(1), color=_OTHER, alpha=0.18, lw=0)
        axes.plot(percent, middle, "s--", color=_OTHER, markersize=4, label=name)
    axes.plot(
        percent, changes, "o-", color=_OURS, markersize=5, label="chosen together (subsetsel)"
    )
    if epsilon is not None:
        axes.axhline(epsilon, color=_MUTED, lw=1)
        axes.annotate(
            f"epsilon = {epsilon:.3g}",
            (percent[0], epsilon),
            xytext=(0, 4),
            textcoords="offset points",
            color=_MUTED,
            fontsize=9,
        )
    if chosen is not None:
        axes.axvline(100 * chosen, color=_MUTED, lw=1, ls=":")
        axes.annotate(
            f" {chosen:.0%}",
            (100 * chosen, 0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            color=_MUTED,
            fontsize=9,
        )
    _plain_log_scale(axes)
    axes.set_xlabel("pruned (% of the training examples)")
    axes.set_ylabel("change of the head after exact refit")
    axes.legend(frameon=False, loc="best")
    _clean(axes)


def draw_classes(axes: Axes, labels: ArrayLike, mask: ArrayLike) -> None:
    """Draw how many examples of each class are kept and pruned.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    labels : array_like of shape (n,)
    mask : array_like of shape (n,), bool
        True means pruned.
    """
    names, codes = np.unique(np.asarray(labels), return_inverse=True)
    pruned = np.bincount(codes, weights=np.asarray(mask, dtype=np.float64), minlength=len(names))
    kept = np.bincount(codes, minlength=len(names)) - pruned
    places = np.arange(len(names))
    axes.bar(places, kept, color=_OURS, label="kept", width=0.75)
    axes.bar(places, pruned, bottom=kept, color=_MUTED, alpha=0.45, label="pruned", width=0.75)
    axes.set_xticks(places, [str(name) for name in names])
    axes.set_xlabel("class")
    axes.set_ylabel("examples")
    axes.margins(y=0.16)
    axes.legend(frameon=False, ncols=2, loc="upper right")
    _clean(axes)


def new_figure(num_panels: int, title: str) -> tuple[Figure, list[Axes]]:
    """Make a figure with panels side by side, without touching pyplot's state.

    Returns
    -------
    (Figure, list of Axes)

    Raises
    ------
    SubsetselError
        If matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SubsetselError(
            'pictures need matplotlib, which is not installed; pip install "subsetsel[plots]".'
        ) from error
    figure = Figure(figsize=(5.6 * num_panels, 4.2), layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(1, num_panels, squeeze=False)[0]
    return figure, list(panels)


def save_figure(figure: Figure, path: str | PathLike[str]) -> None:
    """Write a figure, whole or not at all; the format follows the suffix.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : str or path-like
    """
    with written_whole(path) as part:
        figure.savefig(part, dpi=150)


def _plain_log_scale(axes: Axes) -> None:
    """Logarithmic, with 0.2, 0.5, 1 on the ticks instead of powers of ten."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _clean(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e6ea", lw=0.8)
    axes.set_axisbelow(True)
