"""``-`` in place of a file name: standard input, told apart by its first bytes."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path

from subsetsel.errors import FileFormatError, OptionError

STANDARD = Path("-")

_CHUNK = 1 << 20
_FILES: ContextVar[ExitStack] = ContextVar("temporary files of the command that runs")


@contextmanager
def temporary_files() -> Iterator[None]:
    """Keep what is put into files until the command ends, whatever happens."""
    with ExitStack() as stack:
        token = _FILES.set(stack)
        try:
            yield
        finally:
            _FILES.reset(token)


def files_of(named: dict[str, Path]) -> dict[str, Path]:
    """Put standard input into a file of its own where ``-`` is named.

    Parameters
    ----------
    named : dict
        What a file is for -> its name.

    Returns
    -------
    dict
        The same, with a temporary file in place of ``-``; it goes when the command ends.

    Raises
    ------
    OptionError
        If ``-`` is named twice, or standard input is a terminal.
    """
    if sum(path == STANDARD for path in named.values()) > 1:
        raise OptionError("standard input (-) can be only one of the files.")
    return {what: _spooled() if path == STANDARD else path for what, path in named.items()}


def file_of(path: Path) -> Path:
    """Put standard input into a file where ``-`` is named; see `files_of`.

    Returns
    -------
    Path
    """
    return files_of({"file": path})["file"]


def _spooled() -> Path:
    stream = sys.stdin.buffer
    if stream.isatty():
        raise OptionError("- means standard input, and that is a terminal; pipe a file into it.")
    start = stream.read(16)
    folder = _FILES.get().enter_context(tempfile.TemporaryDirectory(prefix="subsetsel-"))
    path = Path(folder, "standard-input" + suffix_of(start))
    with path.open("wb") as file:
        file.write(start)
        shutil.copyfileobj(stream, file, _CHUNK)
    return path


def suffix_of(start: bytes) -> str:
    """Tell a format from the first 16 bytes of a file.

    Returns
    -------
    str
        As in the name of a file; text is taken for CSV.

    Raises
    ------
    FileFormatError
        If there is nothing.
    """
    if not start:
        raise FileFormatError("standard input is empty.")
    if start.startswith(b"\x93NUMPY"):
        return ".npy"
    if start.startswith(b"PK"):
        return ".npz"
    if start.startswith(b"PAR1"):
        return ".parquet"
    # safetensors: eight bytes that say how long the header is, and the header, an object.
    if len(start) > 8 and start[8:9] == b"{" and start[6:8] == b"\0\0":
        return ".safetensors"
    return ".tsv" if b"\t" in start else ".csv"
