"""One name for several files: a folder of parquet files, or a glob."""

from __future__ import annotations

import errno
import glob
from pathlib import Path


def parts_of(path: Path) -> list[Path]:
    """List the files that a name stands for, sorted by their names.

    A folder stands for its ``.parquet`` files without those that begin with ``.`` or ``_``, which
    writers use for their own; a name with ``*``, ``?`` or ``[`` for the files that match it; any
    other name for itself.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    if path.is_dir():
        found = [part for part in path.glob("*.parquet") if part.name[0] not in "._"]
        what = "the folder holds no .parquet file (for pictures name your network: --model)"
    elif not path.exists() and glob.has_magic(str(path)):
        found = [Path(name) for name in glob.glob(str(path), recursive=True)]
        what = "no file matches"
    else:
        found = [path] if path.exists() else []
        what = "no such file"
    if not found:
        raise FileNotFoundError(errno.ENOENT, what, str(path))
    return sorted(found)
