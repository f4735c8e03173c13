"""What a measurement ran on, what it cost, and how its numbers are written down.

Only the standard library is imported at the top: `limit_threads` must run before NumPy is loaded.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_PACKAGES = ("subsetsel", "numpy", "scipy", "numba", "torch", "ortools", "cvxpy", "scikit-learn")
_PEERS = ("dwave-samplers", "dimod", "simanneal")
_FOLDER_OPTIONS = frozenset({"--out", "--old", "--data-dir", "--cache-dir", "--cache"})


def limit_threads(count: int) -> None:
    """Give every library the same number of threads; call it before any of them is imported."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(count)))


def new_parser(about: str | None, results: str) -> argparse.ArgumentParser:
    """Make a parser with the option --out, a folder in ``bench/results`` by default."""
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    folder = Path(__file__).with_name("results") / results
    parser.add_argument("--out", type=Path, default=folder, help="folder of the results")
    return parser


def typed_command(script: str, arguments: Sequence[str] | None = None) -> str:
    """Give the command as others can repeat it: without the folders of this machine."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for number, word in enumerate(words[:-1]):
        if word in _FOLDER_OPTIONS:
            words[number + 1] = "..."
    return shlex.join(["python", f"bench/{script}", *words])


def environment(command: str, threads: int) -> dict[str, Any]:
    """Describe the machine, the versions, the code and the command in JSON types."""
    import subsetsel.solvers

    import subsetsel
    from subsetsel.report.environment import versions_of

    modules = (subsetsel, subsetsel.solvers)
    folders = {Path(module.__file__ or "").parent for module in modules}
    # Recipes and measurements are code of the benches.
    folders.add(Path(__file__).resolve().parent)
    return {
        "date": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "command": command,
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "threads": threads,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": versions_of([*_PACKAGES, *_PEERS]),
        "commit": _git("rev-parse", "HEAD"),
        "is_modified": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "code": code_digest(path for folder in sorted(folders) for path in folder.rglob("*.py")),
    }


def code_digest(files: Iterable[Path]) -> str:
    """Digest of source files: it shows a change of the code also where there is no git."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _git(*arguments: str) -> str | None:
    folder = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows with the same keys as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write numbers and what they were measured on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


class Stopwatch:
    """Times, memory and other numbers of one measurement, in the order in which they were taken."""

    def __init__(self) -> None:
        self.values: dict[str, float | int | str] = {}

    def note(self, name: str, value: float | int | str) -> None:
        """Keep a number and print it at once, since the next may take minutes."""
        self.values[name] = value
        shown = f"{value:.6g}" if isinstance(value, float) else value
        print(f"{name:34s} {shown}", flush=True)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time a block with torch, and note the memory after it."""
        import resource

        import torch

        started, cpu = time.perf_counter(), time.process_time()
        yield
        has_gpu = torch.cuda.is_available()
        if has_gpu:
            torch.cuda.synchronize()
        self.note(f"{name}_time", time.perf_counter() - started)
        self.note(f"{name}_cpu_time", time.process_time() - cpu)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.note(f"{name}_peak_gib", peak / 2**20)
        if has_gpu:
            self.note(f"{name}_gpu_peak_gib", torch.cuda.max_memory_allocated() / 2**30)
