"""How many threads compute: as many as pay for the work at hand, and never more than are allowed.

A parallel region ends when its slowest thread does. Where another process holds a core, that takes
20 to 80 ms longer, however small the region. Two threads of MKL or OpenBLAS then need 500 times as
long for a product of 0.04 ms as one, three times as long for one of 18 ms, and gain from 200 ms on.
So the libraries compute with one thread, and large work is cut into blocks that threads of our own
take one after the other: they meet once, at its end.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")

FLOPS_PER_THREAD = 1e9
"""What each thread must have to do, between two meetings, to be worth its start: about 40 ms."""


def allowed_cores() -> int:
    """Count the cores that this process may use: by its affinity and its container's quota.

    A quota of two and a half cores counts as two, one of less than one as one.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:  # macOS, Windows
        cores = os.cpu_count() or 1
    return max(1, math.floor(min(cores, _own_quota())))


@cache
def _own_quota() -> float:
    return cpu_quota(Path("/"))


def cpu_quota(root: Path) -> float:
    """Cores' worth of time that the control groups of this process allow; inf without a limit.

    Parameters
    ----------
    root : Path
        Where ``proc/self/cgroup`` and ``sys/fs/cgroup`` lie: "/".
    """
    found = math.inf
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            mounts, read = ["."], _quota_of_v2
        elif "cpu" in controllers.split(","):
            mounts, read = ["cpu", controllers], _quota_of_v1
        else:
            continue
        # The limits of all groups around a process hold. Inside a container its path may be that
        # outside: then only the mount itself is there.
        inner = Path(path.lstrip("/"))
        for mount in mounts:
            for group in (inner, *inner.parents):
                found = min(found, read(root / "sys/fs/cgroup" / mount / group))
    return found


def _quota_of_v2(folder: Path) -> float:
    fields = _read(folder / "cpu.max").split()
    return int(fields[0]) / int(fields[1]) if fields and fields[0] != "max" else math.inf


def _quota_of_v1(folder: Path) -> float:
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota and int(quota) > 0 else math.inf


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


# --- torch ----------------------------------------------------------------------------------------


class _Torch:
    """What contexts of `by_blocks` share: how many are open, and what the user's number is."""

    lock = threading.Lock()
    num_open = 0
    given = 1


_own = threading.local()


@contextmanager
def by_blocks() -> Iterator[int]:
    """Let torch compute with one thread, and `map_blocks` with as many as the user allows.

    The user's number, from `torch.set_num_threads` or OMP_NUM_THREADS, is set again at the end,
    also after an error. Inside another such context of the same thread this does nothing. On a GPU
    it has no effect.

    Yields
    ------
    int
        Threads for `map_blocks`: the user's number, or `allowed_cores` if that is less.
    """
    import torch

    if getattr(_own, "count", 0):
        yield _own.count
        return
    with _Torch.lock:
        # Where another thread is inside already, torch would name one.
        if not _Torch.num_open:
            _Torch.given = torch.get_num_threads()
        _Torch.num_open += 1
        given = _Torch.given
        torch.set_num_threads(1)
    _own.count = min(given, allowed_cores())
    try:
        yield _own.count
    finally:
        _own.count = 0
        with _Torch.lock:
            _Torch.num_open -= 1
            torch.set_num_threads(given)


def map_blocks(
    function: Callable[[Item], Found], blocks: Iterable[Item], *, flops: float, is_cpu: bool = True
) -> Iterator[Found]:
    """Apply a function of torch to blocks, each by one thread; results come in their order.

    What is found does not depend on the number of threads.

    Parameters
    ----------
    function : callable
        Must not write where it writes for another block. An error ends the work.
    blocks : iterable
        Short pieces of work: whoever is ready takes the next.
    flops : float
        Of all blocks together. A second thread starts only where each has `FLOPS_PER_THREAD`.
    is_cpu : bool
        False for work of a GPU, which one thread feeds.
    """
    with by_blocks() as allowed:
        count = min(allowed, int(flops / FLOPS_PER_THREAD)) if is_cpu else 1
    if count > 1:
        yield from _map_with_threads(function, iter(blocks), count)
        return
    for block in blocks:
        with by_blocks():
            found = function(block)
        yield found


def run_blocks(
    function: Callable[[Item], None], blocks: Iterable[Item], *, flops: float, is_cpu: bool = True
) -> None:
    """Do as `map_blocks` with a function that returns nothing."""
    for _ in map_blocks(function, blocks, flops=flops, is_cpu=is_cpu):
        pass


def _map_with_threads(
    function: Callable[[Item], Found], blocks: Iterator[Item], count: int
) -> Iterator[Found]:
    import torch

    before = torch.get_num_threads()
    waiting: deque[Future[Found]] = deque()
    with ThreadPoolExecutor(count, initializer=_begin_as_worker) as pool:
        try:
            for block in blocks:
                waiting.append(pool.submit(function, block))
                # A few results may lie ready, not all of a long walk.
                if len(waiting) > 2 * count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            # What a worker sets for itself, torch also takes for threads to come.
            torch.set_num_threads(before)


def _begin_as_worker() -> None:
    """Compute with this thread alone, also where a block is cut into blocks again."""
    import torch

    _own.count = 1
    torch.set_num_threads(1)


# --- NumPy ----------------------------------------------------------------------------------------


class _Blas:
    lock = threading.Lock()
    num_open = 0
    restore: Callable[[], None]
    libraries: Any = None
    num_modules = 0


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let NumPy and SciPy multiply with one thread; the last to leave sets the user's number."""
    with _Blas.lock:
        if not _Blas.num_open:
            _take_control()
            limited = _libraries().limit(limits=1, user_api="blas")
            _Blas.restore = limited.restore_original_limits
        _Blas.num_open += 1
    try:
        yield
    finally:
        with _Blas.lock:
            _Blas.num_open -= 1
            if not _Blas.num_open:
                _take_control()
                _Blas.restore()


def _libraries() -> Any:
    """List the libraries that are loaded: milliseconds, so only after something was imported."""
    from threadpoolctl import ThreadpoolController

    if _Blas.libraries is None or _Blas.num_modules != len(sys.modules):
        _Blas.libraries, _Blas.num_modules = ThreadpoolController(), len(sys.modules)
    return _Blas.libraries


def _take_control() -> None:
    """Let this thread set the number of OpenBLAS, which is that of the whole process.

    From 3.8 on threadpoolctl ignores all threads but the first that set it, as long as that lives.
    """
    import threadpoolctl

    controller = getattr(threadpoolctl, "OpenBLASController", None)
    clear = getattr(controller, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)
