"""`njit` for the kernels: compiled code is cached on disk where that is possible."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def njit(*, calls: Sequence[Any] = (), **options: Any) -> Callable[[Function], Function]:
    """Compile as `numba.njit` does, with a disk cache where one can be written.

    Numba refuses to define a cached function where neither the package's folder nor the user's
    cache folder can be written to (a container with a read-only home), and fails in the middle of
    a run where the disk or the quota is full. In both cases each process compiles the kernels anew.

    ``calls`` names compiled functions of other files that the function calls. An edit of such a
    file makes the cached code stale, which numba itself does not notice.
    """

    def compile_lazily(function: Function) -> Function:
        try:
            compiled = numba.njit(cache=True, **options)(function)
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            compiled = numba.njit(**options)(function)
        _forgive_a_full_disk(compiled)
        _watch(compiled, calls)
        result: Function = compiled
        return result

    return compile_lazily


def _forgive_a_full_disk(compiled: Any) -> None:
    """Let a compiled function be used also where it could not be written to the cache."""
    cache: Any = getattr(compiled, "_cache", None)
    save = getattr(cache, "save_overload", None)
    if save is None:
        return

    def save_if_possible(*arguments: Any) -> None:
        with contextlib.suppress(OSError):
            save(*arguments)

    with contextlib.suppress(AttributeError):
        cache.save_overload = save_if_possible


def _watch(compiled: Any, calls: Sequence[Any]) -> None:
    """Add the stamps of other files, as numba takes them, to the one that the cache is kept by."""
    with contextlib.suppress(AttributeError):
        own = compiled._cache._cache_file
        others = [called._cache._cache_file._source_stamp for called in calls]
        own._source_stamp = (own._source_stamp, *others)
