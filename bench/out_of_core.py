"""What reading S in shards takes beside one array: peak memory, and processor time of a pass.

    python bench/out_of_core.py                        # 1,280,000 x 256 float32 of made rows, npy
    python bench/out_of_core.py --ending parquet --n 200000

Each storage is measured in a process of its own. Peak memory counts the pages of a file that are
mapped; the system takes those back when it needs them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from subsetsel.rows import DenseRows, Rows
from subsetsel.rows.sharded import open_rows
from subsetsel.shards.files import SHARD_BYTES
from subsetsel.support.threads import one_blas_thread

_ROWS = 40_000


def write(folder: Path, ending: str, n: int, d: int) -> Path:
    """Write made rows, ``_ROWS`` at a time; parquet as one file of as many row groups."""
    path = folder / f"S.{ending}"
    parts = (
        np.random.default_rng(k).standard_normal((min(_ROWS, n - k), d), dtype=np.float32)
        for k in range(0, n, _ROWS)
    )
    if ending == "npy":
        out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, d))
        for k, part in enumerate(parts):
            out[k * _ROWS : k * _ROWS + len(part)] = part
        out.flush()
        return path
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([(f"s{k}", pyarrow.float32()) for k in range(d)])
    with pyarrow.parquet.ParquetWriter(path, schema) as file:
        for part in parts:
            file.write_table(pyarrow.table(list(part.T), schema=schema))
    return path


def measure(path: Path, storage: str, d: int) -> dict[str, Any]:
    """Open S, and walk through it three times: S u, S^T w, row norms."""
    started = time.process_time()
    rows: Rows
    if storage == "array":
        rows = DenseRows(np.load(path, mmap_mode="r"))
    else:
        # One file that fits the plan of memory would be an array.
        rows = open_rows(path, rows_per_shard=SHARD_BYTES // (4 * d))
    found: dict[str, Any] = {"storage": storage, "opened": time.process_time() - started}
    mask = np.random.default_rng(0).random(rows.n) < 0.5
    walks: dict[str, Callable[[], Any]] = {
        "dot": lambda: rows.dot(np.ones(rows.d)),
        "sum": lambda: rows.sum(mask),
        "norms": lambda: rows.squared_norms,
    }
    with one_blas_thread():
        for name, walk in walks.items():
            started = time.process_time()
            walk()
            found[name] = time.process_time() - started
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {**found, "peak_mib": int(status["VmHWM"].split()[0]) // 1024}


def main() -> int:
    """Write the rows, measure each storage, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=1_280_000)
    parser.add_argument("--d", type=int, default=256)
    parser.add_argument("--ending", choices=["npy", "parquet"], default="npy")
    parser.add_argument("--folder", type=Path, help="where the rows are written for a while")
    parser.add_argument("--task", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.task:
        print(json.dumps(measure(Path(asked.task[0]), asked.task[1], asked.d)))
        return 0
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        path = write(Path(folder), asked.ending, asked.n, asked.d)
        for storage in ("array", "shards") if asked.ending == "npy" else ("shards",):
            task = [sys.executable, __file__, "--d", str(asked.d), "--task", str(path), storage]
            found = json.loads(subprocess.run(task, check=True, capture_output=True).stdout)
            times = ", ".join(
                f"{name} {found[name]:.2f} s" for name in ("opened", "dot", "sum", "norms")
            )
            print(
                f"{asked.ending} as {storage:6}: {times}, peak {found['peak_mib']:,} MiB",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
