"""How much memory may still be used: what everything that chooses by memory asks."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from subsetsel.errors import OptionError

VARIABLE = "SUBSETSEL_MEMORY_GIB"
_GIB = 2**30
_UNKNOWN = 4 * _GIB
_CGROUP = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Bytes of memory that can be had without swapping.

    The least of what the system has free, what the container (cgroup) leaves, what the limit of
    the process (``ulimit -v``) leaves, and, where the environment variable
    ``SUBSETSEL_MEMORY_GIB`` names a limit for the whole process, what is left of that.

    Returns
    -------
    int
        4 GiB where the system does not say.

    Raises
    ------
    OptionError
        If the variable is no positive number.
    """
    known = [*_system(), *_container(), *_allowed(), *_wanted()]
    return max(0, min(known, default=_UNKNOWN))


def _system() -> Iterator[int]:
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            yield 1024 * int(line.split()[1])


def _container() -> Iterator[int]:
    limit, used = _read(_CGROUP / "memory.max"), _read(_CGROUP / "memory.current")
    if limit.strip().isdigit() and used.strip().isdigit():
        # Pages of files are counted as used, but are given up where memory is wanted.
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
    fields = _read(Path("/proc/self/statm")).split()
    if limit != resource.RLIM_INFINITY and fields:
        yield limit - int(fields[0]) * resource.getpagesize()


def _wanted() -> Iterator[int]:
    given = os.environ.get(VARIABLE)
    if not given:
        return
    try:
        limit = float(given)
    except ValueError:
        limit = math.nan
    if not 0 < limit < math.inf:
        raise OptionError(f"{VARIABLE} must be a positive number of GiB, got {given!r}.")
    yield int(limit * _GIB) - _resident()


def _resident() -> int:
    fields = _read(Path("/proc/self/statm")).split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if fields else 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
