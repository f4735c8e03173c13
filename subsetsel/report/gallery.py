"""Kept and pruned examples side by side, class by class: pictures or texts."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.errors import ProblemError
from subsetsel.rows.base import BoolArray, IndexArray
from subsetsel.support.optional import import_extra

MAX_CLASSES = 12
PICTURES, TEXTS = 8, 3
SIDE = 96
LETTERS = 240

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Looks:
    """What examples look like.

    Attributes
    ----------
    pictures : ndarray of shape (n, height, width) or (n, height, width, 3), or None
        Grey or colour.
    texts : sequence of str, or None
    """

    pictures: Array | None = None
    texts: Sequence[str] | None = None

    def __post_init__(self) -> None:
        pictures = self.pictures
        if pictures is None:
            return
        if pictures.ndim not in {3, 4} or (pictures.ndim == 4 and pictures.shape[-1] not in {1, 3}):
            raise ProblemError(
                "pictures must have the shape (n, height, width) or (n, height, width, 3), got "
                f"{pictures.shape}."
            )

    @property
    def n(self) -> int:
        """Number of examples."""
        shown = self.pictures if self.texts is None else self.texts
        return 0 if shown is None else len(shown)


def render_gallery(looks: Looks, labels: ArrayLike, mask: BoolArray, ids: Sequence[Any]) -> str:
    """Show a few kept and a few pruned examples of each class, drawn at random with a fixed seed.

    Parameters
    ----------
    looks : Looks
    labels : array_like of shape (n,)
    mask : ndarray of shape (n,), bool
        True means pruned.
    ids : sequence of length n
        Shown when the pointer rests on an example.

    Returns
    -------
    str
        HTML; every text is escaped.
    """
    names, codes = np.unique(np.asarray(labels), return_inverse=True)
    rng = np.random.default_rng(0)
    count = PICTURES if looks.pictures is not None else TEXTS
    rows = []
    for c, name in enumerate(names[:MAX_CLASSES]):
        cells = []
        for side in (~mask, mask):
            members = np.flatnonzero((codes == c) & side)
            shown = np.sort(rng.choice(members, size=min(count, len(members)), replace=False))
            cells.append(f"<td>{_cell(looks, shown, ids) or '<em>none</em>'}</td>")
        rows.append(f"<tr><th>{escape(str(name))}</th>{''.join(cells)}</tr>")
    more = len(names) - MAX_CLASSES
    rest = f" The other {more} classes are left out here." if more > 0 else ""
    kind = "pictures" if looks.pictures is not None else "texts"
    return (
        f'<table class="gallery {kind}">'
        "<thead><tr><th></th><th>kept</th><th>pruned</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
        f'<p class="caption">Up to {count} of each, drawn at random.{rest}</p>'
    )


def _cell(looks: Looks, indices: IndexArray, ids: Sequence[Any]) -> str:
    if looks.texts is not None:
        return "".join(f"<p>{escape(_short(looks.texts[i]))}</p>" for i in indices)
    assert looks.pictures is not None
    return "".join(
        f'<img alt="example {escape(str(ids[i]))}" title="{escape(str(ids[i]))}" '
        f'src="{picture_source(looks.pictures[i])}">'
        for i in indices
    )


def _short(text: str) -> str:
    return text if len(text) <= LETTERS else text[: LETTERS - 1].rstrip() + "…"


def picture_source(picture: Array) -> str:
    """Turn one picture into the source of an ``<img>``: a PNG, no side longer than `SIDE`.

    Bytes stay as they are; other numbers are stretched from their least to their largest.
    """
    imaging = import_extra("PIL.Image", "plots", "pictures of examples")
    array = np.asarray(picture)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.dtype != np.uint8:
        wide = array.astype(np.float64)
        low, high = float(np.nanmin(wide)), float(np.nanmax(wide))
        array = np.nan_to_num((wide - low) * (255 / (high - low or 1.0))).astype(np.uint8)
    image = imaging.fromarray(np.ascontiguousarray(array))
    image.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    image.save(stream, format="png")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
