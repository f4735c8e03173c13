"""Who holds shards and computes with them: a seam of two calls, and this process behind it.

An engine such as Dask implements `Workers`. Nothing else is asked of it: no communication between
workers, no pinned workers, and no state on a worker that cannot be made again from its source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from subsetsel.support.memory import most_held
from subsetsel.support.threads import one_blas_thread


class Workers(Protocol):
    """An engine: it holds values, one for each shard, and applies functions to them.

    Functions must be importable, or travel by cloudpickle; they are pure, so that an engine may
    call them again where a worker was lost.
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
            A handle for each source, in their order.
        """

    def run(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Give ``function(*one)`` for each tuple of arguments, in their order.

        Handles among the arguments stand for what they hold.
        """

    @property
    def num_workers(self) -> int:
        """How many tasks run at a time; 1 where nobody knows."""


class Lazy:
    """A handle of `Serial`: what makes a value, and the value while it is kept."""

    def __init__(self, load: Callable[..., Any], source: tuple[Any, ...]) -> None:
        self.load, self.source = load, source
        self.value: Any = None
        self.is_kept = False


class Serial:
    """Computes in this process, one shard after the other.

    Values are made again in each round, so that one shard is in memory at a time, unless all values
    of a call of `hold` together fit into half of the memory that is planned for.
    """

    num_workers = 1

    def __init__(self, most_kept: int | None = None) -> None:
        self._most_kept = most_kept
        self._kept_bytes = 0

    def hold(self, load: Callable[..., Any], sources: Sequence[tuple[Any, ...]]) -> list[Lazy]:
        """See `Workers.hold`; nothing is loaded yet."""
        return [Lazy(load, source) for source in sources]

    def run(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See `Workers.run`."""
        with one_thread():
            return [function(*map(self._value, one)) for one in arguments]

    def _value(self, given: Any) -> Any:
        if not isinstance(given, Lazy):
            return given
        if given.is_kept:
            return given.value
        value = given.load(*map(self._value, given.source))
        num_bytes = bytes_of(value)
        most = most_held() if self._most_kept is None else self._most_kept
        if num_bytes is not None and self._kept_bytes + num_bytes <= most:
            given.value, given.is_kept = value, True
            self._kept_bytes += num_bytes
        return value


def bytes_of(value: Any) -> int | None:
    """Bytes of memory that a held value takes by its own account; None where it gives none."""
    found = getattr(value, "held_bytes", getattr(value, "nbytes", None))
    return None if found is None else int(found)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread, as each task of any engine does: then all give the same bits."""
    import sys

    with ExitStack() as stack:
        stack.enter_context(one_blas_thread())
        if "torch" in sys.modules:
            from subsetsel.support.threads import by_blocks

            stack.enter_context(by_blocks())
        yield
