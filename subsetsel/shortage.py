"""Errors that help where memory is short: what was needed, what is free, what takes less."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from subsetsel.errors import FileFormatError, OutOfMemoryError
from subsetsel.rows.memory import free_memory


def describe(num_bytes: float) -> str:
    """Say a number of bytes in a unit that suits it.

    Returns
    -------
    str
    """
    for unit in ("bytes", "KiB", "MiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.4g} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:,.1f} GiB"


def check_fits(what: str, num_bytes: int) -> None:
    """Refuse what the memory cannot hold, before it is asked to.

    Parameters
    ----------
    what : str
        Begins the message: a file, and which part of it.
    num_bytes : int
        What it will take, as declared.

    Raises
    ------
    FileFormatError
        If there is less free memory.
    """
    free = free_memory()
    if num_bytes > free:
        raise FileFormatError(
            f"{what} would take {describe(num_bytes)} of memory, and {describe(free)} are free. "
            "An influence matrix of any size can be read from an .npy file, which is mapped."
        )


@contextmanager
def needs_memory(what: str, estimate: Callable[[], int], cure: str) -> Iterator[None]:
    """Turn running out of memory into an error that says what was needed and what needs less.

    Parameters
    ----------
    what : str
        Subject of the message.
    estimate : callable
        Gives the bytes that it takes; asked only when there were too few.
    cure : str

    Raises
    ------
    OutOfMemoryError
        In place of a MemoryError, or of the RuntimeError that PyTorch raises instead.
    Exception
        Any other is passed on, and so is an OutOfMemoryError of a place nearer to the fault.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OutOfMemoryError) or not _is_about_memory(error):
            raise
        raise OutOfMemoryError(
            f"out of memory: {what} takes about {describe(estimate())}, and "
            f"{describe(free_memory())} are free. {cure}"
        ) from error


def _is_about_memory(error: Exception) -> bool:
    # PyTorch has an error of its own on a GPU and only a text on a CPU.
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
        or "not enough memory" in str(error)
    )
