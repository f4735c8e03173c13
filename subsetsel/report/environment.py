"""What a run ran on: versions, machine, threads."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from subsetsel.support.memory import planned_memory

# Packages that can change a result.
_PACKAGES = (
    *("subsetsel", "numpy", "scipy", "torch", "numba"),
    *("ortools", "cvxpy", "clarabel", "matplotlib", "scikit-learn", "optuna"),
)
_THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    *("NUMBA_NUM_THREADS", "NUMBA_DISABLE_JIT"),
)


def versions_of(names: Iterable[str]) -> dict[str, str | None]:
    """Look versions up without importing anything; None for what is not installed."""
    return {name: _version(name) for name in names}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def environment() -> dict[str, Any]:
    """Everything about the machine that a result may depend on.

    Returns
    -------
    dict
        JSON types: ``python``, ``platform``, ``machine``, ``num_cpus``, ``num_usable_cpus`` (what
        the process may run on), ``torch_threads`` (None where torch was not loaded), ``threads``
        (the variables that are set), ``planned_memory`` (bytes that choices count with),
        ``versions``.
    """
    torch: Any = sys.modules.get("torch")
    has_affinity = hasattr(os, "sched_getaffinity")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "num_cpus": os.cpu_count(),
        "num_usable_cpus": len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count(),
        "torch_threads": None if torch is None else torch.get_num_threads(),
        "threads": {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ},
        "planned_memory": planned_memory(),
        "versions": versions_of(_PACKAGES),
    }
