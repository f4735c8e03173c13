"""Processes that are killed at a chosen moment, and processes that may do less than root may."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

_PR_CAPBSET_DROP = 24
# Those that let root write where the permissions forbid it.
_CAPABILITIES = (1, 2, 3)


_TOUCHES = frozenset({
    *("open", "os.rename", "os.remove", "os.mkdir", "os.chmod", "os.truncate", "mmap.__new__"),
})


def killed_at_touch(work: Callable[[], Any], folder: Path, number: int) -> bool:
    """Run work in a child that kills itself before it touches a file of the folder once more.

    Between two such calls nothing on the disk gets another name or comes to be, so going through
    the numbers from 0 on means killing it at any moment. SIGKILL cannot be caught: nothing is
    flushed, closed or cleaned up, as after the OOM killer.

    Parameters
    ----------
    work : callable
    folder : Path
    number : int
        How often it may open, rename, remove or make something there.

    Returns
    -------
    bool
        False if the work was finished before.
    """
    with warnings.catch_warnings():
        # Python 3.12 warns of threads in a parent; the child here uses none of them.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _count_down(work, str(folder), number)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the work failed before it could be killed"
    return False


def _count_down(work: Callable[[], Any], folder: str, number: int) -> None:
    left = number

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in _TOUCHES and any(folder in str(argument) for argument in arguments):
            left -= 1
            if left < 0:
                kill_me()

    code = 1
    try:
        sys.addaudithook(watch)
        work()
        code = 0
    finally:
        # No cleaning up of what belongs to the parent.
        os._exit(code)


def kill_me() -> None:
    """Die at once, without a chance to tidy up."""
    os.kill(os.getpid(), signal.SIGKILL)


def give_up_root() -> None:
    """Let permissions hold for root too; for ``preexec_fn`` of a subprocess."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        for capability in _CAPABILITIES:
            libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
