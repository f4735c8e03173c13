"""What memory is planned with, how much is free, and the errors where there is too little of it.

What is held and what is computed again is chosen by the plan alone: two processes with different
free memory choose alike, and where the plan does not fit the free memory there is an error.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from subsetsel.errors import FileFormatError, OptionError, OutOfMemoryError

VARIABLE = "SUBSETSEL_MEMORY_GIB"
# What is planned with where the variable is not set. Half of it holds a million rows of 2,000
# numbers in float32, and the factor of the 20,000 parameters that are factored at most. A plan that
# is too large ends in an error that names the cure; one that is too small makes answers worse
# without a word. With a plan for half of S of 6,000 x 505, Eq. 3 pruned 127 examples instead of
# 222, and the norm of Eq. 4 was 0.0291 instead of 0.0226, each in three times the time.
DEFAULT_GIB = 16.0
# S and the Hessian are there at the same time.
_SHARE_OF_ONE = 0.5
_GIB = 2**30
_UNKNOWN = 4 * _GIB
_CGROUP = Path("/sys/fs/cgroup")


def planned_memory() -> int:
    """Bytes of memory that choices count with: those of ``SUBSETSEL_MEMORY_GIB``, else 16 GiB.

    Never what is free: the same data and settings lead to the same choices in every process.

    Raises
    ------
    OptionError
        If the variable is no positive number.
    """
    wanted = _wanted()
    return int((DEFAULT_GIB if wanted is None else wanted) * _GIB)


def most_held() -> int:
    """Bytes up to which S, the matrix of a search or a Hessian is held: half of the plan."""
    return int(_SHARE_OF_ONE * planned_memory())


def free_memory() -> int:
    """Bytes of memory that can be had without swapping; 4 GiB where the system does not say.

    The least of what the system has free, and of what remains of three limits: the container's
    (cgroup), the process's (``ulimit -v``), and the one of the environment variable
    ``SUBSETSEL_MEMORY_GIB``, which counts all memory that the process has taken.

    Raises
    ------
    OptionError
        If the variable is no positive number.
    """
    known, wanted = list(_known()), _wanted()
    if wanted is not None:
        known.append(int(wanted * _GIB) - _taken(1))
    return max(0, min(known, default=_UNKNOWN))


def _known() -> Iterator[int]:
    yield from _system()
    yield from _container()
    yield from _allowed()


def _system() -> Iterator[int]:
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            yield 1024 * int(line.split()[1])


def _container() -> Iterator[int]:
    limit, used = _read(_CGROUP / "memory.max"), _read(_CGROUP / "memory.current")
    if limit.strip().isdigit() and used.strip().isdigit():
        # Cached pages of files count as used, but the system gives them up when memory is needed.
        files = sum(
            int(line.split()[1])
            for line in _read(_CGROUP / "memory.stat").splitlines()
            if line.startswith(("inactive_file ", "active_file "))
        )
        yield int(limit) - int(used) + files


def _allowed() -> Iterator[int]:
    try:
        import resource
    except ImportError:  # Windows
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        yield limit - _taken(0)


def _wanted() -> float | None:
    """GiB of the variable, where it is set."""
    given = os.environ.get(VARIABLE)
    if not given:
        return None
    try:
        limit = float(given)
    except ValueError:
        limit = math.nan
    if not 0 < limit < math.inf:
        raise OptionError(f"{VARIABLE} must be a positive number of GiB, got {given!r}.")
    return limit


def _taken(field: int) -> int:
    """Bytes that the process has taken: of address space (0), of memory (1)."""
    fields = _read(Path("/proc/self/statm")).split()
    return int(fields[field]) * os.sysconf("SC_PAGE_SIZE") if fields else 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


def describe(num_bytes: float) -> str:
    """Write a number of bytes with the unit that suits it."""
    for unit in ("bytes", "KiB", "MiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.4g} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:,.1f} GiB"


def check_fits(what: str, num_bytes: int) -> None:
    """Refuse to read ``num_bytes`` of a file where less memory is free.

    Raises
    ------
    FileFormatError
        Its message begins with ``what``: a file, and which part of it.
    """
    free = free_memory()
    if num_bytes > free:
        raise FileFormatError(
            f"{what} would take {describe(num_bytes)} of memory, and {describe(free)} are free. "
            "An influence matrix of any size can be read from an .npy file, which is mapped."
        )


def require_memory(what: str, num_bytes: int, cure: str) -> None:
    """Refuse to take ``num_bytes`` where fewer are free: the system might kill the process.

    The variable is no limit here, since the plan has kept to it. Where the system does not say
    what is free, nothing is refused.

    Raises
    ------
    OutOfMemoryError
        Its message begins with ``what``, says what is planned with, and ends with ``cure``.
    """
    free = min(_known(), default=num_bytes)
    if num_bytes > free:
        raise OutOfMemoryError(
            f"out of memory: {what} takes {describe(num_bytes)}, and {describe(max(0, free))} are "
            f"free. {describe(planned_memory())} of memory are planned with, whatever is free; "
            f"{VARIABLE} sets another number of GiB. {cure}"
        )


@contextmanager
def needs_memory(what: str, estimate: Callable[[], int], cure: str) -> Iterator[None]:
    """Turn running out of memory into an error that says what was needed and what needs less.

    ``what`` is the subject of its message; ``estimate`` gives the bytes that it takes, and is
    called only where memory ran out.

    Raises
    ------
    OutOfMemoryError
        In place of a MemoryError, or of the RuntimeError that PyTorch raises instead. All other
        errors pass, and so does an OutOfMemoryError raised nearer to the fault.
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
