"""Who computes, from what a user calls an engine."""

from __future__ import annotations

from typing import Any

from subsetsel.errors import EngineError, OptionError
from subsetsel.shards.workers import Serial, Workers
from subsetsel.support.optional import import_extra

# Seconds until a scheduler that does not answer is given up.
_PATIENCE = 30.0


def open_workers(engine: Any) -> Workers:
    """Give the workers of an engine.

    Parameters
    ----------
    engine : None, distributed.Client, str, or Workers
        This process; the workers of a Dask client; those of the scheduler at an address such as
        ``"tcp://10.0.0.1:8786"``; ``"ray"`` (experimental); anything with the two calls of
        `subsetsel.shards.workers.Workers`.

    Raises
    ------
    OptionError
        If it is none of these.
    EngineError
        If nobody answers at the address.
    MissingExtraError
        If the package of the engine is not installed.
    """
    if engine is None:
        return Serial()
    if engine == "ray":
        from subsetsel.shards.ray import RayWorkers

        return RayWorkers()
    if isinstance(engine, str) and "://" in engine:
        return _connect(engine)
    if type(engine).__module__.partition(".")[0] == "distributed" and hasattr(engine, "submit"):
        from subsetsel.shards.dask import DaskWorkers

        return DaskWorkers(engine)
    if callable(getattr(engine, "hold", None)) and callable(getattr(engine, "run", None)):
        workers: Workers = engine
        return workers
    raise OptionError(
        "engine must be None (this process), a distributed.Client, the address of a scheduler such "
        f"as 'tcp://10.0.0.1:8786', or 'ray'; got {engine!r}."
    )


def _connect(address: str) -> Workers:
    distributed = import_extra("distributed", "dask", "clusters")
    from subsetsel.shards.dask import DaskWorkers

    try:
        client = distributed.Client(address, timeout=_PATIENCE)
    except (OSError, TimeoutError, ValueError) as error:
        raise EngineError(
            f"no Dask scheduler answers at engine = {address!r} ({error}); start one with `dask "
            "scheduler`, or check the address and the firewall."
        ) from error
    return DaskWorkers(client)
