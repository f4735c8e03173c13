"""What examples look like: pictures or texts, from a file or from the features themselves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from subsetsel.errors import FileFormatError, OptionError
from subsetsel.formats import Data, read_matrix
from subsetsel.formats.read import check_suffix, read_columns

if TYPE_CHECKING:
    from subsetsel.report.gallery import Looks

_TABLES = (".csv", ".tsv", ".parquet")
_ARRAYS = (".npy", ".npz", ".safetensors")


def read_looks(data: Data, examples: Path | None, image_shape: str | None) -> Looks | None:
    """Find out how to show the examples.

    Parameters
    ----------
    data : Data
    examples : Path, optional
        A file of pictures, or of texts.
    image_shape : str, optional
        ``HxW`` or ``HxWx3``: the features of an example, as a picture.

    Returns
    -------
    Looks, or None if nothing was said about it

    Raises
    ------
    OptionError
        If both are given, or the shape does not fit.
    FileFormatError
        If the file holds another number of examples.
    """
    from subsetsel.report.gallery import Looks

    if examples is not None and image_shape is not None:
        raise OptionError("give --examples or --image-shape, not both.")
    if image_shape is not None:
        shape = _parse(image_shape)
        if math.prod(shape) != data.num_features:
            raise OptionError(
                f"--image-shape {image_shape} means {math.prod(shape)} numbers, and an example has "
                f"{data.num_features}."
            )
        return Looks(pictures=data.X.reshape(data.n, *shape))
    if examples is None:
        return None
    suffix = check_suffix(examples, (*_ARRAYS, *_TABLES))
    if suffix in _ARRAYS:
        looks = Looks(pictures=read_matrix(examples))
    else:
        looks = Looks(texts=read_columns(examples, ["text"])[0])
    if looks.n != data.n:
        raise FileFormatError(f"{examples} shows {looks.n} examples, the data hold {data.n}.")
    return looks


def _parse(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(side) for side in text.lower().split("x"))
    except ValueError:
        shape = ()
    if len(shape) not in {2, 3} or min(shape, default=0) < 1:
        raise OptionError(f"--image-shape must look like 28x28 or 32x32x3, got {text!r}.")
    return shape
