"""Sums over shards of arrays that are too large to come here one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from subsetsel.shards.table import Shards


def add_up(
    shards: Shards,
    function: Callable[..., NDArray[Any]],
    *common: Any,
    only: Sequence[int] | None = None,
) -> NDArray[Any]:
    """Sum what ``function(value, *common)`` gives of each shard, two and two, where they lie.

    One sum comes here, whatever the number of shards. The pairs go by the number of shards alone,
    so that any engine gives the same bits.

    Parameters
    ----------
    shards : Shards
    function : callable
        As in `Shards.map`; gives an array that nobody else writes to.
    *common
        For every shard.
    only : sequence of int, optional
        The shards that are asked, at least one; all of them otherwise.
    """
    asked = range(len(shards)) if only is None else only
    workers = shards.workers
    sources = [(function, shards.held[k], *common) for k in asked]
    held = workers.hold(_wrap, sources)
    while len(held) > 1:
        pairs = list(zip(held[::2], held[1::2], strict=False))
        held = workers.hold(_add, pairs) + held[2 * len(pairs) :]
    total: NDArray[Any] = workers.run(_unwrap, [(held[0],)])[0]
    shards.num_rounds += 1
    shards.bytes_sent += len(sources) * total.nbytes
    return total


# A tuple has no bytes by its own account: an engine that keeps what fits keeps no part of a sum.
def _wrap(function: Callable[..., NDArray[Any]], value: Any, *common: Any) -> tuple[NDArray[Any]]:
    return (function(value, *common),)


def _add(one: tuple[NDArray[Any]], other: tuple[NDArray[Any]]) -> tuple[NDArray[Any]]:
    return (one[0] + other[0],)


def _unwrap(one: tuple[NDArray[Any]]) -> NDArray[Any]:
    return one[0]
