"""Workers of Ray; experimental: the same two calls, tried on one machine only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

from subsetsel.shards.workers import aligned, explain, one_thread


class RayWorkers:
    """The workers of Ray, which is started in this process where it is not.

    Parameters
    ----------
    ray : module
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        if not ray.is_initialized():
            ray.init()
        self._call = ray.remote(_call)

    @property
    def num_workers(self) -> int:
        """Processors that Ray counts."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def hold(self, load: Callable[..., Any], sources: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See `Workers.hold`."""
        return [self._call.remote(load, *source) for source in sources]

    def run(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See `Workers.run`."""
        found = []
        for k, task in enumerate(self.hold(function, arguments)):
            try:
                # What Ray hands out lies in memory that others share, and cannot be written to.
                found.append(deepcopy(self._ray.get(task)))
            except self._ray.exceptions.RayError as error:
                raise explain(getattr(error, "cause", error), k) from error
        return found


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    with one_thread():
        return function(*aligned(arguments))
