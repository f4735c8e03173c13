"""Commands that tell about the installation: solvers, info."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subsetsel.cli import options as given
from subsetsel.cli.console import print_result

if TYPE_CHECKING:
    from subsetsel.engine.registry import SolverSpec

# Packages that cannot change a result, but how it is read, shown or installed.
_BESIDE = (
    *("highspy", "llvmlite", "typer", "rich", "pyarrow", "pandas", "safetensors", "datasets"),
    *("lightning", "pip", "setuptools"),
)


def solvers(as_json: given.Json = False) -> None:
    """List the solvers and what each can prove.

    \b
    Example:
      subsetsel solvers
    """
    from subsetsel.engine.registry import registered_solvers

    rows = [_solver_row(spec) for spec in registered_solvers().values()]
    table = [("name", "proves", "examples", "here", "method"), *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = (
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    )
    print_result({"solvers": rows}, "\n".join(lines), as_json=as_json)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    missing = " ".join(row["missing"])
    method = row["summary"] + (f"; pip install {missing}" if missing else "")
    return row["name"], row["proves"], row["practical_n"], "no" if missing else "yes", method


def _solver_row(spec: SolverSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "summary": spec.summary,
        "proves": spec.proves,
        "practical_n": spec.practical_n,
        "forms": sorted(spec.forms),
        "normalizations": sorted(spec.normalizations),
        "missing": list(spec.missing),
    }


def info(as_json: given.Json = False) -> None:
    """Print what a bug report needs: versions, machine, memory, GPU, where kernels are kept.

    It holds nothing personal but paths, which may contain a user's name.

    \b
    Examples:
      subsetsel info
      subsetsel info --json
    """
    record = _installation()
    text = "\n".join(line for item in record.items() for line in _lines(*item))
    print_result(record, text, as_json=as_json)


def _lines(name: str, value: Any) -> list[str]:
    if not isinstance(value, dict):
        return [f"{name}: {value}"]
    if not value:
        return [f"{name}: none set"]
    items = ((key, "not installed" if item is None else item) for key, item in value.items())
    return [f"{name}:", *(f"  {key:<22}{item}" for key, item in items)]


def _installation() -> dict[str, Any]:
    from subsetsel.engine.registry import registered_solvers
    from subsetsel.report.environment import environment, versions_of
    from subsetsel.support.memory import describe, free_memory

    record = environment()
    planned = record.pop("planned_memory")
    record["versions"] |= versions_of(_BESIDE)
    return {
        "location": str(Path(__file__).parents[1]),
        "executable": sys.executable,
        **record,
        "planned memory": describe(planned),
        "free memory": describe(free_memory()),
        "free disk here": describe(shutil.disk_usage(Path.cwd()).free),
        "gpu": _gpu(),
        "torch": _torch(),
        "kernels": _kernels(),
        "solvers": {
            name: "missing " + ", ".join(spec.missing) if spec.missing else "available"
            for name, spec in registered_solvers().items()
        },
    }


def _gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        return "none that torch can use"
    return ", ".join(map(torch.cuda.get_device_name, range(torch.cuda.device_count())))


def _torch() -> dict[str, Any]:
    import torch

    return {
        "built for": f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU",
        "threads": torch.get_num_threads(),
        "mps": "available" if torch.backends.mps.is_available() else "none",
    }


def _kernels() -> dict[str, Any]:
    import numba

    from subsetsel.bounds._descent_kernels import sweep

    stats = getattr(sweep, "stats", None)
    return {
        "compiled": "no: NUMBA_DISABLE_JIT" if vars(numba.config).get("DISABLE_JIT") else "yes",
        "kept in": getattr(stats, "cache_path", None) or "no folder: compiled in each process",
    }
