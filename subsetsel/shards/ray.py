"""Ray behind the seam; experimental."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from subsetsel.shards.workers import one_thread
from subsetsel.support.optional import import_extra


class RayWorkers:
    """The workers of a Ray cluster, that of ``ray.init`` or one that is started here."""

    def __init__(self) -> None:
        self._ray = import_extra("ray", "ray", "Ray clusters")
        self._ray.init(ignore_reinit_error=True)
        self._task = self._ray.remote(max_retries=-1)(_call)

    @property
    def num_workers(self) -> int:
        """Processors of the cluster."""
        return int(self._ray.cluster_resources().get("CPU", 1))

    def hold(self, load: Callable[..., Any], sources: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See `Workers.hold`."""
        return [self._task.remote(load, *source) for source in sources]

    def run(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See `Workers.run`."""
        return list(self._ray.get(self.hold(function, arguments)))


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    with one_thread():
        return function(*arguments)
