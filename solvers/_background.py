"""Run a native solver beside the clock, so that limits and Ctrl-C reach it within a moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar

from subsetsel.engine.run import Run
from subsetsel.rows.base import BoolArray
from subsetsel.support.background import Background

Result = TypeVar("Result")

_TICK = 0.02  # seconds between two looks at clock, target and keyboard
_GRACE = 0.25  # seconds a native solver is given to stop before it is left behind


def run_beside_clock(
    work: Callable[[], Result],
    run: Run,
    *,
    stop: Callable[[], None] = lambda: None,
    found: deque[BoolArray] | None = None,
) -> Result | None:
    """Do `work` in a thread; meanwhile submit what it finds and watch for a reason to stop.

    ``work`` must release the interpreter's lock, ``stop`` be thread-safe and ask it to return;
    callbacks inside ``work`` fill ``found`` with masks (n,). The run is touched from the calling
    thread only. Ctrl-C is raised once the solver was stopped and what it found was submitted. None
    where the solver did not stop and was left behind.
    """
    thread, masks = Background(work), found if found is not None else deque[BoolArray]()
    try:
        while not (is_done := thread.wait(_TICK)):
            _submit_all(masks, run)
            if run.should_stop():
                stop()
                is_done = thread.wait(_GRACE)
                break
    except KeyboardInterrupt:
        stop()
        thread.wait(_GRACE)
        _submit_all(masks, run)
        raise
    _submit_all(masks, run)
    return thread.result() if is_done else None


def _submit_all(found: deque[BoolArray], run: Run) -> None:
    while found:
        run.submit(found.popleft())
