"""A full disk and too little memory, made by limits that the system itself enforces."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

needs_limits = pytest.mark.skipif(sys.platform != "linux", reason="needs the limits of Linux")


@contextlib.contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """Let the system refuse to write more than so many bytes to any file, as on a full disk."""
    import resource

    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


@contextlib.contextmanager
def more_memory(num_bytes: int) -> Iterator[None]:
    """Let the process have so many bytes more than it has, and then no more."""
    import resource

    # What is free but not given back would serve first.
    gc.collect()
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    old = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + num_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)
