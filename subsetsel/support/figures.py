"""Figures of matplotlib, made and written; matplotlib is imported where it is used."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from subsetsel.errors import SubsetselError
from subsetsel.support.files import written_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
