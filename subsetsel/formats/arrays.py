"""NumPy's own files: npy, mapped, and npz."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from subsetsel.errors import FileFormatError
from subsetsel.formats.data import Array
from subsetsel.support.npz import DAMAGE


def map_npy(path: Path) -> Array:
    """Open an ``.npy`` file without reading it.

    Returns
    -------
    memmap

    Raises
    ------
    FileFormatError
        If it is something else, cut off, or holds objects.
    """
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (*DAMAGE, MemoryError) as error:
        raise FileFormatError(f"{path} is not an npy array, or is damaged: {error}.") from error
    return array
