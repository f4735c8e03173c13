"""Native code beside the clock: it runs in a thread, so that limits and Ctrl-C need not wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from subsetsel.support.clock import Clock, TimeIsUp

Result = TypeVar("Result")

_TICK = 0.1  # seconds between two looks at the keyboard
_GRACE = 0.2  # seconds that code with a time limit of its own is given to notice its end


class Background(Generic[Result]):
    """Work in a thread; whoever waits for it can turn away at any moment.

    Parameters
    ----------
    work : callable
        Must release the interpreter's lock. Left behind it runs on unseen, and ends with the
        process at the latest.
    """

    def __init__(self, work: Callable[[], Result]) -> None:
        self._work = work
        self._results: list[Result] = []
        self._errors: list[BaseException] = []
        # Not Thread.join: interrupted, it takes a running thread for a finished one (bpo-45274).
        self._is_done = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except BaseException as error:  # carried to the waiting thread by `result`
            self._errors.append(error)
        finally:
            self._is_done.set()

    def wait(self, seconds: float) -> bool:
        """Wait for so long at most, and say whether the work is done."""
        return self._is_done.wait(seconds)

    def result(self) -> Result:
        """Give what the work returned, or raise what it raised; only once it is done."""
        if self._errors:
            raise self._errors[0]
        return self._results[0]


def beside_clock(work: Callable[[], Result], clock: Clock) -> Result:
    """Do work that has the time limit of a clock, and turn away soon after it or at Ctrl-C.

    Parameters
    ----------
    work : callable
        As in `Background`.
    clock : Clock

    Raises
    ------
    TimeIsUp
        If the work goes on though its time is up.
    """
    thread = Background(work)
    while not thread.wait(max(0.0, min(_TICK, clock.remaining + _GRACE))):
        if clock.remaining + _GRACE <= 0:
            raise TimeIsUp
    return thread.result()
