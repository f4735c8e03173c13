"""Kept and pruned examples side by side, class by class: pictures or texts."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.errors import ProblemError
from subsetsel.rows.base import BoolArray, IndexArray

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

    def take(self, places: IndexArray) -> Looks:
        """Put the examples into another order.

        Parameters
        ----------
        places : ndarray of shape (n,), int64

        Returns
        -------
        Looks
        """
        pictures = None if self.pictures is None else self.pictures[places]
        texts = None if self.texts is None else [self.texts[i] for i in places]
        return Looks(pictures, texts)


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
    array = np.asarray(picture)
    if array.ndim == 2:
        array = array[..., np.newaxis]
    if array.dtype != np.uint8:
        wide = array.astype(np.float64)
        is_finite = np.isfinite(wide)
        shown = wide[is_finite] if is_finite.any() else np.zeros(1)
        low, high = float(shown.min()), float(shown.max())
        wide = np.where(is_finite, wide, low)
        array = ((wide - low) * (255 / (high - low or 1.0))).astype(np.uint8)
    return "data:image/png;base64," + base64.b64encode(_png(_shrunk(array))).decode("ascii")


def _shrunk(array: Array) -> Array:
    """Make a picture as small as `SIDE`: each pixel the mean of a square, or less at the edges."""
    step = -(-max(array.shape[:2]) // SIDE)
    if step == 1:
        return array
    starts = [np.arange(0, side, step) for side in array.shape[:2]]
    sums = np.add.reduceat(array.astype(np.int64), starts[0], axis=0)
    sums = np.add.reduceat(sums, starts[1], axis=1)
    tall, wide = (
        np.diff(np.append(start, side)) for start, side in zip(starts, array.shape[:2], strict=True)
    )
    means: Array = (sums // np.outer(tall, wide)[..., np.newaxis]).astype(np.uint8)
    return means


def _png(array: Array) -> bytes:
    """Write grey or colour, (height, width, 1 or 3) of bytes, as a PNG file.

    Its four parts are quickly written; an image library would be a dependency for this alone.
    """
    height, width, channels = array.shape
    kind = {1: 0, 3: 2}[channels]
    lines = np.zeros((height, 1 + width * channels), dtype=np.uint8)  # 0: lines are not filtered
    lines[:, 1:] = array.reshape(height, -1)
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0),
        b"IDAT": zlib.compress(lines.tobytes()),
        b"IEND": b"",
    }
    written = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)
