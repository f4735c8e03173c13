"""Latency of Ctrl-C and peak memory, each in a process of its own that loads S from a file.

``python bench/resources.py interrupt|memory --instances NAME... --solvers NAME...``
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from recording import THREAD_VARIABLES

_SAMPLE_SECONDS = 0.02


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["interrupt", "memory"])
    parser.add_argument("--instances", nargs="+", default=["powerlaw-100000x256/eps=20%"])
    parser.add_argument("--solvers", nargs="+", default=["anneal"])
    parser.add_argument("--time-limit", type=float, default=5.0, help="or seconds until Ctrl-C")
    parser.add_argument("--repeats", type=int, default=3, help="of an interrupt")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memmap", action="store_true", help="leave S on disk (memory)")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--cache-dir", type=Path)
    parser.add_argument("--out", type=Path, help="append the lines to this .jsonl file")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    return parser.parse_args()


def prepare(given: argparse.Namespace, name: str, folder: Path) -> dict[str, Any]:
    """Write S to a file and state the question, so that the measured process only loads it."""
    import numpy as np
    from instances import build

    question = build(name, given.data_dir, given.cache_dir).question
    path = folder / "S.npy"
    np.save(path, question.S)
    return {
        "path": str(path),
        "memmap": given.memmap,
        "bytes": question.S.nbytes,
        "problem": {
            "epsilon": question.epsilon,
            "size": question.size,
            "normalization": question.normalization,
        },
    }


def measure(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure each instance and solver, an interrupt several times: one line each."""
    lines = []
    for name in given.instances:
        with tempfile.TemporaryDirectory() as folder:
            task = prepare(given, name, Path(folder))
            for solver in given.solvers:
                for seed in range(given.repeats if given.what == "interrupt" else 1):
                    search = {"solver": solver, "seed": seed, "num_workers": given.threads}
                    answer = run(given, {**task, "search": search})
                    line = {"what": given.what, "instance": name, "solver": solver, **answer}
                    print(readable(line), flush=True)
                    lines.append(line)
    return lines


def run(given: argparse.Namespace, task: dict[str, Any]) -> dict[str, Any]:
    """Start the measured process; send it Ctrl-C if that is what is asked."""
    is_interrupt = given.what == "interrupt"
    task["search"]["time_limit"] = None if is_interrupt else given.time_limit
    process = subprocess.Popen(
        [sys.executable, __file__, given.what, "--task", json.dumps(task)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(given.threads))},
    )
    assert process.stdout is not None
    process.stdout.readline()  # the search has started
    if is_interrupt:
        time.sleep(given.time_limit)
    sent = time.monotonic()
    if is_interrupt:
        process.send_signal(signal.SIGINT)
    last = process.stdout.readline()
    if process.wait() != 0 or not last:
        raise RuntimeError(f"the measured process ended with {process.returncode}.")
    answer: dict[str, Any] = json.loads(last)
    if is_interrupt:
        answer["latency"] = answer.pop("returned_at") - sent
        answer["after"] = given.time_limit
    return {"threads": given.threads, **answer}


def readable(line: dict[str, Any]) -> str:
    """Put a line of numbers into words for the screen."""
    return "  ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in line.items()
        if value is not None
    )


class MemoryWatch(threading.Thread):
    """Samples the resident memory of this process (Linux).

    Attributes
    ----------
    peak : dict
        ``"VmRSS"`` everything, ``"RssAnon"`` without mapped files; bytes.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = resident()
        self._is_done = threading.Event()

    def run(self) -> None:
        """Sample until `stop`."""
        while not self._is_done.wait(_SAMPLE_SECONDS):
            now = resident()
            self.peak = {name: max(now[name], self.peak[name]) for name in now}

    def stop(self) -> dict[str, int]:
        """End the sampling and return the peaks."""
        self._is_done.set()
        self.join()
        return self.peak


def resident() -> dict[str, int]:
    """Resident memory of this process now, ``"VmRSS"`` and ``"RssAnon"`` in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    pairs = (line.split(":") for line in lines if line.startswith(("VmRSS", "RssAnon")))
    return {name: 1024 * int(value.split()[0]) for name, value in pairs}


def work(what: str, task: dict[str, Any]) -> dict[str, Any]:
    """Be the measured process: warm up, load S, solve."""
    import numpy as np
    from entrants import own_entrants, warm_up

    import subsetsel

    warm_up(own_entrants()[task["search"]["solver"]])
    before = resident() if what == "memory" else {}
    watch = MemoryWatch() if what == "memory" else None
    S = np.load(task["path"], mmap_mode="r" if task["memmap"] else None)
    if watch:
        watch.start()
    problem = subsetsel.Problem(S, **task["problem"])
    print("started", flush=True)
    started = time.perf_counter()
    solution = subsetsel.solve(problem, **task["search"])
    answer = {
        "wall_time": time.perf_counter() - started - solution.compile_time,
        "status": solution.status,
        "limit": solution.limit,
        "size": solution.size,
        "norm": solution.norm,
    }
    if watch is None:
        return {**answer, "returned_at": time.monotonic()}
    peak = watch.stop()
    return {
        **answer,
        "time_limit": task["search"]["time_limit"],
        "memmap": task["memmap"],
        "mib_of_S": task["bytes"] / 2**20,
        "peak_over_S": (peak["VmRSS"] - before["VmRSS"]) / task["bytes"],
        "anonymous_over_S": (peak["RssAnon"] - before["RssAnon"]) / task["bytes"],
    }


def main() -> int:
    """Measure, or be the measured process."""
    given = parse_arguments()
    if given.task:
        print(json.dumps(work(given.what, json.loads(given.task))), flush=True)
        return 0
    lines = measure(given)
    if given.out:
        with given.out.open("a") as stream:
            stream.writelines(json.dumps(line) + "\n" for line in lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
