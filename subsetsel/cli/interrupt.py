"""Ctrl-C while there is nothing to lose yet: one line, and the exit status of an interrupt.

An interrupt in the middle of an import leaves half-made modules behind, and reaches the user as
some other error, or not at all. Nothing heavy is imported here, so that this comes first.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

INTERRUPTED = 130
MESSAGE = "interrupted; nothing was written"

_cleanups: list[Callable[[], None]] = []


def _quit(signum: int, frame: FrameType | None) -> None:
    """End the process here and now."""
    sys.stderr.write(f"{MESSAGE}\n")
    sys.stderr.flush()
    for cleanup in _cleanups:
        cleanup()
    os._exit(INTERRUPTED)


@contextmanager
def quits_at_once() -> Iterator[None]:
    """End the command at Ctrl-C without raising anything, for as long as the block is loading."""
    with _handling(_quit):
        yield


@contextmanager
def raises_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt at Ctrl-C, as Python does, inside a block of `quits_at_once`."""
    is_quitting = signal.getsignal(signal.SIGINT) is _quit
    with _handling(signal.default_int_handler if is_quitting else None):
        yield


@contextmanager
def cleaned_up(cleanup: Callable[[], None]) -> Iterator[None]:
    """Do this also where Ctrl-C ends the process at once."""
    _cleanups.append(cleanup)
    try:
        yield
    finally:
        _cleanups.remove(cleanup)


@contextmanager
def _handling(handler: Any) -> Iterator[None]:
    """Set what Ctrl-C does, which only the main thread may; None leaves it, as what ignores it."""
    is_main = threading.current_thread() is threading.main_thread()
    if handler is None or not is_main or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def is_interrupt(error: BaseException | None) -> bool:
    """Whether an error is a KeyboardInterrupt, or comes from one that C code made an error of."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False
