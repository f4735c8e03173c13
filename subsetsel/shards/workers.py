"""Who holds shards and computes with them: a seam of two calls, and this process behind it.

An engine such as Dask implements `Workers`. Nothing else is asked of it: no communication between
workers, no pinned workers, and no state on a worker that cannot be made again from its source.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import numpy as np

from subsetsel.errors import EngineError, OutOfMemoryError, SubsetselError
from subsetsel.shards.pieces import ALIGNMENT
from subsetsel.support.memory import planned_memory
from subsetsel.support.threads import one_blas_thread

SHARE_KEPT = 1 / 16
"""Of the planned memory: what `Serial` keeps of the values that it has made."""

FAILED_TASK = "failed_task"
"""The attribute of an error that says which task of a call of `Workers.run` it comes from."""


class Workers(Protocol):
    """An engine: it holds values, one for each shard, and applies functions to them.

    Functions must be importable, or travel by cloudpickle; they are pure, so that an engine may
    call them again where a worker was lost. They change neither what is held nor their arguments.
    """

    def hold(self, load: Callable[..., Any], sources: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Keep what ``load(*source)`` makes of each source.

        Parameters
        ----------
        load : callable
        sources : sequence of tuple
            Arguments of each call. What an earlier call of `hold` returned may stand among them;
            ``load`` is then given what is held.

        Returns
        -------
        list
            A handle for each source, in their order. What is held is dropped with its handle.
        """

    def run(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Give ``function(*one)`` for each tuple of arguments, in their order.

        Handles among the arguments stand for what they hold.

        Raises
        ------
        SubsetselError
            Of the first task, in the order of the arguments, that failed: see `explain`.
        """

    @property
    def num_workers(self) -> int:
        """How many tasks run at a time; 1 where nobody knows."""


def explain(error: BaseException, task: int) -> SubsetselError:
    """Make an error of the package of what a task failed with, and note which task it was.

    What is one already stays itself. `Shards` adds the name of the shard.
    """
    found = error if isinstance(error, SubsetselError) else _explained(error)
    setattr(found, FAILED_TASK, task)
    return found


def _explained(error: BaseException) -> SubsetselError:
    if isinstance(error, MemoryError):
        return OutOfMemoryError(
            f"the memory of a worker is not enough for what is made of a shard: {error} "
            "Cut the data into smaller shards, or give each worker more memory."
        )
    return EngineError(
        f"a worker failed with {type(error).__name__}: {error} The traceback above is the "
        "worker's; if the shard can be read, this is a fault of subsetsel: please report it."
    )


class Lazy:
    """A handle of `Serial`: what makes a value, and the value while it is kept."""

    def __init__(self, load: Callable[..., Any], source: tuple[Any, ...]) -> None:
        self.load, self.source = load, source
        self.value: Any = None
        self.is_kept = False


class Serial:
    """Computes in this process, one shard after the other.

    Values are made again in each round, so that one shard is in memory at a time. The first ones
    are kept, up to a limit: what is small is made once.

    Parameters
    ----------
    most_kept : int, optional
        Bytes of values to keep; a sixteenth of the planned memory otherwise (1 GiB of 16).
        Values that do not tell their size (`bytes_of`) are never kept.
    """

    num_workers = 1

    def __init__(self, most_kept: int | None = None) -> None:
        self._most_kept = most_kept
        self.kept_bytes = 0

    def hold(self, load: Callable[..., Any], sources: Sequence[tuple[Any, ...]]) -> list[Lazy]:
        """See `Workers.hold`; nothing is loaded yet."""
        return [Lazy(load, source) for source in sources]

    def run(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See `Workers.run`."""
        found = []
        with one_thread():
            for k, one in enumerate(arguments):
                try:
                    found.append(function(*aligned(tuple(map(self._value, one)))))
                except Exception as error:
                    explained = explain(error, k)
                    if explained is error:
                        raise
                    raise explained from error
        return found

    def _value(self, given: Any) -> Any:
        if not isinstance(given, Lazy):
            return given
        if given.is_kept:
            return given.value
        value = given.load(*map(self._value, given.source))
        num_bytes = bytes_of(value)
        if num_bytes is not None and self.kept_bytes + num_bytes <= self._limit():
            given.value, given.is_kept = value, True
            self.kept_bytes += num_bytes
            weakref.finalize(given, self._drop, num_bytes)
        return value

    def _limit(self) -> int:
        return int(SHARE_KEPT * planned_memory()) if self._most_kept is None else self._most_kept

    def _drop(self, num_bytes: int) -> None:
        self.kept_bytes -= num_bytes


def bytes_of(value: Any) -> int | None:
    """Bytes of memory that a held value takes by its own account; None where it gives none.

    An object tells them by an attribute ``held_bytes``, or ``nbytes``; a tuple or list takes what
    its entries take, of which those that are None take nothing.
    """
    if value is None:
        return 0
    if isinstance(value, (tuple, list)):
        sizes = [bytes_of(one) for one in value]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None
    found = getattr(value, "held_bytes", getattr(value, "nbytes", None))
    return None if found is None else int(found)


def aligned(value: Any) -> Any:
    """Copy arrays that do not begin at a multiple of 16 bytes, also those in tuples and lists.

    Where an array begins depends on whether it was sent, spilled, mapped or made, and NumPy and
    PyTorch sum in another order where that is no multiple of what they load at once.
    """
    if isinstance(value, np.ndarray):
        return value.copy() if value.ctypes.data % ALIGNMENT else value
    if type(value) in {tuple, list}:
        return type(value)(map(aligned, value))
    return value


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread, as each task of any engine does: then all give the same bits.

    PyTorch is held to one thread where it is loaded: what uses it imports it at the top of its
    module, so that it is there before a task starts.
    """
    with ExitStack() as stack:
        stack.enter_context(one_blas_thread())
        if "torch" in sys.modules:
            from subsetsel.support.threads import by_blocks

            stack.enter_context(by_blocks())
        yield
