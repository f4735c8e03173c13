"""Commands that tell about the installation: solvers, info."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from subsetsel.cli import options as given
from subsetsel.cli.console import print_json, print_text

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
    if as_json:
        print_json({"solvers": rows})
        return
    columns = ("name", "proves", "examples", "here", "method")
    table = [columns, *(_cells(row) for row in rows)]
    widths = [max(len(line[c]) for line in table) for c in range(len(columns))]
    for line in table:
        print_text(
            "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        )


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    missing = " ".join(row["missing"])
    method = row["summary"] + (f"; pip install {missing}" if missing else "")
    return row["name"], row["proves"], row["practical_n"], "no" if missing else "yes", method


def _solver_row(spec: Any) -> dict[str, Any]:
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

    Nothing in it tells who you are but the paths, which may hold a user's name.

    \b
    Examples:
      subsetsel info
      subsetsel info --json
    """
    record = _installation()
    if as_json:
        print_json(record)
        return
    for name, value in record.items():
        if isinstance(value, dict):
            print_text(f"{name}:" if value else f"{name}: none set")
            for key, item in value.items():
                print_text(f"  {key:<22}{item if item is not None else 'not installed'}")
        else:
            print_text(f"{name}: {value}")


def _installation() -> dict[str, Any]:
    import subsetsel
    from subsetsel.engine.registry import registered_solvers
    from subsetsel.report.environment import environment, versions_of
    from subsetsel.support.memory import VARIABLE, describe, free_memory

    record = environment()
    record["versions"] |= versions_of(_BESIDE)
    if VARIABLE in os.environ:
        record["threads"][VARIABLE] = os.environ[VARIABLE]
    return {
        "location": str(Path(subsetsel.__file__).parent),
        "executable": sys.executable,
        **record,
        "free memory": describe(free_memory()),
        "free disk here": _free_disk(),
        "gpu": _gpu(),
        "torch": _torch(),
        "kernels": _kernels(),
        "solvers": {
            name: "missing " + ", ".join(spec.missing) if spec.missing else "available"
            for name, spec in registered_solvers().items()
        },
    }


def _free_disk() -> str:
    from subsetsel.support.memory import describe

    return describe(shutil.disk_usage(Path.cwd()).free)


def _gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        return "none that torch can use"
    return ", ".join(
        torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())
    )


def _torch() -> dict[str, Any]:
    import torch

    return {
        "built for": f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU",
        "threads": torch.get_num_threads(),
        "mps": "available" if torch.backends.mps.is_available() else "none",
    }


def _kernels() -> dict[str, Any]:
    import numba

    from subsetsel.bounds._relaxation_kernels import coordinate_pass

    stats = getattr(coordinate_pass, "stats", None)
    return {
        "compiled": "no: NUMBA_DISABLE_JIT" if vars(numba.config).get("DISABLE_JIT") else "yes",
        "kept in": getattr(stats, "cache_path", None) or "no folder: compiled in each process",
    }
