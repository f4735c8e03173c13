"""From what users call an engine to the workers behind it."""

from __future__ import annotations

import re
import sys
from types import ModuleType
from typing import Any

from subsetsel.errors import EngineError, OptionError
from subsetsel.shards.workers import Serial, Workers
from subsetsel.support.optional import import_extra

_ADDRESS = re.compile(r"(tcp|tls|ucx|ws|wss|inproc)://\S+")
_opened: dict[str, Any] = {}


def open_workers(engine: Any = None) -> Workers:
    """Give the workers of an engine.

    Parameters
    ----------
    engine : None, distributed.Client, str, the module ray, or Workers
        None computes in this process, one shard after the other. An address such as
        ``"tcp://10.0.0.1:8786"`` is that of a Dask scheduler; its client stays open for later
        calls, until this process ends. ``"ray"``, or the module, uses Ray (experimental). What has
        the two calls of `subsetsel.shards.workers.Workers` is taken as it is.

    Raises
    ------
    OptionError
        If it is anything else.
    EngineError
        If no scheduler answers at the address, or the client is closed.
    MissingExtraError
        If the package of the engine is not installed.
    """
    if engine is None:
        return Serial()
    if _is_client(engine):
        from subsetsel.shards.dask import DaskWorkers

        return DaskWorkers(engine)
    if isinstance(engine, str) and _ADDRESS.fullmatch(engine):
        return open_workers(_client_of(engine))
    if engine == "ray" or (isinstance(engine, ModuleType) and engine.__name__ == "ray"):
        from subsetsel.shards.ray import RayWorkers

        return RayWorkers(import_extra("ray", "ray", "engines of Ray"))
    if callable(getattr(engine, "hold", None)) and callable(getattr(engine, "run", None)):
        workers: Workers = engine
        return workers
    raise OptionError(
        f"engine must be None, a distributed.Client, an address such as 'tcp://10.0.0.1:8786', "
        f"or 'ray', got {engine!r}. A cluster object becomes a client by distributed.Client(it)."
    )


def _is_client(engine: Any) -> bool:
    """Tell a client of Dask without loading Dask: who has one has loaded it."""
    module = sys.modules.get("distributed")
    return module is not None and isinstance(engine, module.Client)


def _client_of(address: str) -> Any:
    """Open a client, or give the one that an earlier call opened and that still answers."""
    client = _opened.get(address)
    if client is not None and client.status == "running":
        return client
    distributed = import_extra("distributed", "dask", "engines of Dask")
    try:
        _opened[address] = distributed.Client(address, set_as_default=False)
    except (OSError, ValueError) as error:
        raise EngineError(
            f"engine={address!r}: no Dask scheduler answers there ({error}). Start one with "
            "`dask scheduler`, and check the host, the port and the firewall between."
        ) from error
    return _opened[address]
