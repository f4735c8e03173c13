"""Workers of a Dask cluster: the scheduler holds what makes each shard, and makes it again."""

from __future__ import annotations

import pickle
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import numpy as np

from subsetsel.errors import EngineError
from subsetsel.shards.workers import aligned, bytes_of, explain, one_thread

ALLOWED_FAILURES = 10
"""Workers that may be lost while a task waits on them. When a worker is lost, the scheduler counts
it against each task that the worker had been given, also where the task had not begun."""

RETRIES = 2
"""Further calls of what loads a shard, where it fails: file systems of clusters stumble."""

LARGE = 1 << 16
"""Bytes from which an argument of several tasks travels once, and then from worker to worker."""

_PATIENCE = 5.0
_LOST = ("cancelled", "lost")


class DaskWorkers:
    """The workers of a Dask cluster, through a client that the user opened.

    Tasks and held values are futures, which the scheduler makes again where a worker is lost.
    Nothing is scattered, since what is scattered is lost with its worker.

    Parameters
    ----------
    client : distributed.Client

    Raises
    ------
    EngineError
        If the client is closed, or cannot ask its scheduler.
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self._version = version("subsetsel")
        self._warned = False
        self._check()
        if client.asynchronous:
            raise EngineError(
                f"engine={client!r} is asynchronous, and would have to be awaited. Open it with "
                "distributed.Client(address), without asynchronous=True."
            )
        with self._named():
            client.run_on_scheduler(_allow_failures, ALLOWED_FAILURES)

    def __reduce__(self) -> Any:
        raise EngineError(
            "what the workers of a Dask cluster hold cannot be pickled; pickle the Solution, or "
            "open the data again in the other process with engine=address."
        )

    @property
    def num_workers(self) -> int:
        """Threads of all workers that are there now, at least 1."""
        self._check()
        with self._named():
            threads: list[int] = list(self.client.nthreads().values())
        return max(1, sum(threads))

    def hold(self, load: Callable[..., Any], sources: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See `Workers.hold`; the workers begin to load at once."""
        return self._submit(_hold, load, sources, retries=RETRIES)

    def hold_delayed(
        self, load: Callable[..., Any], sources: Sequence[tuple[Any, ...]]
    ) -> list[Any]:
        """Do as `hold`, where delayed values of Dask stand among the sources; each is made once."""
        from dask.delayed import delayed

        self._check()
        with self._named(), _large_arguments():
            tasks = [delayed(_hold, pure=False)(self._version, load, *one) for one in sources]
            found: list[Any] = self.client.compute(tasks, retries=RETRIES)
        return found

    def run(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See `Workers.run`.

        Raises
        ------
        SubsetselError
            Also if the client or its scheduler is gone, or a task lost every worker it was given.
        """
        futures = self._submit(_call, function, arguments)
        try:
            for k, future in enumerate(futures):
                error = self._wait(future)
                if error is not None:
                    explained = explain(_of_the_cluster(error), k)
                    raise explained from (None if explained is error else error)
            with self._named():
                found: list[Any] = self.client.gather(futures)
            return [aligned(one) for one in found]
        except BaseException:
            # Also after Ctrl-C: what has not begun does not begin.
            for future in futures:
                future.release()
            raise

    def _submit(
        self,
        call: Callable[..., Any],
        function: Callable[..., Any],
        arguments: Sequence[tuple[Any, ...]],
        *,
        retries: int = 0,
    ) -> list[Any]:
        self._check()
        prefix = getattr(function, "__name__", "task").strip("_<>")
        with self._named(), _large_arguments():
            shared = self._share(arguments)
            return [
                self.client.submit(
                    call,
                    self._version,
                    function,
                    *(shared.get(id(given), given) for given in one),
                    key=f"{prefix}-{uuid.uuid4()}",
                    pure=False,
                    retries=retries,
                )
                for one in arguments
            ]

    def _share(self, arguments: Sequence[tuple[Any, ...]]) -> dict[int, Any]:
        """Give a future for each large argument that several tasks have, by its identity."""
        counts = Counter(id(given) for one in arguments for given in one)
        large = {
            id(given): given
            for one in arguments
            for given in one
            if counts[id(given)] > 1 and (bytes_of(given) or 0) >= LARGE
        }
        return {
            key: self.client.submit(_same, given, key=f"argument-{uuid.uuid4()}", pure=False)
            for key, given in large.items()
        }

    def _wait(self, future: Any) -> BaseException | None:
        """Wait for a task, and give what it failed with."""
        while True:
            try:
                with self._named():
                    error: BaseException | None = future.exception(timeout=_PATIENCE)
            except TimeoutError:
                self._check()
                self._warn_if_alone()
                continue
            if future.status in _LOST:
                raise self._gone(f"task {future.key} is {future.status}")
            return error

    def _check(self) -> None:
        if self.client.status != "running":
            raise self._gone(f"it is {self.client.status}")

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Turn what a client without scheduler raises into an error that says so."""
        from asyncio import CancelledError

        try:
            yield
        except TimeoutError:
            raise
        except (CancelledError, OSError) as error:
            raise self._gone(f"{type(error).__name__}: {error}") from error
        except Exception as error:
            # What a closed client raises has a name of its own in later versions alone.
            if self.client.status == "running":
                raise
            raise self._gone(f"{type(error).__name__}: {error}") from error

    def _gone(self, why: str) -> EngineError:
        return EngineError(
            "the Dask client or its scheduler ended in the middle of the run, and with it what the "
            f"workers held ({why}). Keep both open until the answer is there: open a new "
            "distributed.Client and repeat the call; with checkpoint= it goes on where it was."
        )

    def _warn_if_alone(self) -> None:
        with self._named():
            if self._warned or self.client.nthreads():
                return
        self._warned = True
        warnings.warn(
            f"the cluster of {self.client!r} has no workers; the run goes on when one joins.",
            RuntimeWarning,
            stacklevel=2,
        )


class Held:
    """A value on a worker, which tells Dask how much memory it takes: by that Dask spills.

    What comes back from disk or from another worker would lie at any address; here its arrays get
    memory of their own (see `aligned`).
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + (bytes_of(self.value) or 0)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        buffers: list[pickle.PickleBuffer] = []
        data = pickle.dumps(self.value, protocol=5, buffer_callback=buffers.append)
        return _restored, (data, buffers)


def _restored(data: bytes, buffers: Sequence[Any]) -> Held:
    own = [np.frombuffer(one, dtype=np.uint8).copy() for one in buffers]
    return Held(pickle.loads(data, buffers=own))


def _of_the_cluster(error: BaseException) -> BaseException:
    """Say in words what Dask itself fails a task with; errors of the task stay as they are."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return EngineError(
            f"{error.allowed_failures + 1} workers were lost, one after the other, with this task. "
            "Most often a worker's memory is not enough: give each more, or cut the data into "
            "smaller shards (rows_per_shard); the logs of the workers say what ended them."
        )
    if isinstance(error, RuntimeError) and "deserialization of the task graph" in str(error):
        return EngineError(
            f"the Dask scheduler cannot read what it is asked to do ({error.__cause__!r}). It must "
            "run in the same environment as this process: install the same versions of subsetsel, "
            "dask and NumPy there, and what your own functions import."
        )
    return error


def _hold(driver: str, load: Callable[..., Any], *source: Any) -> Held:
    return Held(_call(driver, load, *source))


def _call(driver: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Apply a function on a worker, which must have the driver's version of the package."""
    own = version("subsetsel")
    if own != driver:
        from distributed import get_worker

        raise EngineError(
            f"the worker at {get_worker().address} has subsetsel {own}, and this process {driver}. "
            "Install the same version on all machines."
        )
    with one_thread():
        return function(
            *(one.value if isinstance(one, Held) else aligned(one) for one in arguments)
        )


def _same(value: Any) -> Any:
    return value


def _allow_failures(count: int, dask_scheduler: Any) -> None:
    dask_scheduler.allowed_failures = max(count, dask_scheduler.allowed_failures)


@contextmanager
def _large_arguments() -> Iterator[None]:
    """Let vectors travel with tasks without Dask's advice to scatter them."""
    import dask

    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}):
        yield
