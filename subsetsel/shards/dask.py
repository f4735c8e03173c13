"""Dask `distributed` behind the seam: futures are the handles, the scheduler mends what is lost."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import numpy as np

from subsetsel.errors import EngineError
from subsetsel.shards.workers import one_thread
from subsetsel.support.optional import import_extra

# A task whose worker died is tried on so many others: workers of a cluster that come and go are no
# reason to lose hours. Dask's own number is 3.
_MOST_DEATHS = 20
# An array that several tasks share travels once to each worker, if it is larger than this.
_SHARED_BYTES = 2**16


class DaskWorkers:
    """The workers of a Dask cluster.

    Parameters
    ----------
    client : distributed.Client

    Raises
    ------
    EngineError
        If the client is closed, or a worker has another version of subsetsel or none.
    """

    def __init__(self, client: Any) -> None:
        self._dask = import_extra("dask", "dask", "clusters")
        self._distributed = import_extra("distributed", "dask", "clusters")
        self.client = client
        self._names = (f"subsetsel-{uuid.uuid4().hex[:8]}-{k}" for k in itertools.count())
        with self._named():
            self._require_same_version()
            client.run_on_scheduler(_allow_deaths, _MOST_DEATHS)

    @property
    def num_workers(self) -> int:
        """Threads of all workers that are there now."""
        return max(1, int(sum(self.client.nthreads().values())))

    def hold(self, load: Callable[..., Any], sources: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See `Workers.hold`; the futures are the handles, and hold as long as they live."""
        with self._named():
            return self._submit(load, sources)

    def run(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See `Workers.run`; after Ctrl-C nothing of it is left to be done."""
        with self._named():
            futures = self._submit(function, arguments)
            try:
                return list(self.client.gather(futures))
            except BaseException:
                self.client.cancel(futures)
                raise

    def _submit(
        self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]
    ) -> list[Any]:
        # A shared vector is the result of a task: one that was scattered would be lost for good
        # with the only worker that has it.
        shared = {id(one): one for one in _shared(arguments)}
        with self._dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"}):
            sent = {
                key: self.client.submit(_same, one, key=next(self._names), pure=False)
                for key, one in shared.items()
            }
            return [
                self.client.submit(
                    _call,
                    function,
                    *(sent.get(id(value), value) for value in one),
                    key=next(self._names),
                    pure=False,
                )
                for one in arguments
            ]

    def _require_same_version(self) -> None:
        """Name a worker whose functions are others."""
        own = version("subsetsel")
        for worker, other in self.client.run(_version).items():
            if other != own:
                has = "no subsetsel" if other is None else f"subsetsel {other}"
                raise EngineError(
                    f"worker {worker} has {has}, and this process subsetsel {own}; install the "
                    "same version on all machines."
                )

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Name what a cluster can do wrong, and what to do then."""
        if self.client.status != "running":
            raise EngineError(
                f"the Dask client is {self.client.status}; connect another one with "
                "distributed.Client(address) and give it as engine."
            )
        try:
            yield
        except self._distributed.KilledWorker as error:
            raise EngineError(
                f"{_MOST_DEATHS + 1} workers died while they did the same task ({error.task}); "
                "most often a shard needs more memory than a worker has: give workers more, or "
                "smaller shards (rows_per_shard)."
            ) from error
        except self._distributed.client.FutureCancelledError as error:
            raise EngineError(
                f"the cluster gave up a task: {error}; if the client or the cluster was closed, "
                "start it again and repeat the call. With checkpoint= it goes on where it was."
            ) from error
        except (OSError, TimeoutError) as error:
            if self.client.status == "running" and not _is_connection(error):
                raise
            raise EngineError(
                f"the scheduler of the cluster is not reached ({error}); start the cluster again "
                "and repeat the call. With checkpoint= it goes on where it was."
            ) from error


def _is_connection(error: BaseException) -> bool:
    return type(error).__name__ in {"CommClosedError", "StreamClosedError", "TimeoutError"}


def _shared(arguments: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
    """Find arrays that more than one task is given."""
    seen: dict[int, int] = {}
    for value in itertools.chain.from_iterable(arguments):
        if isinstance(value, np.ndarray) and value.nbytes > _SHARED_BYTES:
            seen[id(value)] = seen.get(id(value), 0) + 1
            if seen[id(value)] == 2:
                yield value


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    with one_thread():
        return function(*arguments)


def _same(value: Any) -> Any:
    return value


def _version() -> str | None:
    from importlib.metadata import PackageNotFoundError

    try:
        return version("subsetsel")
    except PackageNotFoundError:
        return None


def _allow_deaths(most: int, dask_scheduler: Any = None) -> None:
    dask_scheduler.allowed_failures = max(dask_scheduler.allowed_failures, most)
