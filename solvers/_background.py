"""Run a native solver beside the clock, so that limits and Ctrl-C reach it within a moment."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from subsetsel.engine.run import Run
from subsetsel.rows.base import BoolArray

_TICK = 0.02  # seconds between two looks at clock, target and keyboard
_GRACE = 0.7  # seconds a native solver is given to stop before it is left behind


def run_beside_clock(
    work: Callable[[], None], stop: Callable[[], None], found: deque[BoolArray], run: Run
) -> None:
    """Do `work` in a thread; meanwhile submit what it finds and watch for a reason to stop.

    ``work`` must release the interpreter's lock, ``stop`` be thread-safe and ask it to return;
    callbacks inside ``work`` fill ``found`` with masks (n,). The run is touched from the calling
    thread only. Ctrl-C is raised once the solver was stopped and what it found was submitted.
    """
    errors: list[BaseException] = []
    # Not Thread.join: interrupted, it takes a running thread for a finished one (bpo-45274).
    is_done = threading.Event()

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # carried to the calling thread below
            errors.append(error)
        finally:
            is_done.set()

    threading.Thread(target=guarded, daemon=True).start()
    try:
        while not is_done.wait(_TICK):
            _submit_all(found, run)
            if run.should_stop():
                stop()
                is_done.wait(_GRACE)
                break
    except KeyboardInterrupt:
        stop()
        is_done.wait(_GRACE)
        _submit_all(found, run)
        raise
    _submit_all(found, run)
    if errors:
        raise errors[0]


def _submit_all(found: deque[BoolArray], run: Run) -> None:
    while found:
        run.submit(found.popleft())
