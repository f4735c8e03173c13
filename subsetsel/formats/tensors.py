"""safetensors: named arrays behind a JSON header, whose sizes the library checks as it opens."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from subsetsel.errors import FileFormatError
from subsetsel.formats.data import Array
from subsetsel.support.arrays import as_text
from subsetsel.support.memory import check_fits
from subsetsel.support.optional import import_extra


@contextmanager
def _opened(path: Path, framework: str = "numpy") -> Iterator[Any]:
    library = import_extra("safetensors", "safetensors", "safetensors files")
    try:
        with library.safe_open(path, framework=framework) as tensors:
            yield tensors
    except (library.SafetensorError, OSError, ValueError, TypeError, OverflowError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(
            f"{path} is not a safetensors file, or is damaged: {error}."
        ) from error


def names_in_tensors(path: Path) -> list[str]:
    """List the tensors of a safetensors file."""
    with _opened(path) as tensors:
        return list(tensors.keys())


def texts_in_tensors(path: Path) -> list[str]:
    """List the texts that look like JSON lists, among the metadata of a safetensors file."""
    return [name for name, text in read_metadata(path).items() if text.lstrip().startswith("[")]


def read_tensor(path: Path, key: str) -> Array:
    """Read one tensor; bfloat16, which NumPy does not know, becomes float32."""
    with _opened(path) as tensors:
        names = list(tensors.keys())
        if key not in names:
            raise FileFormatError(
                f"{path} has no tensor {key!r}; it holds {', '.join(names) or 'none'}."
            )
        part = tensors.get_slice(key)
        # The library has compared the shape with the file's size; eight bytes a number at most.
        check_fits(f"{path}: tensor {key!r}", 8 * math.prod(part.get_shape()))
        if part.get_dtype() != "BF16":
            array: Array = tensors.get_tensor(key)
            return array
    with _opened(path, "pt") as tensors:
        wide: Array = tensors.get_tensor(key).float().numpy()
    return wide


def read_metadata(path: Path) -> dict[str, str]:
    """Read the texts that a safetensors file carries beside its tensors."""
    with _opened(path) as tensors:
        return dict(tensors.metadata() or {})


def read_texts(path: Path, name: str) -> Array | None:
    """Read texts that the metadata hold as a JSON list; None if there are none of that name."""
    text = read_metadata(path).get(name)
    if text is None:
        return None
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: metadata {name!r} is no JSON list: {error}.") from error
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise FileFormatError(f"{path}: metadata {name!r} must be a JSON list of texts.")
    return as_text(f"{path}: {name!r}", values)


def write_tensors(path: Path, arrays: Mapping[str, Array], texts: Mapping[str, str]) -> None:
    """Write arrays and texts by name."""
    library = import_extra("safetensors.numpy", "safetensors", "safetensors files")
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    library.save_file(contiguous, path, metadata=dict(texts))
