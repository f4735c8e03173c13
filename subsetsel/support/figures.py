"""Figures of matplotlib: made and written. The import waits until a figure is made."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from subsetsel.support.files import written_whole
from subsetsel.support.optional import import_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_figure(num_panels: int, title: str) -> tuple[Figure, list[Axes]]:
    """Make a figure with panels side by side; pyplot and its global state are left alone."""
    make = import_extra("matplotlib.figure", "plots", "pictures").Figure
    figure: Figure = make(figsize=(5.6 * num_panels, 4.2), layout="constrained")
    figure.suptitle(title)
    return figure, list(figure.subplots(1, num_panels, squeeze=False)[0])


def save_figure(figure: Figure, path: str | PathLike[str]) -> None:
    """Write a figure, whole or not at all; the format follows the suffix."""
    with written_whole(path) as part:
        figure.savefig(part, dpi=150)
