"""``-`` in place of a file name: standard input, in the format that ``--format`` names."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path

from subsetsel.cli.interrupt import cleaned_up
from subsetsel.errors import FileFormatError, OptionError
from subsetsel.formats import MATRIX_SUFFIXES

STANDARD = Path("-")

_FILES: ContextVar[ExitStack] = ContextVar("temporary files of the command that runs")


@contextmanager
def temporary_files() -> Iterator[None]:
    """Remove the copies of standard input when the command ends, whatever happens."""
    with ExitStack() as stack, cleaned_up(stack.close):
        token = _FILES.set(stack)
        try:
            yield
        finally:
            _FILES.reset(token)


def files_of(named: dict[str, Path], file_format: str | None) -> dict[str, Path]:
    """Copy standard input to a temporary file and name that in place of ``-``.

    ``named`` says what a file is for and how it is called; the format, which ``--format`` names, is
    needed if, and only if, one of them is ``-``.
    """
    count = sum(path == STANDARD for path in named.values())
    if count > 1:
        raise OptionError("standard input (-) can be only one of the files.")
    known = [suffix[1:] for suffix in MATRIX_SUFFIXES]
    if count and file_format not in known:
        got = "" if file_format is None else f", not {file_format}"
        raise OptionError(
            f"standard input (-) has no name that ends in its format{got}; say which it is, such "
            f"as --format npz: {', '.join(known)}."
        )
    if not count and file_format is not None:
        raise OptionError(
            "--format speaks of standard input (-), which no argument names; leave it out, since "
            "the ending of a file's name tells its format."
        )
    return {
        what: _copy(f"standard-input.{file_format}") if path == STANDARD else path
        for what, path in named.items()
    }


def file_of(path: Path, file_format: str | None) -> Path:
    """Name a temporary copy of standard input in place of ``-``; see `files_of`."""
    return files_of({"file": path}, file_format)["file"]


def _copy(name: str) -> Path:
    stream = sys.stdin.buffer
    if stream.isatty():
        raise OptionError("- means standard input, and that is a terminal; pipe a file into it.")
    folder = _FILES.get().enter_context(tempfile.TemporaryDirectory(prefix="subsetsel-"))
    path = Path(folder, name)
    with path.open("wb") as file:
        shutil.copyfileobj(stream, file)
    if not path.stat().st_size:
        raise FileFormatError("standard input is empty.")
    return path
