"""One name for several files: a folder, or a glob."""

from __future__ import annotations

import errno
import glob
import re
from collections.abc import Sequence
from pathlib import Path


def parts_of(path: Path, endings: Sequence[str] = (".parquet",)) -> list[Path]:
    """List the files that a name stands for, sorted by their names, numbers in them as numbers.

    A folder stands for its files of the first of the endings that any has, without those that begin
    with ``.`` or ``_``, which writers use for their own; a name with ``*``, ``?`` or ``[`` for the
    files that match it; any other name for itself.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    if path.is_dir() and not (".zarr" in endings and path.suffix == ".zarr"):
        own = [part for part in path.iterdir() if part.name[0] not in "._"]
        kinds = [[part for part in own if part.suffix == ending] for ending in endings]
        found = next(filter(None, kinds), [])
        what = (
            f"the folder holds no {' or '.join(endings)} file (for pictures name your network: "
            "--model)"
        )
    elif not path.exists() and glob.has_magic(str(path)):
        found = [Path(name) for name in glob.glob(str(path), recursive=True)]
        what = f"no file matches (a relative name begins at {Path.cwd()})"
    else:
        found = [path] if path.exists() else []
        what = "no such file"
    if not found:
        raise FileNotFoundError(errno.ENOENT, what, str(path))
    return sorted(found, key=_natural)


def _natural(path: Path) -> tuple[list[int | str], str]:
    """Order part-2 before part-10."""
    pieces = re.split("([0-9]+)", str(path))
    return [int(one) if one.isdecimal() and one.isascii() else one for one in pieces], str(path)
