"""Selection on rows in shards beside the solver in memory: answers, rounds, bytes, memory.

    python bench/shards.py solve    # made rows of 1.3 and 2.6 GB on disk, whole and in shards
    python bench/shards.py scaling  # one problem in 4 to 256 shards: rounds do not grow
    python bench/shards.py workers  # the same subset for this process and 1, 2, 4 workers
    python bench/shards.py head     # heads of ten classes, verified: two million made examples in
                                    # shards; the pixels of Fashion-MNIST in shards and whole

Each line is one process that loads, solves and ends, so that its peak of memory is its own; lines
that are there are not measured again. Memory is what the process holds itself (``RssAnon``): the
system may keep pages of the files besides.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recording import THREAD_VARIABLES, environment, new_parser, typed_command
from resources import MemoryWatch, readable

SOLVE = (
    "mixed-1280000x256/eps=20%",
    "mixed-1280000x256/eps=2%",
    "mixed-1280000x256/size=40%",
    "mixed-1280000x512/eps=20%",
    "mixed-1280000x512/size=40%",
    "fmnist-pca128/eps=20%",
    "fmnist-pca128/eps=2%",
    "fmnist-pca128-ridge/size=40%",
)
SCALED = ("mixed-320000x64/eps=20%", "mixed-320000x64/size=40%")
SHARDS = (4, 16, 64, 256)
WORKERS = (0, 1, 2, 4)
_MIB = 2**20
# What the table shows, and how.
_COLUMNS = {
    **dict.fromkeys(("instance", "way", "shards", "workers"), "{}"),
    "size": "{:,}",
    "norm": "{:.5g}",
    "bound": "{:,.6g}",
    "gap": "{:.2g}",
    "rounds": "{}",
    **dict.fromkeys(("mib_sent", "wall_time", "cpu_time", "peak_mib"), "{:,.0f}"),
    "digest": "{}",
}
_HEAD_COLUMNS = {
    **dict.fromkeys(("instance", "way", "shards", "size"), "{}"),
    **dict.fromkeys(("norm", "norm_of_random", "predicted_kept", "change"), "{:.4g}"),
    "rounds": "{}",
    **dict.fromkeys(("train_time", "solve_time", "verify_time", "cpu_time", "peak_mib"), "{:,.0f}"),
}


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = new_parser(__doc__, "shards")
    add = parser.add_argument
    add("what", choices=["solve", "scaling", "workers", "head"])
    add("--instances", nargs="+", metavar="NAME")
    add("--ways", nargs="+", choices=["whole", "shards"], default=["whole", "shards"])
    add("--shard-mib", type=int, default=64)
    add("--examples", type=int, default=2_000_000, help="of the made head")
    add("--features", type=int, default=64, help="of the made head")
    add("--data-dir", type=Path)
    add("--cache-dir", type=Path)
    add("--task", help=argparse.SUPPRESS)
    return parser.parse_args()


# --- what is measured -----------------------------------------------------------------------------


def tasks(given: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """List the processes of a command; the files they read are made before."""
    if given.what == "head":
        from shard_heads import fashion_head, made_head

        size = given.shard_mib * _MIB
        yield made_head(given.examples, given.features, size, folder)
        for way in given.ways:
            yield {**fashion_head(given.data_dir, folder), "way": way}
        return
    for name in given.instances or (SOLVE if given.what == "solve" else SCALED):
        counts: tuple[int | None, ...] = SHARDS if given.what == "scaling" else (None,)
        for count in counts:
            question = write_shards(name, count, given, folder)
            if given.what == "solve" and "whole" in given.ways:
                yield {**question, "way": "whole"}
            for workers in WORKERS if given.what == "workers" else (0,):
                if "shards" not in given.ways:
                    continue
                yield {**question, "way": "shards", "workers": workers}


def write_shards(
    name: str, count: int | None, given: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    """Write the rows of an instance as files of equal size, and state the question."""
    import numpy as np
    from instances import build

    question = build(name, given.data_dir, given.cache_dir).question
    S = question.S
    if count is None:
        count = max(4, round(S.nbytes / (given.shard_mib * _MIB)))
    place = folder / f"{name.partition('/')[0]}-{count}"
    place.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(np.array_split(S, count)):
        path = place / f"S-{number:04d}.npy"
        if not path.exists():
            np.save(path, part)
    return {
        "instance": name,
        "shards": count,
        # Small files would share a shard.
        "rows_per_shard": -(-len(S) // count),
        "pattern": str(place / "S-*.npy"),
        "problem": {"epsilon": question.epsilon, "size": question.size},
    }


# --- the measured process -------------------------------------------------------------------------


@contextmanager
def engine_of(workers: int) -> Iterator[Any]:
    """Start a cluster of processes of this machine; this process itself for 0."""
    if not workers:
        yield None
        return
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def work(task: dict[str, Any]) -> dict[str, Any]:
    """Be the measured process."""
    watch = MemoryWatch()
    watch.start()
    with engine_of(task.get("workers", 0)) as engine:
        answer = (solve_head if "is_head" in task else solve_rows)(task, engine)
    peak = watch.stop()
    return {
        **answer,
        "cpu_time": time.process_time(),
        "peak_mib": peak["RssAnon"] / _MIB,
        "peak_with_files_mib": peak["VmRSS"] / _MIB,
    }


def solve_rows(task: dict[str, Any], engine: Any) -> dict[str, Any]:
    """Solve a problem, whole or in shards."""
    import numpy as np

    import subsetsel

    started = time.perf_counter()
    if task["way"] == "whole":
        files = sorted(Path(task["pattern"]).parent.glob("S-*.npy"))
        problem = subsetsel.Problem(
            np.concatenate([np.load(path) for path in files]), **task["problem"]
        )
    else:
        from subsetsel.rows.sharded import open_rows

        rows = open_rows(task["pattern"], engine=engine, rows_per_shard=task["rows_per_shard"])
        problem = subsetsel.Problem(rows, **task["problem"])
    solution = subsetsel.solve(problem)
    return {
        "wall_time": time.perf_counter() - started,
        "compile_time": solution.compile_time,
        **described(solution),
        **counted(problem),
    }


def solve_head(task: dict[str, Any], engine: Any) -> dict[str, Any]:
    """Train a head, prune two fifths of its examples, and refit."""
    from shard_heads import prune_head

    problem, solution, measured = prune_head(task, engine)
    return {**measured, **described(solution), **counted(problem)}


def described(solution: Any) -> dict[str, Any]:
    """Give what a solution claims, and a digest of its subset."""
    return {
        "status": solution.status,
        "size": solution.size,
        "norm": solution.norm,
        "bound": solution.bound,
        "gap": solution.gap,
        "digest": hashlib.sha256(solution.mask.tobytes()).hexdigest()[:16],
        "message": solution.message,
    }


def counted(problem: Any) -> dict[str, Any]:
    """Give the rounds over the shards and the bytes that went between them and this process."""
    shards = problem.rows.shards
    if shards is None:
        return {}
    return {
        "num_shards": len(shards),
        "rounds": shards.num_rounds,
        "mib_sent": shards.bytes_sent / _MIB,
    }


# --- lines ----------------------------------------------------------------------------------------


def run(given: argparse.Namespace, task: dict[str, Any]) -> dict[str, Any]:
    """Start a measured process and read its line."""
    done = subprocess.run(
        [sys.executable, __file__, given.what, "--task", json.dumps(task)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")},
        check=False,
    )
    named = {key: task.get(key) for key in ("instance", "way", "shards", "workers")}
    if done.returncode or not done.stdout.strip():
        return {**named, "failed": done.returncode}
    return {**named, **json.loads(done.stdout.strip().splitlines()[-1])}


def table_of(lines: list[dict[str, Any]]) -> str:
    """Write what was measured as a table."""
    columns = _HEAD_COLUMNS if lines and "train_time" in lines[0] else _COLUMNS
    rows = [[*columns], ["---"] * len(columns)]
    for line in lines:
        cells = [
            "" if line.get(name) is None else form.format(line[name])
            for name, form in columns.items()
        ]
        rows.append(cells)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def main() -> int:
    """Measure what is not there yet, or be the measured process."""
    given = parse_arguments()
    if given.task:
        print(json.dumps(work(json.loads(given.task))), flush=True)
        return 0
    from heads import default_cache_dir

    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"{given.what}.jsonl"
    lines = [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []
    key = ("instance", "way", "shards", "workers")
    known = {tuple(line.get(name) for name in key) for line in lines}
    about = environment(typed_command("shards.py"), 1)
    (given.out / f"{given.what}.env.json").write_text(json.dumps(about, indent=1) + "\n")
    for task in tasks(given, (given.cache_dir or default_cache_dir()) / "shards"):
        if tuple(task.get(name) for name in key) in known:
            continue
        line = run(given, task)
        print(readable(line), flush=True)
        lines.append(line)
        with path.open("a") as stream:
            stream.write(json.dumps(line) + "\n")
    (given.out / f"{given.what}.md").write_text(table_of(lines))
    print(table_of(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
